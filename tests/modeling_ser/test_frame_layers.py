"""The convolution over frames against torch's own; masked batch normalization against torch's of the real frames."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from modeling_ser.frame_layers import FrameConv1d, MaskedBatchNorm
from tests.modeling_ser.small_models import padded, random_clips


def convolve(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return FrameConv1d.forward(SimpleNamespace(weight=weight), x)


def convolve_by_torch(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return F.conv1d(x.transpose(1, 2), weight, padding="same").transpose(1, 2)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("frames", [1, 2, 3, 11])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5, 8])
def test_convolution_and_gradients_are_torchs(kernel_size: int, frames: int) -> None:
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(3, frames, 10, generator=generator)
    weight = torch.randn(4, 6, kernel_size, generator=generator)
    # Frames may be a view of others, their features apart in memory.
    for x in (wide[..., 2:8].contiguous(), wide[..., 2:8]):
        found = []
        for function in (convolve, convolve_by_torch):
            inputs = [tensor.detach().requires_grad_() for tensor in (x, weight)]
            output = function(*inputs)
            (output * torch.arange(output.numel()).view(output.shape).sin()).sum().backward()
            found.append([output.detach(), *(tensor.grad for tensor in inputs)])
        torch.testing.assert_close(*found, rtol=0, atol=1e-5)


def pair(channels: int = 6) -> tuple[MaskedBatchNorm, torch.nn.BatchNorm1d]:
    ours, theirs = MaskedBatchNorm(channels), torch.nn.BatchNorm1d(channels)
    torch.manual_seed(1)
    with torch.no_grad():
        ours.weight.uniform_(0.5, 1.5)
        ours.bias.uniform_(-1, 1)
        theirs.weight.copy_(ours.weight)
        theirs.bias.copy_(ours.bias)
    return ours, theirs


@pytest.mark.parametrize("lengths", [[7], [1, 9, 4], [5, 5], [1, 1]], ids=str)
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_equals_batch_norm_of_the_real_frames(lengths: list[int], offset: float) -> None:
    ours, theirs = pair()
    for step in range(3):
        clips = [2 * clip + offset for clip in random_clips(lengths, seed=step)]
        features, mask = padded(clips, padding=99.0)
        normalized = ours(features, mask.unsqueeze(-1).float())
        expected = theirs(torch.cat(clips))
        torch.testing.assert_close(normalized[mask.bool()], expected, rtol=1e-4, atol=2e-4)
        torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=1e-4, atol=1e-5)
    ours.eval(), theirs.eval()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    features, mask = padded(clips)
    expected = theirs(torch.cat(clips))
    torch.testing.assert_close(ours(features, mask.unsqueeze(-1).float())[mask.bool()], expected)
    assert all(torch.equal(before[name], value) for name, value in ours.state_dict().items())


def test_one_single_frame_keeps_the_statistics_finite() -> None:
    ours, _ = pair()
    normalized = ours(torch.full((1, 1, 6), 5.0), torch.ones(1, 1, 1))
    # Its variance is 0, so the frame is its own mean and only the bias remains.
    torch.testing.assert_close(normalized[0, 0], ours.bias.detach())
    torch.testing.assert_close(ours.running_mean, torch.full((6,), 0.5))
    torch.testing.assert_close(ours.running_var, torch.full((6,), 0.9))


@pytest.mark.parametrize("training", [True, False])
def test_gradients(training: bool) -> None:
    norm = MaskedBatchNorm(3).double().train(training)
    features, mask = padded(random_clips([4, 2, 1], size=3))
    real = mask.unsqueeze(-1).double()

    def apply(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        # The statistics are reset, because gradcheck calls the function many times.
        statistics = {"running_mean": torch.zeros(3).double(), "running_var": torch.ones(3).double()}
        return torch.func.functional_call(norm, {"weight": weight, "bias": bias} | statistics, (x, real)) * real

    inputs = (features.double(), torch.rand(3).double() + 0.5, torch.randn(3).double())
    assert torch.autograd.gradcheck(apply, tuple(value.requires_grad_() for value in inputs))


def test_padding_takes_part_in_the_gradient_of_the_shift_alone() -> None:
    # Where padded, training gives the shift itself, and a loss may well read it.
    norm = MaskedBatchNorm(3).double()
    features, mask = padded(random_clips([4, 1], size=3))
    x = features.double().requires_grad_()
    norm(x, mask.unsqueeze(-1).double())[mask == 0].sum().backward()
    torch.testing.assert_close(norm.bias.grad, torch.full((3,), 3.0).double())
    assert not x.grad.any() and not norm.weight.grad.any()


def test_a_gradient_of_the_gradient_is_refused() -> None:
    x = torch.randn(2, 4, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(MaskedBatchNorm(3)(x, torch.ones(2, 4, 1)).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_half_precision_sums_in_single_precision() -> None:
    ours, theirs = pair()
    clips = [clip + 30 for clip in random_clips([3000, 1000])]
    features, mask = padded([clip.half() for clip in clips])
    normalized = ours(features, mask.unsqueeze(-1).half())
    assert normalized.dtype == torch.float16
    expected = theirs(torch.cat(clips).half().float())
    # Only the result is rounded to float16's 11 bits, although values around 30 were centered.
    assert (normalized[mask.bool()].float() - expected).abs().max() < 5 * 2**-11
    torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=1e-3, atol=1e-4)
