"""Streams of frozen encoders: their frames and times, batches, saving, bundling and references."""

import json
import logging
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from datasets.fingerprint import Hasher
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from feature_extraction import DeepSpeechFeatureExtractor, DeepSpeechForCTC, SERFeatureExtractor
from feature_extraction.speech_encoders import load_encoder
from tests.feature_extraction.small_encoders import KINDS, RATE, SMALL, noise, saved_encoder
from tests.hub.local_hub import LocalHub
from tests.subprocess_tools import run_python_json

LENGTHS = (5000, 300, 16000, 12345)
CLIPS = [noise(length, seed) for seed, length in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: saved_encoder(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def extractor_with(folder: Path, streams: tuple[str, ...] = ("mel", "encoder"), **more: Any) -> SERFeatureExtractor:
    return SERFeatureExtractor(streams=streams, encoders={"encoder": {"name_or_path": str(folder), **more}})


# Features ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_has_the_same_features_alone_and_in_any_batch(kind: str, encoders: dict[str, Path]) -> None:
    extractor = extractor_with(encoders[kind])
    batch = extractor.extract(CLIPS)
    assert batch["input_features"].shape[-1] == extractor.feature_size == sum(extractor.stream_sizes)
    mel = SERFeatureExtractor().extract(CLIPS)
    assert torch.equal(batch["attention_mask"], mel["attention_mask"])
    torch.testing.assert_close(batch["input_features"][..., :384], mel["input_features"])
    for index, clip in enumerate(CLIPS):
        alone = extractor.extract([clip])["input_features"][0]
        torch.testing.assert_close(batch["input_features"][index, : len(alone)], alone, rtol=1e-4, atol=2e-5)
        assert not batch["input_features"][index, len(alone) :].any()


@pytest.mark.parametrize("streams", [("mel",), ("encoder",), ("encoder", "mel")], ids="+".join)
@pytest.mark.parametrize("kind", KINDS)
def test_clips_are_padded_to_the_frames_of_so_many_samples(
    kind: str, streams: tuple[str, ...], encoders: dict[str, Path]
) -> None:
    extractor = extractor_with(encoders[kind], streams) if "encoder" in streams else SERFeatureExtractor()
    batch = extractor(CLIPS[:2], RATE, padding="max_length", max_length=LENGTHS[2], return_tensors="pt")
    assert batch["input_features"].shape[1] == extractor.extract([CLIPS[2]])["input_features"].shape[1]
    mask = extractor.extract(CLIPS[:2])["attention_mask"]
    assert batch["attention_mask"].sum(dim=1).tolist() == mask.sum(dim=1).tolist()


def test_deepspeech_frames_are_those_of_the_layer_asked_for(encoders: dict[str, Path]) -> None:
    model = DeepSpeechForCTC.from_pretrained(encoders["deepspeech"]).deepspeech
    clip = CLIPS[2]
    inputs = DeepSpeechFeatureExtractor()(clip, sampling_rate=RATE, return_tensors="pt")
    states = model(**inputs, output_hidden_states=True).hidden_states
    for layer in (None, 1, 4, 5, 6):
        more = {} if layer is None else {"layer": layer}
        extractor = extractor_with(encoders["deepspeech"], ("encoder",), **more)
        features = extractor.extract([clip])["input_features"]
        torch.testing.assert_close(features, states[layer or 5])
        assert extractor.encoders["encoder"]["layer"] == (layer or 5)
    assert extractor_with(encoders["deepspeech"], ("encoder",), layer=6).feature_size == 29


@pytest.mark.parametrize("clip", CLIPS[1:3], ids=["one frame", "many"])
def test_streams_meet_at_the_mel_frames_times(clip: np.ndarray, encoders: dict[str, Path]) -> None:
    single, both = extractor_with(encoders["deepspeech"], ("encoder",)), extractor_with(encoders["deepspeech"])
    alone = single.extract([clip])["input_features"][0].numpy()
    joined = both.extract([clip])["input_features"][0, :, 384:].numpy()
    centers, times = 320 * np.arange(len(alone)) + 256, 400 * np.arange(len(joined))
    np.testing.assert_allclose(single.frame_times(len(alone)), centers / RATE)
    np.testing.assert_allclose(both.frame_times(len(joined)), times / RATE)
    expected = np.stack([np.interp(times, centers, alone[:, unit]) for unit in range(alone.shape[1])], axis=1)
    np.testing.assert_allclose(joined, expected, atol=1e-5)


def test_the_order_of_streams_is_that_of_the_features(encoders: dict[str, Path]) -> None:
    mel_first = extractor_with(encoders["deepspeech"])
    mel_last = extractor_with(encoders["deepspeech"], ("encoder", "mel"))
    assert mel_first.stream_sizes == [384, 24]
    assert mel_last.stream_sizes == [24, 384]
    first, last = (e.extract(CLIPS)["input_features"] for e in (mel_first, mel_last))
    assert torch.equal(first, torch.cat([last[..., 24:], last[..., :24]], dim=-1))


@pytest.mark.parametrize(("kind", "step", "offset"), [("wav2vec2", 320, 199.5), ("whisper", 320, 0.0)])
def test_frames_stand_where_the_encoder_looks(kind: str, step: int, offset: float, encoders: dict[str, Path]) -> None:
    centers = load_encoder(str(encoders[kind])).centers(3, torch.device("cpu"))
    assert centers.tolist() == [offset, offset + step, offset + 2 * step]


def test_whisper_reads_long_clips_in_parts_and_short_ones_to_their_end(encoders: dict[str, Path]) -> None:
    encoder = load_encoder(str(encoders["whisper"]))  # of 40 frames at a time: 12800 samples
    long, short = encoder([torch.from_numpy(noise(30000)), torch.from_numpy(noise(1000))])
    assert long.shape == (94, 16)
    assert short.shape == (4, 16)
    torch.testing.assert_close(long[:40], encoder([torch.from_numpy(noise(30000)[:12800])])[0])


def test_transformers_layers_are_its_hidden_states(encoders: dict[str, Path]) -> None:
    model = Wav2Vec2Model.from_pretrained(encoders["wav2vec2"]).eval()
    inputs = Wav2Vec2FeatureExtractor()(CLIPS[2], sampling_rate=RATE, return_tensors="pt")
    states = model(**inputs, output_hidden_states=True).hidden_states
    for layer in range(4):
        frames = load_encoder(str(encoders["wav2vec2"]), layer)([torch.from_numpy(CLIPS[2])])[0]
        torch.testing.assert_close(frames, states[layer][0])


def test_half_precision_weights_are_computed_with_in_full(encoders: dict[str, Path], tmp_path: Path) -> None:
    DeepSpeechForCTC.from_pretrained(encoders["deepspeech"]).half().save_pretrained(tmp_path)
    DeepSpeechFeatureExtractor().save_pretrained(tmp_path)
    encoder = load_encoder(str(tmp_path))
    assert encoder.model.dtype == torch.float32
    whole = load_encoder(str(encoders["deepspeech"]))([torch.from_numpy(CLIPS[2])])[0]
    torch.testing.assert_close(encoder([torch.from_numpy(CLIPS[2])])[0], whole, atol=1e-2, rtol=1e-2)


# Saving --------------------------------------------------------------------------------------------------------------


def test_a_bundled_encoder_comes_back_from_the_folder_alone(encoders: dict[str, Path], tmp_path: Path) -> None:
    extractor = extractor_with(encoders["deepspeech"])
    extractor.save_pretrained(tmp_path / "first")
    settings = json.loads((tmp_path / "first" / "preprocessor_config.json").read_text())
    assert settings["encoders"]["encoder"]["bundled"] is True
    assert settings["encoders"]["encoder"]["size"] == 24 == extractor.to_dict()["encoders"]["encoder"]["size"]
    assert str(encoders["deepspeech"]) not in json.dumps(settings)
    (tmp_path / "first").rename(tmp_path / "moved")
    again = SERFeatureExtractor.from_pretrained(tmp_path / "moved")
    assert torch.equal(again.extract(CLIPS)["input_features"], extractor.extract(CLIPS)["input_features"])
    again.save_pretrained(tmp_path / "second")
    third = SERFeatureExtractor.from_pretrained(tmp_path / "second")
    assert torch.equal(third.extract(CLIPS)["input_features"], extractor.extract(CLIPS)["input_features"])


def test_checkpoints_share_one_copy_on_disk(encoders: dict[str, Path], tmp_path: Path) -> None:
    extractor = extractor_with(encoders["deepspeech"])
    for step in (1, 2, 2, 3):
        extractor.save_pretrained(tmp_path / f"checkpoint-{step}")
    weights = [tmp_path / f"checkpoint-{step}" / "encoder" / "model.safetensors" for step in (1, 2, 3)]
    assert len({path.stat().st_ino for path in weights}) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-1", "checkpoint-2", "checkpoint-3"}
    weights[0].parent.rename(tmp_path / "gone")  # an old checkpoint is removed, the others stay whole
    extractor.save_pretrained(tmp_path / "checkpoint-4")
    SERFeatureExtractor.from_pretrained(tmp_path / "checkpoint-4")


def test_a_network_is_not_linked_to_what_another_extractor_has_saved_since(
    encoders: dict[str, Path], tmp_path: Path
) -> None:
    first, second = (extractor_with(encoders["deepspeech"], layer=5), extractor_with(encoders["hubert"]))
    first.save_pretrained(tmp_path / "run")
    second.save_pretrained(tmp_path / "run")
    first.save_pretrained(tmp_path / "again")
    again = SERFeatureExtractor.from_pretrained(tmp_path / "again")
    assert torch.equal(again.extract(CLIPS)["input_features"], first.extract(CLIPS)["input_features"])


def test_an_extractor_is_found_in_a_subfolder_with_its_encoder(encoders: dict[str, Path], tmp_path: Path) -> None:
    extractor_with(encoders["deepspeech"]).save_pretrained(tmp_path / "models" / "three")
    for place in ({"subfolder": "models/three"}, {"subfolder": "models/three", "local_files_only": True}):
        assert SERFeatureExtractor.from_pretrained(tmp_path, **place).streams == ("mel", "encoder")


def test_saving_does_not_change_how_an_extractor_hashes(encoders: dict[str, Path], tmp_path: Path) -> None:
    extractor = extractor_with(encoders["deepspeech"])
    before = Hasher.hash(extractor)
    for number in ("1", "2"):
        extractor.save_pretrained(tmp_path / number)
        assert Hasher.hash(extractor) == before
    pickle.loads(pickle.dumps(extractor)).save_pretrained(tmp_path / "of the copy")
    assert SERFeatureExtractor.from_pretrained(tmp_path / "of the copy").encoders.keys() == {"encoder"}


def test_an_extractor_pushed_while_it_is_saved_takes_its_encoder_along(
    encoders: dict[str, Path], local_hub: LocalHub, tmp_path: Path
) -> None:
    extractor_with(encoders["deepspeech"]).save_pretrained(tmp_path / "extractor")
    code = """
import json
from feature_extraction import SERFeatureExtractor
extractor = SERFeatureExtractor.from_pretrained("extractor")
extractor.save_pretrained("saved", push_to_hub=True, repo_id="alice/pushed-while-saved", commit_message="both")
extractor.save_pretrained("saved", push_to_hub=True, repo_id="alice/pushed-while-saved")
again = SERFeatureExtractor.from_pretrained("alice/pushed-while-saved")
print(json.dumps(again.encoders == extractor.encoders and again.streams == extractor.streams))
"""
    assert (
        run_python_json(code, env=local_hub.env(tmp_path / "home", "alice"), cwd=tmp_path, with_project=True) is True
    )
    assert "encoder/model.safetensors" in local_hub.files("alice/pushed-while-saved")


def test_an_encoder_that_changed_or_is_missing_is_refused(encoders: dict[str, Path], tmp_path: Path) -> None:
    extractor_with(encoders["deepspeech"]).save_pretrained(tmp_path)
    path = tmp_path / "encoder" / "model.safetensors"
    weights = load_file(path)
    weights[next(iter(weights))] += 1
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="its digest"):
        SERFeatureExtractor.from_pretrained(tmp_path)
    (tmp_path / "encoder").rename(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="encoder holds no config"):
        SERFeatureExtractor.from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
def test_weights_that_do_not_fit_are_told_by_one_sentence(
    kind: str, encoders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(encoders[kind], tmp_path / "encoder")
    weights = load_file(folder / "model.safetensors")
    reports = logging.getLogger("transformers.modeling_utils")
    reports.addHandler(caplog.handler)
    try:
        save_file({**weights, "head.weight": torch.zeros(2)}, folder / "model.safetensors", {"format": "pt"})
        load_encoder(str(folder))
        (unread,) = caplog.messages
        assert "head.weight" in unread and "\n" not in unread
        first, second, *_ = (name for name in weights if name.endswith("q_proj.weight"))
        others = {name: value for name, value in weights.items() if name != first} | {second: torch.zeros(3, 2)}
        save_file(others, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ValueError, match=rf"missing: .*{first[-20:]}.* of another size: .*\(3x2 there"):
            load_encoder(str(folder))
        assert caplog.messages == [unread]
    finally:
        reports.removeHandler(caplog.handler)


@pytest.mark.parametrize("layer", [7, "5", True])
def test_layers_and_rates_that_do_not_exist_are_refused(layer: Any, encoders: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=f"layer={layer!r}: .* layers 1 to 6"):
        extractor_with(encoders["deepspeech"], layer=layer)
    entry = {"name_or_path": str(encoders["deepspeech"])}
    with pytest.raises(ValueError, match="16000 Hz and this extractor at 8000 Hz"):
        SERFeatureExtractor(streams=("encoder",), sampling_rate=8000, encoders={"encoder": entry})


@pytest.mark.parametrize("name", ["SEW", "Data2VecAudio"])
def test_encoders_whose_frames_are_not_those_of_their_convolutions_are_refused(name: str, tmp_path: Path) -> None:
    sizes = {**SMALL, "conv_stride": (5, 2, 2, 2, 2, 2, 2), "conv_kernel": (10, 3, 3, 3, 3, 2, 2)}
    config = getattr(transformers, f"{name}Config")(**sizes)
    getattr(transformers, f"{name}Model")(config).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=config.model_type):
        load_encoder(str(tmp_path))


def test_an_adapter_behind_the_layers_cuts_no_frames(tmp_path: Path) -> None:
    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(**SMALL, add_adapter=True, output_hidden_size=16)).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    (frames,) = load_encoder(str(tmp_path))([torch.from_numpy(noise(RATE))])
    assert frames.shape == (49, 16)


def test_whisper_reads_a_bounded_number_of_parts_at_once(encoders: dict[str, Path]) -> None:
    encoder = load_encoder(str(encoders["whisper"]))
    clip = torch.from_numpy(noise(20 * 40 * 320))
    (expected,) = encoder([clip])
    sizes: list[int] = []
    encoder.model.conv1.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    (frames,) = encoder([clip])
    assert sizes == [8, 8, 4] and torch.equal(frames, expected) and frames.shape == (800, 16)
