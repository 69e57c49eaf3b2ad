"""Transformers' encoders by layers: its own states, the same alone and in a batch, from any layer, with gradients."""

import copy
from typing import Any

import pytest
import torch
from torch.nn.functional import linear
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from feature_extraction.encoder_layers import block_states, encoder_states
from feature_extraction.onednn_linear import OneDNNLinear
from tests.feature_extraction.small_encoders import MODELS, noise, small_model

KINDS = (*MODELS, "whisper")
LENGTHS = (5000, 1000, 12800, 9333)  # samples
MEL_LENGTHS = (33, 2, 80, 57)
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def network(kind: str) -> PreTrainedModel:
    """A small network whose biases are not zero: what leaks out of the padding would show."""
    model, _ = small_model(kind)
    model = model.get_encoder() if kind == "whisper" else model
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.1 * torch.randn_like(weights)
    return model.eval()


def inputs(kind: str) -> list[torch.Tensor]:
    if kind == "whisper":
        return [torch.from_numpy(noise(80 * frames, frames)).view(80, frames) for frames in MEL_LENGTHS]
    return [torch.from_numpy(noise(samples, samples)) for samples in LENGTHS]


def padded(clips: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Clips in a batch, with anything but zeros after their ends."""
    lengths = torch.tensor([clip.shape[-1] for clip in clips])
    batch = pad_sequence([clip.movedim(-1, 0) for clip in clips], batch_first=True, padding_value=7.0)
    return batch.movedim(1, -1), lengths


def by_transformers(model: PreTrainedModel, clip: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """All states of one clip; a Whisper is given as many positions as the clip has, for it reads nothing shorter."""
    if model.config.model_type == "whisper":
        model = copy.deepcopy(model)
        positions = (clip.shape[1] + 1) // 2
        if clip.shape[1] % 2:  # a convolution of stride 2 sees the same zero
            clip = torch.nn.functional.pad(clip, (0, 1))
        model.config.max_source_positions = positions
        model.embed_positions = torch.nn.Embedding.from_pretrained(model.embed_positions.weight[:positions])
    return model(clip[None], output_hidden_states=True).hidden_states


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_states_are_those_of_transformers_alone_and_in_any_batch(kind: str) -> None:
    model, clips = network(kind), inputs(kind)
    layers = list(range(model.config.num_hidden_layers + 1))
    batch, lengths = padded(clips)
    together, ends = encoder_states(model, batch, lengths, layers)
    for row, (clip, end) in enumerate(zip(clips, ends.tolist(), strict=True)):
        alone, nothing = encoder_states(model, clip[None], None, layers)
        assert nothing is None and alone[0].shape == (1, end, 16)
        even = kind != "whisper" or clip.shape[1] % 2 == 0  # else see below
        for number, states in enumerate(by_transformers(model, clip) if even else alone):
            torch.testing.assert_close(alone[number], states, **TOLERANCE)
            torch.testing.assert_close(together[number][row, :end], states[0], **TOLERANCE)
    reordered, _ = encoder_states(model, batch.flip(0), lengths.flip(0), layers)
    for row, end in enumerate(ends):
        torch.testing.assert_close(reordered[-1][-1 - row, :end], together[-1][row, :end], **TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_blocks_start_at_any_layer_and_none_is_computed_beyond_the_highest(kind: str) -> None:
    model, (batch, lengths) = network(kind), padded(inputs(kind))
    last = model.config.num_hidden_layers
    states, ends = encoder_states(model, batch, lengths, range(last + 1))
    for start in range(last):
        wanted = [last, start, start + 1]  # in any order
        again = block_states(model, states[start], ends, wanted, start)
        for layer, found in zip(wanted, again, strict=True):
            assert torch.equal(found, states[layer])
    blocks = (model if kind == "whisper" else model.encoder).layers
    ran: list[int] = []
    for number, block in enumerate(blocks, start=1):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    encoder_states(model, batch, lengths, [1])
    encoder_states(model, batch, lengths, [0])
    assert ran == [1]
    for layers in ([], [last + 1], [0]):
        with pytest.raises(ValueError, match=f"choose from 1, where the states are of, to {last}"):
            block_states(model, states[1], ends, layers, start=1)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_weight_up_to_the_layer_and_no_padding(kind: str) -> None:
    model, (batch, lengths) = network(kind), padded(inputs(kind))
    batch.requires_grad_()
    (states,), ends = encoder_states(model, batch, lengths, [1])
    sum(row[:end].square().sum() for row, end in zip(states, ends, strict=True)).backward()
    blocks = (model if kind == "whisper" else model.encoder).layers
    assert all(weights.grad is not None for weights in blocks[0].parameters())
    assert all(weights.grad is None for weights in blocks[1].parameters())
    for row, length in zip(batch.grad, lengths, strict=True):
        assert row[..., :length].any() and not row[..., length:].any()


def test_whisper_reads_no_more_than_it_has_positions_for() -> None:
    with pytest.raises(ValueError, match="reads 80 frames at once, not 82"):
        encoder_states(network("whisper"), torch.zeros(1, 80, 82), None, [1])


@pytest.fixture
def onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have linear maps computed by oneDNN whether it is the faster or not."""
    pretend(monkeypatch, "AVX512", "AMD EPYC")
    if not OneDNNLinear.available():
        pytest.skip("torch has no oneDNN here")


def pretend(monkeypatch: pytest.MonkeyPatch, capability: str, name: str) -> None:
    """Have torch say that the processor is another one."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name}, raising=False)


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("slower", [("AVX2", "AMD EPYC"), ("AVX512", "Intel Xeon")])
def test_onednn_is_taken_only_where_it_is_the_faster(slower: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    frames, weight = torch.randn(9, 4), torch.randn(3, 4, requires_grad=True)
    with OneDNNLinear():
        ours = linear(frames, weight).grad_fn
        pretend(monkeypatch, *slower)
        torchs = linear(frames, weight).grad_fn
    assert type(torchs) is type(linear(frames, weight).grad_fn) is not type(ours)


@pytest.mark.usefixtures("onednn")
def test_linear_maps_of_onednn_and_their_gradients_are_torchs() -> None:
    torch.manual_seed(0)
    frames, weight, bias = torch.randn(2, 5, 7, 64).transpose(1, 2), torch.randn(48, 64), torch.randn(48)
    expected = linear(frames.double(), weight.double(), bias.double())
    with torch.no_grad(), OneDNNLinear():
        torch.testing.assert_close(linear(frames, weight, bias=bias).double(), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(linear(frames, weight).double(), expected - bias, rtol=0, atol=1e-5)
        assert linear(frames.double(), weight.double()).dtype == torch.float64
    towards = torch.randn_like(expected)
    for learns in ((True, True, True), (True, False, False), (False, True, False), (False, False, True)):
        wide = [one.double().requires_grad_(own) for one, own in zip((frames, weight, bias), learns, strict=True)]
        asked = [one for one, own in zip(wide, learns, strict=True) if own]
        gradients = torch.autograd.grad(linear(*wide), asked, towards)
        narrow = [one.clone().requires_grad_(own) for one, own in zip((frames, weight, bias), learns, strict=True)]
        with OneDNNLinear():
            output = linear(*narrow)
        found = torch.autograd.grad(output, [one for one in narrow if one.requires_grad], towards.float())
        for gradient, other in zip(gradients, found, strict=True):
            torch.testing.assert_close(other.double(), gradient, rtol=1e-5, atol=1e-4)


@pytest.mark.usefixtures("onednn")
def test_onednn_meets_few_numbers_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    product, met = torch.ops.mkldnn._linear_pointwise, set()

    def counted(rows: torch.Tensor, *others: Any) -> torch.Tensor:
        met.add(len(rows))
        return product(rows, *others)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", counted)
    weight, bias = torch.randn(24, 16), torch.randn(24)
    with torch.no_grad(), OneDNNLinear():
        for length in range(1, 200):
            frames = torch.randn(1, length, 16)
            torch.testing.assert_close(linear(frames, weight, bias), frames @ weight.t() + bias)
    assert len(met) < 60
