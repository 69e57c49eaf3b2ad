"""The network against TensorFlow and the native clients: every layer, states, masks, streams, loss, loading."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from feature_extraction import configuration_deepspeech, lstm_deepspeech
from feature_extraction.configuration_deepspeech import DeepSpeechConfig
from feature_extraction.convert.torch_model import to_state_dict
from feature_extraction.feature_extraction_deepspeech import DeepSpeechFeatureExtractor
from feature_extraction.lstm_deepspeech import FEW_FRAMES, DeepSpeechLSTM
from feature_extraction.modeling_deepspeech import DeepSpeechForCTC, DeepSpeechModel, DeepSpeechState, ctc_losses
from feature_extraction.streaming_deepspeech import DeepSpeechStream
from modeling_ser import SERConfig, configuration_ser
from tests.feature_extraction.deepspeech_fixtures import (
    CLIPS,
    FRONT_ENDS,
    LAYERS,
    expected,
    largest_difference,
    waveform,
    weights,
)

FORGET_BIAS = {"v04": 1.0, "v09": 0.0}


def build(release: str) -> DeepSpeechModel:
    model = DeepSpeechModel(DeepSpeechConfig(hidden_size=64)).eval()
    model.load_state_dict(to_state_dict(weights(release), FORGET_BIAS[release]))
    return model


def extractor(release: str, framing: str = "training", floor: str = "training") -> DeepSpeechFeatureExtractor:
    return DeepSpeechFeatureExtractor(mfcc=FRONT_ENDS[release], framing=framing, floor=floor)


def features_of(release: str, *clips: str, **settings: Any) -> dict[str, torch.Tensor]:
    return extractor(release, **settings)([waveform(clip) for clip in clips], 16000, padding=True, return_tensors="pt")


# Release, clip and ending of all that TensorFlow's answers are known of.
CASES = [
    (release, clip, suffix)
    for release, suffix in (("v04", ""), ("v09", ""), ("v09", "_native"))
    for clip in CLIPS
    if f"{release}/{clip}/softmax{suffix}" in expected()
]


@pytest.mark.parametrize(("release", "clip", "suffix"), CASES)
@torch.no_grad()
def test_layers_and_states_are_tensorflows(release: str, clip: str, suffix: str) -> None:
    inputs = features_of(release, clip, framing="native" if suffix else "training")
    output = build(release)(**inputs, output_hidden_states=True, return_state=True)
    for layer in LAYERS if f"{release}/{clip}/layer_1{suffix}" in expected() else ():
        assert largest_difference(getattr(output, layer)[0], expected()[f"{release}/{clip}/{layer}{suffix}"]) < 1e-4
    softmax = expected()[f"{release}/{clip}/softmax{suffix}"]
    assert largest_difference(output.last_hidden_state.softmax(-1)[0], softmax) < 5e-6
    assert largest_difference(output.state.cell[0], expected()[f"{release}/{clip}/state_c{suffix}"]) < 1e-5
    assert largest_difference(output.state.hidden[0], expected()[f"{release}/{clip}/state_h{suffix}"]) < 1e-5


@torch.no_grad()
def test_padded_batch_is_tensorflows() -> None:
    inputs = features_of("v04", "a_24137", "b_16192")
    output = build("v04")(**inputs, output_hidden_states=True, return_state=True)
    for layer in ("rnn_output", "layer_5", "layer_6"):
        wanted = expected()[f"v04/batch_ab/{layer}"].swapaxes(0, 1)  # (batch, frames, size)
        assert largest_difference(getattr(output, layer), wanted) < 1e-4
    assert largest_difference(output.state.cell, expected()["v04/batch_ab/state_c"]) < 1e-5
    assert largest_difference(output.state.hidden, expected()["v04/batch_ab/state_h"]) < 1e-5


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize(
    ("release", "floor", "source"),
    [("v04", "native", "native_v04/output_graph.pb"), ("v09", "training", "emissions_v09")],
    ids=["0.4.1", "0.9.3"],
)
@torch.no_grad()
def test_softmax_is_that_of_the_native_clients(release: str, floor: str, source: str, clip: str) -> None:
    inputs = features_of(release, clip, framing="native", floor=floor)
    softmax = build(release)(**inputs).last_hidden_state.softmax(-1)[0].numpy()
    native = expected()[f"{source}/{clip}/softmax"]
    known = np.isfinite(native)  # eight numbers could not be read from the memory of client 0.4.1
    assert known.sum() >= known.size - (8 if release == "v04" else 0)
    assert largest_difference(softmax[known], native[known]) < 5e-6
    assert softmax.shape == native.shape


@pytest.mark.parametrize("clip", ["a_24137", "b_16192", "d_512"])
@torch.no_grad()
def test_states_of_the_native_client_093(clip: str) -> None:
    """The client runs 16 frames at a time, as soon as they have their context; states were read after every window."""
    cells, hiddens = (expected()[f"native_v09/{clip}/{kind}"] for kind in "ch")
    features = features_of("v09", clip, framing="native")["input_features"]
    model, state, done = build("v09"), None, 0
    zeros = torch.zeros(1, 64)
    for window in range(len(cells)):
        if window + 1 - 9 >= done + 16:
            part = features[:, 0 if state is None else done + 9 : done + 16 + 9]
            state = model(part, state=state, final=False, return_state=True).state
            done += 16
        assert largest_difference((state.cell if state else zeros)[0], cells[window]) < 1e-5
        assert largest_difference((state.hidden if state else zeros)[0], hiddens[window]) < 1e-5


@pytest.mark.parametrize(("release", "framing"), [("v04", "training"), ("v04", "native"), ("v09", "training")])
@pytest.mark.parametrize("size", [37, 320, 1000, 5555, 50000])
def test_chunks_of_any_size_give_the_whole_utterances_answer(release: str, framing: str, size: int) -> None:
    model, samples = build(release), waveform("a_24137")
    chunks = [samples[start : start + size] for start in range(0, len(samples), size)]
    whole = stream_and_compare(model, "a_24137", chunks, release, 5, framing)
    integers = DeepSpeechStream(model, extractor(release, framing), last_layer=5)
    first = integers.feed(np.round(samples[: 10 * size] * 32768).astype(np.int16))
    assert largest_difference(first, whole[: len(first)]) < 5e-5


@pytest.mark.parametrize("release", ["v04", "v09"])
@pytest.mark.parametrize("last_layer", [1, 3, 4, 6])
def test_streams_of_short_clips_and_of_any_layer(release: str, last_layer: int) -> None:
    for clip in ("c_300", "d_512", "b_16192"):
        stream_and_compare(build(release), clip, np.array_split(waveform(clip), 5), release, last_layer)


@torch.no_grad()
def stream_and_compare(
    model: DeepSpeechModel, clip: str, chunks: list[np.ndarray], release: str, layer: int, framing: str = "training"
) -> np.ndarray:
    stream = DeepSpeechStream(model, extractor(release, framing), last_layer=layer)
    parts = [stream.feed(chunk) for chunk in chunks] + [stream.finish()]
    whole = model(**features_of(release, clip, framing=framing), last_layer=layer).last_hidden_state[0].numpy()
    # Values up to 20, from products of few rows or of many, which sum in another order.
    assert largest_difference(torch.cat(parts), whole) < 5e-5
    return whole


def test_streams_refuse_what_is_no_utterance() -> None:
    model = build("v04")
    stream = DeepSpeechStream(model, extractor("v04"))
    stream.feed(np.zeros(600, np.float32))
    stream.finish()
    for again in (stream.finish, lambda: stream.feed(np.zeros(600, np.float32))):
        with pytest.raises(ValueError, match="finished"):
            again()
    with pytest.raises(ValueError, match="No sample was fed"):
        DeepSpeechStream(model, extractor("v04")).finish()
    with pytest.raises(ValueError, match="finite samples of one channel"):
        DeepSpeechStream(model, extractor("v04")).feed(np.zeros((2, 100), np.float32))
    with pytest.raises(ValueError, match="training mode"):
        DeepSpeechStream(model.train(), extractor("v04"))


@torch.no_grad()
def test_features_in_parts_carry_the_state() -> None:
    model, features = build("v09"), features_of("v09", "a_24137")["input_features"]
    whole = model(features, return_state=True)
    first = model(features[:, :5], final=False, return_state=True)
    second = model(features[:, 5:40], state=first.state, final=False, return_state=True)
    last = model(features[:, 40:], state=second.state, return_state=True)
    assert [part.last_hidden_state.shape[1] for part in (first, second, last)] == [0, 31, 43]
    parts = torch.cat([first.last_hidden_state, second.last_hidden_state, last.last_hidden_state], dim=1)
    assert largest_difference(parts, whole.last_hidden_state.numpy()) < 1e-5
    assert largest_difference(last.state.cell, whole.state.cell.numpy()) < 1e-5
    assert last.state.context is None


@torch.no_grad()
def test_padding_changes_nothing_whatever_stands_in_it() -> None:
    model, inputs = build("v04"), features_of("v04", "a_24137", "b_16192")
    inputs["input_features"][inputs["attention_mask"] == 0] = float("nan")
    batch = model(**inputs, last_layer=5).last_hidden_state
    alone = model(**features_of("v04", "b_16192"), last_layer=5).last_hidden_state
    assert largest_difference(batch[1, : alone.shape[1]], alone[0].numpy()) < 1e-5


@torch.no_grad()
def test_only_the_layers_asked_for_are_computed() -> None:
    model, inputs = build("v04"), features_of("v04", "b_16192")
    ran = []
    for name, module in model.named_children():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    whole = model(**inputs, output_hidden_states=True)
    ran.clear()
    output = model(**inputs, last_layer=5, output_hidden_states=True)
    assert ran == ["layer_1", "layer_2", "layer_3", "lstm", "layer_5"]
    assert torch.equal(output.last_hidden_state, whole.hidden_states[5])
    with pytest.raises(ValueError, match="last_layer=6"):
        _ = output.layer_6
    with pytest.raises(ValueError, match="output_hidden_states=True"):
        _ = model(**inputs).layer_5


MASK = torch.ones(2, 30, dtype=torch.long)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_features": torch.zeros(2, 30, 20)}, r"\(batch, frames, 26\)"),
        ({"attention_mask": MASK[:, :9]}, r"\(2, 30\)"),
        ({"attention_mask": MASK.index_fill(1, torch.tensor([3]), 0)}, "after padding"),
        ({"attention_mask": MASK.index_fill(0, torch.tensor([0]), 0), "return_state": True}, "no real frame"),
        ({"attention_mask": MASK, "final": False}, "takes no attention_mask"),
        ({"state": DeepSpeechState(torch.zeros(1, 64), torch.zeros(1, 64))}, "another number of clips"),
        ({"last_layer": 7}, "not 7"),
    ],
)
def test_wrong_inputs_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("v04")(**{"input_features": torch.zeros(2, 30, 26), **arguments})


def test_ctc_loss_counts_real_frames_and_labels_only() -> None:
    model = DeepSpeechForCTC(DeepSpeechConfig(hidden_size=64)).eval()
    model.deepspeech.load_state_dict(to_state_dict(weights("v04"), 1.0))
    clips, empty = ("a_24137", "b_16192"), [-100] * 5
    labels = torch.tensor([[8, 5, 12, 12, 15], [1, 2, -100, -100, -100]])
    inputs = features_of("v04", *clips)
    output = model(**inputs, labels=labels)
    alone = [
        model(**features_of("v04", clip), labels=row[row >= 0][None]).loss
        for clip, row in zip(clips, labels, strict=True)
    ]
    assert output.loss.item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-5)
    losses = ctc_losses(output.logits, inputs["attention_mask"], labels, blank=28)
    torch.testing.assert_close(losses, torch.stack(alone))
    assert torch.equal(losses.mean(), output.loss)
    # A clip without letters has no loss per letter; the model's own loss has it say nothing but blanks.
    silent = torch.tensor([labels[0].tolist(), empty])
    assert ctc_losses(output.logits, inputs["attention_mask"], silent, blank=28).tolist() == [losses[0].item(), 0.0]
    blanks = -output.logits[1].log_softmax(-1)[inputs["attention_mask"][1].bool(), 28].sum()
    assert model(**inputs, labels=silent).loss.item() == pytest.approx(((losses[0] + blanks) / 2).item(), rel=1e-5)
    model.config.ctc_loss_reduction = "sum"
    assert model(**inputs, labels=labels).loss.item() == pytest.approx((5 * losses[0] + 2 * losses[1]).item())
    output.loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() and gradient.any() for gradient in gradients)
    for row in ([28], [29]):
        with pytest.raises(ValueError, match="not the blank"):
            model(**features_of("v04", "b_16192"), labels=torch.tensor([row]))
    with pytest.raises(ValueError, match="one row per clip"):
        model(**features_of("v04", "b_16192"), labels=labels)


def test_dropout_is_of_training_only_and_spares_the_lstm() -> None:
    torch.manual_seed(0)
    model = DeepSpeechModel(DeepSpeechConfig(hidden_size=64, dropout=0.5))
    features = torch.randn(1, 20, 26)
    plain = model.eval()(features, output_hidden_states=True).layer_1
    output = model.train()(features, output_hidden_states=True)
    alive, kept = plain > 0, output.layer_1 > 0
    assert 0.4 < (alive & ~kept).sum() / alive.sum() < 0.6
    torch.testing.assert_close(output.layer_1[kept], 2 * plain[kept])
    assert (output.rnn_output != 0).all()


def test_initialization() -> None:
    model = DeepSpeechModel(DeepSpeechConfig(hidden_size=32, forget_bias=1.0))
    bias = model.lstm.bias_ih_l0.view(4, 32)
    assert bias.sum(1).tolist() == [0, 32, 0, 0]
    assert not model.lstm.bias_hh_l0.any()
    assert not model.layer_1.bias.any()
    assert model.layer_1.weight.std().item() == pytest.approx((2 / (494 + 32)) ** 0.5, rel=0.05)


def test_both_forms_read_each_others_checkpoints(tmp_path: Path) -> None:
    recognizer = DeepSpeechForCTC(DeepSpeechConfig(hidden_size=16)).eval()
    recognizer.save_pretrained(tmp_path / "ctc")
    model = DeepSpeechModel.from_pretrained(tmp_path / "ctc")
    model.save_pretrained(tmp_path / "model")
    again = DeepSpeechForCTC.from_pretrained(tmp_path / "model")
    features = torch.randn(1, 12, 26)
    with torch.no_grad():
        assert torch.equal(again(features).logits, recognizer(features).logits)
        assert torch.equal(model(features, return_dict=False)[0], recognizer(features).logits)


def test_checkpoints_with_holes_are_refused(tmp_path: Path) -> None:
    DeepSpeechForCTC(DeepSpeechConfig(hidden_size=16)).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["stranger"] = torch.zeros(1)
    del tensors["deepspeech.lstm.bias_hh_l0"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(RuntimeError, match=r"missing: deepspeech.lstm.bias_hh_l0; unexpected: stranger"):
        DeepSpeechForCTC.from_pretrained(tmp_path)
    assert not DeepSpeechForCTC.from_pretrained(tmp_path, strict=False).deepspeech.lstm.bias_hh_l0.any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_hidden": 512}, "'n_hidden'"),
        ({"hidden_size": 0}, "hidden_size must be at least 1"),
        ({"relu_clip": 0.0}, "relu_clip"),
        ({"forget_bias": float("inf")}, "forget_bias"),
        ({"dropout": 1.0}, "dropout"),
        ({"pad_token_id": 29}, "pad_token_id"),
        ({"ctc_loss_reduction": "none"}, "ctc_loss_reduction"),
    ],
)
def test_impossible_configurations_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeepSpeechConfig(**fields)


def test_what_tools_hang_onto_a_configuration_is_not_saved(tmp_path: Path) -> None:
    config = DeepSpeechConfig(hidden_size=8)
    config.use_cache = False  # Trainer does
    config.save_pretrained(tmp_path)
    assert DeepSpeechConfig.from_pretrained(tmp_path).to_dict() == DeepSpeechConfig(hidden_size=8).to_dict()


def test_what_the_hub_forces_to_be_copied_is_the_same() -> None:
    assert configuration_deepspeech.TRANSFORMERS_KEYS == configuration_ser.TRANSFORMERS_KEYS
    assert inspect.getsource(DeepSpeechConfig.to_dict) == inspect.getsource(SERConfig.to_dict)


# The LSTM, which reads single clips frame by frame where that is faster ----------------------------------------------

SIZE, HIDDEN = 24, 40


@pytest.fixture
def lstm() -> Iterator[DeepSpeechLSTM]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield DeepSpeechLSTM(SIZE, HIDDEN).eval()


@pytest.mark.parametrize("frames", [1, 2, FEW_FRAMES, 200])
@pytest.mark.parametrize("carried", [False, True])
def test_both_ways_agree(lstm: DeepSpeechLSTM, frames: int, carried: bool) -> None:
    x = torch.randn(1, frames, SIZE)
    state = (torch.randn(1, 1, HIDDEN).tanh(), torch.randn(1, 1, HIDDEN)) if carried else None
    kept = None if state is None else tuple(part.clone() for part in state)
    found = lstm._frame_by_frame(x, state)
    torch.testing.assert_close(found, nn.LSTM.forward(lstm, x, state), rtol=0, atol=5e-6)
    if carried:  # a state may be used twice
        torch.testing.assert_close(state, kept, rtol=0, atol=0)


def test_chunks_give_the_whole(lstm: DeepSpeechLSTM) -> None:
    x = torch.randn(1, 50, SIZE)
    state, parts = None, []
    for chunk in x.split((1, 3, 20, FEW_FRAMES, 18), dim=1):
        part, state = lstm(chunk, state)
        parts.append(part)
    torch.testing.assert_close((torch.cat(parts, dim=1), state), nn.LSTM.forward(lstm, x), rtol=0, atol=5e-6)


def test_the_short_way_is_for_single_clips_only(lstm: DeepSpeechLSTM, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(clips: int, frames: int) -> bool:
        return lstm._goes_frame_by_frame(torch.zeros(clips, frames, SIZE))

    assert (short(1, FEW_FRAMES), short(2, FEW_FRAMES), short(1, FEW_FRAMES + 1)) == (True, False, False)
    with torch.enable_grad():
        assert not short(1, FEW_FRAMES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not short(1, FEW_FRAMES)
    monkeypatch.setattr(lstm_deepspeech, "UNCACHED_UNITS", HIDDEN)
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert short(1, FEW_FRAMES + 1) is (threads == 1)
