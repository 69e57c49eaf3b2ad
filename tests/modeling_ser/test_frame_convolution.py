"""The convolution over frames against torch's own."""

from collections.abc import Callable

import pytest
import torch
from accelerate import cpu_offload
from torch.nn import functional as F
from torch.nn.utils import prune

from modeling_ser import SERForAudioClassification
from modeling_ser.frame_convolution import FrameConv1d, convolve_frames
from tests.modeling_ser.small_models import enlivened, padded, random_clips, small_config


def both(kernel_size: int, frames: int) -> list[list[torch.Tensor]]:
    """Result and gradients, (ours, torch's)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, frames, 6, generator=generator)
    weight = torch.randn(4, 6, kernel_size, generator=generator)
    found = []
    for convolve in (convolve_frames, lambda x, w: F.conv1d(x.transpose(1, 2), w, padding="same").transpose(1, 2)):
        inputs = [tensor.clone().requires_grad_() for tensor in (x, weight)]
        output = convolve(*inputs)
        (output * torch.arange(output.numel()).view(output.shape).sin()).sum().backward()
        found.append([output.detach(), *(tensor.grad for tensor in inputs)])
    return found


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("frames", [1, 2, 3, 11])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5, 8])
def test_result_and_gradients_are_torchs(kernel_size: int, frames: int) -> None:
    for own, known in zip(*both(kernel_size, frames), strict=True):
        torch.testing.assert_close(own, known, rtol=0, atol=1e-5)


def test_frames_that_are_a_view_of_others_do_as_well() -> None:
    wide = torch.randn(2, 9, 10, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    for frames in (wide[..., 2:6], wide[..., 2:6].contiguous()):
        weight.grad = None
        convolve_frames(frames, weight).square().sum().backward()
        expected = torch.autograd.grad(
            F.conv1d(frames.transpose(1, 2), weight, padding="same").square().sum(), [weight]
        )
        torch.testing.assert_close(weight.grad, expected[0], rtol=1e-4, atol=1e-4)


def test_functional_transforms_are_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 3, dtype=torch.float64, generator=generator)
    weight = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator)
    directions = torch.randn_like(x), torch.randn_like(weight)
    found = []
    for convolve in (convolve_frames, lambda x, w: F.conv1d(x.transpose(1, 2), w, padding="same").transpose(1, 2)):

        def loss(clip: torch.Tensor, filters: torch.Tensor, convolve: Callable = convolve) -> torch.Tensor:
            return convolve(clip[None], filters).sin().sum()

        found.append(
            [
                torch.func.vmap(torch.func.grad(loss, argnums=1), in_dims=(0, None))(x, weight),
                torch.func.vmap(lambda clip, convolve=convolve: convolve(clip[None], weight))(x),
                *torch.func.jvp(convolve, (x, weight), directions),
                torch.func.jvp(lambda clip, convolve=convolve: convolve(clip, weight), (x,), directions[:1])[1],
                torch.func.hessian(loss)(x[0], weight),
            ]
        )
    for own, known in zip(*found, strict=True):
        torch.testing.assert_close(own, known)


def test_autocast_trains_in_half_precision() -> None:
    x, weight = torch.randn(2, 9, 4), torch.randn(3, 4, 5, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = convolve_frames(x, weight)
    assert output.dtype == torch.bfloat16
    output.float().square().sum().backward()
    assert weight.grad.dtype == torch.float32 and weight.grad.isfinite().all()


def test_functional_gradients_work() -> None:
    x, weight = torch.randn(2, 9, 4), torch.randn(3, 4, 5)
    found = torch.func.grad(lambda w: convolve_frames(x, w).square().sum())(weight)
    expected = weight.clone().requires_grad_()
    F.conv1d(x.transpose(1, 2), expected, padding="same").square().sum().backward()
    torch.testing.assert_close(found, expected.grad, rtol=1e-4, atol=1e-4)


def test_what_hangs_on_modules_works_on_the_convolutions() -> None:
    model = enlivened(SERForAudioClassification(small_config()))
    batch = padded(random_clips([5, 9]))
    expected = model(*batch).logits
    layers = [module for module in model.modules() if isinstance(module, FrameConv1d)]
    assert len(layers) == 2 and all(isinstance(layer, torch.nn.Conv1d) for layer in layers)
    seen = []
    for layer in layers:
        layer.register_forward_hook(lambda *_: seen.append("conv"))
    torch.testing.assert_close(cpu_offload(model, execution_device="cpu")(*batch).logits, expected)
    assert seen == ["conv", "conv"]


def test_a_pruned_convolution_is_trained_on() -> None:
    model = SERForAudioClassification(small_config()).train()
    layer = model.ser.streams[0].conv1.conv
    prune.random_unstructured(layer, "weight", amount=0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        model(*padded(random_clips([5, 9])), labels=torch.tensor([0, 1])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert int((layer.weight == 0).sum()) == layer.weight.numel() // 2
