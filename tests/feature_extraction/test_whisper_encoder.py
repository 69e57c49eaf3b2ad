"""Whisper at the clips' own lengths: its log-mel energies, windows, bounded passes, layers, and its entry."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from feature_extraction import SERFeatureExtractor
from feature_extraction import whisper_encoder as module
from feature_extraction.encoder_layers import encoder_states
from feature_extraction.frozen_encoder import SpeechEncoder
from feature_extraction.speech_encoders import load_encoder
from feature_extraction.whisper_log_mel import whisper_log_mel
from tests.feature_extraction.small_encoders import RATE, noise, small_model

WINDOW = 40 * 320  # samples that the small Whisper reads at once
LENGTHS = (5000, 300, WINDOW, WINDOW + 1, 3 * WINDOW - 777, 321, 6543)
CLIPS = [torch.from_numpy(noise(length, seed)) for seed, length in enumerate(LENGTHS)]
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    model, extractor = small_model("whisper")
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.1 * torch.randn_like(weights)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> SpeechEncoder:
    return load_encoder(str(folder), [1, 2], "clip")


def extractor_with(folder: Path, **entry: Any) -> SERFeatureExtractor:
    return SERFeatureExtractor(streams=("ear",), encoders={"ear": {"name_or_path": str(folder), **entry}})


@pytest.mark.parametrize("scale", [1.0, 0.001, 0.0], ids=["noise", "faint", "silence"])
def test_log_mel_energies_are_those_of_transformers_alone_and_in_a_batch(scale: float) -> None:
    reference = transformers.WhisperFeatureExtractor()
    filters = torch.from_numpy(reference.mel_filters).float()
    clips = [scale * clip for clip in CLIPS if len(clip) >= 400]
    clips[0][1000:] *= 1e-3  # what is faint is raised to a floor below the clip's own loudest
    batch, ends = whisper_log_mel(clips, filters)
    for clip, energies, end in zip(clips, batch, ends.tolist(), strict=True):
        expected = reference(clip.numpy(), sampling_rate=RATE, padding="do_not_pad", return_tensors="pt")
        expected = expected["input_features"][0]
        assert end == len(clip) // 160 == expected.shape[1]
        torch.testing.assert_close(energies[:, :end], expected, **TOLERANCE)
        assert not energies[:, end:].any()
        assert torch.equal(whisper_log_mel([clip], filters)[0][0], energies[:, :end])


def test_a_clip_shorter_than_a_window_is_filled_up_with_zeros() -> None:
    filters = torch.from_numpy(transformers.WhisperFeatureExtractor().mel_filters).float()
    for samples in (1, 160, 399):
        clip = torch.from_numpy(noise(samples))
        energies, ends = whisper_log_mel([clip], filters)
        assert ends.tolist() == [2] and energies.shape == (1, 80, 2)
        assert torch.equal(energies, whisper_log_mel([torch.nn.functional.pad(clip, (0, 400 - samples))], filters)[0])


def test_frames_are_the_states_of_each_window_by_itself(encoder: SpeechEncoder) -> None:
    filters = torch.from_numpy(encoder.extractor.mel_filters).float()
    for clip, frames in zip(CLIPS, encoder(CLIPS), strict=True):
        assert frames.shape[1] == encoder.size == 32
        log_mels = [whisper_log_mel([window], filters)[0] for window in clip.split(WINDOW)]
        states = [torch.cat(encoder_states(encoder.model, mel, None, [1, 2])[0], dim=-1)[0] for mel in log_mels]
        torch.testing.assert_close(frames, torch.cat(states), **TOLERANCE)


def test_frames_are_the_same_alone_in_any_batch_and_in_any_order(encoder: SpeechEncoder) -> None:
    together, turned = encoder(CLIPS), encoder(CLIPS[::-1])[::-1]
    for clip, frames, other in zip(CLIPS, together, turned, strict=True):
        assert torch.equal(frames, other)
        assert torch.equal(frames, encoder([clip])[0])


def test_a_pass_is_bounded_by_frames_however_many_and_long_the_clips_are(
    encoder: SpeechEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [*CLIPS, torch.from_numpy(noise(30 * WINDOW))]
    expected = encoder(clips)
    shapes: list[torch.Size] = []
    hook = encoder.model.conv2.register_forward_hook(lambda _, __, states: shapes.append(states.shape))
    encoder(clips)
    assert len(shapes) == 40 and max(states for _, _, states in shapes) == 40
    shapes.clear()
    monkeypatch.setitem(module.FRAMES_PER_PASS, "cpu", 90)  # as elsewhere, where there are batches
    frames = encoder(clips)
    hook.remove()
    assert max(rows * states for rows, _, states in shapes) <= 90
    assert max(rows for rows, _, _ in shapes) > 2
    for some, others in zip(frames, expected, strict=True):
        torch.testing.assert_close(some, others, **TOLERANCE)


def test_layers_are_side_by_side_in_the_order_given(folder: Path) -> None:
    single = {
        layer: extractor_with(folder, layer=layer, context="clip").extract(CLIPS)["input_features"] for layer in (0, 2)
    }
    both = extractor_with(folder, layer=(2, 0), context="clip")
    assert both.encoders["ear"]["layer"] == [2, 0] and both.stream_sizes == [32]
    features = both.extract(CLIPS)["input_features"]
    torch.testing.assert_close(features, torch.cat([single[2], single[0]], dim=-1), **TOLERANCE)
    padded = extractor_with(folder, layer=[2, 0]).extract(CLIPS)["input_features"]
    assert padded.shape[-1] == 32 and not torch.equal(padded[:, :10], features[:, :10])


def test_an_entry_is_saved_and_loaded_with_its_layers_and_context(folder: Path, tmp_path: Path) -> None:
    extractor = extractor_with(folder, layer=[0, 2], context="clip")
    extractor.save_pretrained(tmp_path)
    entry = json.loads((tmp_path / "preprocessor_config.json").read_text())["encoders"]["ear"]
    assert {key: entry[key] for key in ("layer", "context", "size")} == {
        "layer": [0, 2],
        "context": "clip",
        "size": 32,
    }
    again = SERFeatureExtractor.from_pretrained(tmp_path)
    assert torch.equal(again.extract(CLIPS)["input_features"], extractor.extract(CLIPS)["input_features"])
    for changed in ({"context": "30s"}, {"layer": [2, 0]}, {"layer": 2}):
        (tmp_path / "preprocessor_config.json").write_text(
            json.dumps({**extractor.to_dict(), "encoders": {"ear": {**entry, **changed}}})
        )
        with pytest.raises(ValueError, match="is not the one that these features were made with"):
            SERFeatureExtractor.from_pretrained(tmp_path)


def test_without_a_word_clips_are_filled_up_to_30_seconds_as_they_always_were(folder: Path, tmp_path: Path) -> None:
    silent, said = extractor_with(folder, layer=2), extractor_with(folder, layer=2, context="30s")
    assert "context" not in silent.encoders["ear"]
    assert silent.encoders["ear"]["digest"] == said.encoders["ear"]["digest"]
    features = silent.extract(CLIPS[:1])["input_features"][0]
    assert torch.equal(features, said.extract(CLIPS[:1])["input_features"][0])
    model = transformers.WhisperModel.from_pretrained(folder).get_encoder().eval()
    inputs = transformers.WhisperFeatureExtractor()(
        CLIPS[0].numpy(), sampling_rate=RATE, padding="max_length", max_length=WINDOW, return_tensors="pt"
    )
    states = model(inputs["input_features"], output_hidden_states=True).hidden_states[2][0]
    assert torch.equal(features, states[: len(features)])
    silent.save_pretrained(tmp_path)
    assert torch.equal(SERFeatureExtractor.from_pretrained(tmp_path).extract(CLIPS[:1])["input_features"][0], features)


@pytest.mark.parametrize("layer", [[], [2, 2], [1, 3], [-1], [True], ["1"], [[1]], [1.0], 3, "1", {1}])
def test_layers_that_cannot_be_are_refused(layer: Any, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"layers 0 to 2; name one, or several in a list, each once"):
        extractor_with(folder, layer=layer, context="clip")


@pytest.mark.parametrize("value", ["30", "", 30, ["clip"], False])
def test_contexts_and_precisions_that_cannot_be_are_refused(value: Any, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"has context=.*; choose one of clip, 30s"):
        extractor_with(folder, context=value)
    with pytest.raises(ValueError, match=r"has dtype=.*; choose one of float32, bfloat16"):
        extractor_with(folder, dtype=value)


@pytest.mark.parametrize("kind", ["wav2vec2", "deepspeech"])
def test_contexts_and_precisions_are_whispers_alone(kind: str, tmp_path: Path) -> None:
    for part in small_model(kind):
        part.save_pretrained(tmp_path)
    for more in ({"context": "clip"}, {"dtype": "bfloat16"}):
        with pytest.raises(ValueError, match=rf"that is for Whisper alone, and .* is a '{kind}' model; leave it out"):
            extractor_with(tmp_path, **more)


@pytest.mark.parametrize("context", ["clip", "30s"])
def test_half_precision_is_near_and_stays_what_it_is(context: str, folder: Path, tmp_path: Path) -> None:
    whole, half = (extractor_with(folder, layer=[1, 2], context=context, dtype=it) for it in ("float32", "bfloat16"))
    features, near = (extractor.extract(CLIPS)["input_features"] for extractor in (whole, half))
    assert near.dtype == torch.float32
    assert 0 < (near - features).norm() < 0.05 * features.norm()
    half.save_pretrained(tmp_path)
    assert torch.equal(SERFeatureExtractor.from_pretrained(tmp_path).extract(CLIPS)["input_features"], near)


@pytest.mark.parametrize(("kind", "layers", "size"), [("wav2vec2", [3, 0], 32), ("deepspeech", [2, 6, 4], 77)])
def test_other_encoders_give_several_layers_too(kind: str, layers: list[int], size: int, tmp_path: Path) -> None:
    for part in small_model(kind):
        part.save_pretrained(tmp_path)
    clips = [clip for clip in CLIPS if len(clip) < WINDOW]
    singles = [extractor_with(tmp_path, layer=layer).extract(clips)["input_features"] for layer in layers]
    together = extractor_with(tmp_path, layer=layers)
    features = together.extract(clips)["input_features"]
    assert features.shape[-1] == together.feature_size == size
    np.testing.assert_allclose(features, torch.cat(singles, dim=-1), rtol=1e-5, atol=1e-5)
