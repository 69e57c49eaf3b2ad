"""The feature extractor: its arguments, the forms of its output, and what it refuses."""

import copy
import json
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets.fingerprint import Hasher
from transformers import Wav2Vec2FeatureExtractor

from feature_extraction import DeepSpeechFeatureExtractor, SERFeatureExtractor
from feature_extraction.audio_decoding import SilentClipWarning, load_audio, warn_assumed_rate
from feature_extraction.mel_deltas import log_mel_deltas
from feature_extraction.waveform_extractor import WaveformExtractor
from tests.feature_extraction.small_encoders import noise
from tests.subprocess_tools import offline_environment, run_python_json

LENGTHS = [16000, 1, 399, 401, 5000]


@pytest.fixture
def extractor() -> SERFeatureExtractor:
    return SERFeatureExtractor()


CLIPS = [noise(samples, seed) for seed, samples in enumerate(LENGTHS)]
FRAMES = [1 + samples // 400 for samples in LENGTHS]


def test_a_padded_batch(extractor: SERFeatureExtractor) -> None:
    batch = extractor(CLIPS, sampling_rate=16000, padding=True, device=torch.device("cpu"))
    features, mask = batch["input_features"], batch["attention_mask"]
    assert features.shape == (5, 41, extractor.feature_size) == (5, 41, 384)
    assert (features.dtype, mask.dtype) == (np.float32, np.int64)
    assert mask.sum(axis=1).tolist() == FRAMES
    for clip, row, frames in zip(CLIPS, features, FRAMES, strict=True):
        expected, _ = log_mel_deltas([torch.from_numpy(clip)])
        np.testing.assert_allclose(row[:frames], expected[0], atol=2e-5)
        assert not row[frames:].any()
    core = extractor.extract([CLIPS[0], torch.from_numpy(CLIPS[1])])
    called = extractor(CLIPS[:2], sampling_rate=16000, padding=True, return_tensors="pt")
    assert all(torch.equal(core[name], called[name]) for name in extractor.model_input_names)


KINDS = {
    "numpy": lambda clip: clip,
    "float64": lambda clip: clip.astype(np.float64),
    "read-only": lambda clip: np.frombuffer(clip.tobytes(), np.float32),
    "backwards view": lambda clip: clip[::-1].copy()[::-1],
    "torch": torch.from_numpy,
    "list": lambda clip: clip.tolist(),
    "tuple": lambda clip: tuple(clip.tolist()),
    "numpy numbers": list,
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_waveforms(kind: str, extractor: SERFeatureExtractor) -> None:
    expected = extractor(CLIPS[4], sampling_rate=16000)["input_features"]
    waveform = KINDS[kind](CLIPS[4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for audio in (waveform, [waveform]):
            np.testing.assert_array_equal(extractor(audio, sampling_rate=16000)["input_features"], expected)


def test_integers_are_scaled_as_the_decoder_scales_them(extractor: SERFeatureExtractor) -> None:
    integers = (CLIPS[0] * 32768).astype(np.int16)
    features = extractor(integers, sampling_rate=16000)["input_features"]
    expected = extractor(extractor.load_audio({"array": integers, "sampling_rate": 16000}), sampling_rate=16000)
    np.testing.assert_array_equal(features, expected["input_features"])


@pytest.mark.parametrize("padding", [None, True, False, "do_not_pad"])
@pytest.mark.parametrize("return_tensors", [None, "np", "pt"])
def test_forms_of_a_batch(
    padding: bool | str | None, return_tensors: str | None, extractor: SERFeatureExtractor
) -> None:
    form = {"sampling_rate": 16000, "return_tensors": return_tensors}
    form |= {} if padding is None else {"padding": padding}  # without a word there is none
    kind = torch.Tensor if return_tensors == "pt" else np.ndarray
    if padding is not True and return_tensors:
        with pytest.raises(ValueError, match="Clips of 1 to 41 frames make no single array; pass padding=True"):
            extractor(CLIPS, **form)
    clips = CLIPS if padding is True or not return_tensors else CLIPS[:1] * 2
    batch = extractor(clips, **form)
    assert list(batch) == ["input_features", "attention_mask"] == extractor.model_input_names
    assert "attention_mask" in extractor(clips, **form, return_attention_mask=None)  # as everywhere in transformers
    assert list(extractor(clips, **form, return_attention_mask=False)) == ["input_features"]
    if padding is True or return_tensors:
        assert all(isinstance(value, kind) for value in batch.values())
        return
    padded = extractor(CLIPS, sampling_rate=16000, padding=True)["input_features"]
    assert [row.tolist() for row in batch["attention_mask"]] == [[1] * frames for frames in FRAMES]
    for row, whole, frames in zip(batch["input_features"], padded, FRAMES, strict=True):
        assert isinstance(row, kind) and row.shape == (frames, 384)
        np.testing.assert_array_equal(row, whole[:frames])


def test_padding_to_a_length(extractor: SERFeatureExtractor) -> None:
    padded = extractor(CLIPS, 16000, padding=True)["input_features"]
    batch = extractor(CLIPS, sampling_rate=16000, padding="max_length", max_length=20000)
    np.testing.assert_array_equal(batch["input_features"][:, :41], padded)
    assert batch["input_features"].shape == (5, 51, 384)
    assert not batch["input_features"][:, 41:].any()
    assert batch["attention_mask"].sum(axis=1).tolist() == FRAMES
    with pytest.raises(ValueError, match="16000 samples, more than max_length=4000"):
        extractor(CLIPS, sampling_rate=16000, padding="max_length", max_length=4000)


@pytest.mark.parametrize("padding", [True, "longest", "max_length", False])
def test_truncation_cuts_samples(padding: bool | str, extractor: SERFeatureExtractor) -> None:
    batch = extractor(CLIPS, sampling_rate=16000, padding=padding, max_length=4000, truncation=True)
    cut = extractor([clip[:4000] for clip in CLIPS], sampling_rate=16000)
    for name in cut:
        for row, expected in zip(batch[name], cut[name], strict=True):
            np.testing.assert_array_equal(row[: len(expected)], expected)
            assert len(row) == (len(expected) if padding is False else 11) and not row[len(expected) :].any()


@pytest.mark.parametrize("batched", [True, False], ids=["lists", "clip by clip"])
@pytest.mark.parametrize("mask", [True, False])
def test_clips_padded_later_are_as_if_padded_at_once(batched: bool, mask: bool) -> None:
    waveform = {"input": "waveform", "size": 1, "normalize": False, "shortest": 400}
    for kind in (SERFeatureExtractor(), SERFeatureExtractor(streams=("encoder",), encoders={"encoder": waveform})):
        expected = kind(CLIPS, sampling_rate=16000, padding=True, return_tensors="pt")
        single = kind(CLIPS, sampling_rate=16000, return_attention_mask=mask)
        if not batched:
            single = [{name: values[index] for name, values in single.items()} for index in range(len(CLIPS))]
        padded = kind.pad(single, return_tensors="pt")
        assert all(torch.equal(padded[name].to(value.dtype), value) for name, value in expected.items())


def test_half_precision_is_the_last_step() -> None:
    half, full = SERFeatureExtractor(feature_dtype="float16"), SERFeatureExtractor()
    for return_tensors in ("np", "pt"):
        features = half(CLIPS, sampling_rate=16000, padding=True, return_tensors=return_tensors)["input_features"]
        expected = full(CLIPS, sampling_rate=16000, padding=True)["input_features"].astype(np.float16)
        assert str(features.dtype).endswith("float16")
        np.testing.assert_array_equal(features, expected)


@pytest.mark.parametrize("kind", ["level", "band"])
def test_loudness_leaves_no_trace(kind: str) -> None:
    extractor = SERFeatureExtractor(dynamic_range=40.0, clip_normalization=kind)
    clip = noise(20000)
    clip[6000:12000] = 0.0  # silence, which lies at the common floor whatever the gain
    loud, quiet = (extractor(gain * clip, sampling_rate=16000)["input_features"][0] for gain in (1.0, 0.005))
    np.testing.assert_allclose(quiet, loud, atol=2e-3)
    plain, faint = (SERFeatureExtractor().extract([gain * clip])["input_features"] for gain in (1.0, 0.005))
    assert (plain - faint)[..., :128].abs().max() > 40


def test_silence_is_at_the_floor_or_zero_and_warned_of_once(extractor: SERFeatureExtractor) -> None:
    with pytest.warns(SilentClipWarning, match="waveform 1: digital silence") as warned:
        (_, features) = extractor([noise(4000), np.zeros(4000)], sampling_rate=16000)["input_features"]
        for kind in ("level", "band"):
            normalized = SERFeatureExtractor(dynamic_range=60.0, clip_normalization=kind)
            assert normalized.extract([np.zeros(4000, np.float32)])["input_features"].abs().max() < 1e-4
    assert len(warned) == 1
    assert np.unique(features[:, :128]).tolist() == [-100.0]
    assert np.abs(features[:, 128:]).max() < 1e-6


def test_a_missing_rate_warns_once(extractor: SERFeatureExtractor) -> None:
    for take in (extractor, load_audio):
        warn_assumed_rate.cache_clear()
        with pytest.warns(UserWarning, match="taken to be at 16000 Hz"):
            take(noise())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            take(noise())
            take(torch.from_numpy(noise()))


def test_load_audio_decodes_at_the_extractors_rate() -> None:
    clip = {"array": noise(16000), "sampling_rate": 16000}
    assert SERFeatureExtractor(sampling_rate=8000).load_audio(clip).shape == (8000,)


BAD_CALLS = {
    "wrong rate": ((noise(),), {"sampling_rate": 44100}, ValueError, "at 44100 Hz, but this extractor works at 16000"),
    "2-D array": ((np.zeros((2, 800)),), {}, ValueError, r"the waveform: expected .* \(2, 800\); `load_audio`"),
    "2-D in a batch": (([noise(), np.zeros((2, 800))],), {}, ValueError, "waveform 1: expected a mono waveform"),
    "lists of channels in a batch": (([[[0.1, 0.2]], [[0.1, 0.2]]],), {}, ValueError, "waveform 0: expected a mono"),
    "0-D array": ((np.array(1.0),), {}, ValueError, "expected a mono waveform"),
    "0 samples in a batch": (([noise(), []],), {}, ValueError, "waveform 1: holds 0 samples"),
    "NaN": ((np.array([0.0, np.nan]),), {}, ValueError, "the waveform: 1 of 2 samples is NaN"),
    "64-bit integers": (([1, 2, 3],), {}, ValueError, "full scale"),
    "empty list": (([],), {}, ValueError, "empty list"),
    "path": (("clip.wav",), {}, TypeError, r"Cannot take features of a str.*extractor\.load_audio"),
    "paths": ((["clip.wav"],), {}, TypeError, r"waveform 0 is a str.*extractor\.load_audio"),
    "bytes": ((b"RIFF",), {}, TypeError, "of a bytes"),
    "dict": (({"array": noise()},), {}, TypeError, "of a dict"),
    "dicts": (([{"array": noise()}],), {}, TypeError, "waveform 0 is a dict"),
    "None": ((None,), {}, TypeError, "of a NoneType"),
    "unknown padding": ((noise(),), {"padding": "both"}, ValueError, "padding='both'"),
    "unknown tensors": ((noise(),), {"return_tensors": "tf"}, ValueError, "return_tensors='tf'"),
    "truncation to what": ((noise(),), {"truncation": True}, ValueError, "need max_length"),
    "padding to what": ((noise(),), {"padding": "max_length"}, ValueError, "need max_length"),
    "length alone": ((noise(),), {"max_length": 9}, ValueError, "max_length alone does nothing"),
    "no samples": ((noise(),), {"max_length": 0, "truncation": True}, ValueError, "max_length=0"),
    "pair with its rate": (((16000, noise()),), {}, TypeError, r"extractor\(samples, sampling_rate=rate\)"),
    "broken samples": ((noise(),), {"max_length": 1.5, "truncation": True}, ValueError, r"max_length=1\.5"),
}


@pytest.mark.parametrize("kind", BAD_CALLS)
def test_bad_calls(kind: str, extractor: SERFeatureExtractor) -> None:
    args, settings, error, complaint = BAD_CALLS[kind]
    with pytest.raises(error, match=complaint):
        extractor(*args, **{"sampling_rate": 16000, **settings})


BAD_SETTINGS = {
    "unknown stream": ({"streams": ("mel", "deepspeech")}, "'deepspeech' needs an encoder"),
    "no stream": ({"streams": ()}, "give the streams once each"),
    "stream as text": ({"streams": "mel"}, "give the streams once each"),
    "stream twice": ({"streams": ("mel", "mel")}, "give the streams once each"),
    "encoders": ({"encoders": {"mel": {}}}, "no stream of"),
    "encoder without a place": ({"streams": ("a",), "encoders": {"a": {"layer": 5}}}, "lacks name_or_path"),
    "encoder's entry": ({"streams": ("a",), "encoders": {"a": {"path": "x"}}}, "has no 'path'"),
    "stream as a path": ({"streams": ("../a",), "encoders": {"../a": {"name_or_path": "x"}}}, "is no name"),
    "rate": ({"sampling_rate": 0}, "sampling_rate=0"),
    "fractional rate": ({"sampling_rate": 16000.5}, r"sampling_rate=16000\.5"),
    "hop": ({"hop_length": -400}, "hop_length=-400"),
    "bool": ({"hop_length": True}, "hop_length=True"),
    "text": ({"n_fft": "2048"}, "n_fft='2048'"),
    "odd transform": ({"n_fft": 2047}, "n_fft=2047: must be even"),
    "window": ({"n_fft": 256}, "the window must fit"),
    "mels": ({"num_mel_bins": 2000}, "num_mel_bins=2000"),
    "normalization": ({"clip_normalization": "bands"}, "clip_normalization='bands': choose one of none, level, band"),
    "negative range": ({"dynamic_range": -60}, "dynamic_range=-60"),
    "no range": ({"dynamic_range": 0.0}, r"dynamic_range=0\.0"),
    "range that is not a number": ({"dynamic_range": float("nan")}, "dynamic_range=nan"),
    "range as text": ({"dynamic_range": "60"}, "dynamic_range='60'"),
    "dtype": ({"feature_dtype": "bfloat16"}, "feature_dtype='bfloat16'"),
    "misspelt": ({"hop_lenght": 400}, "no setting 'hop_lenght'"),
    "padding side": ({"padding_side": "left"}, "padding_side='left'"),
    "padding value": ({"padding_value": -100.0}, "padding_value"),
    "feature size": ({"feature_size": 128}, "'feature_size'"),
}


@pytest.mark.parametrize("kind", BAD_SETTINGS)
def test_bad_settings(kind: str) -> None:
    settings, complaint = BAD_SETTINGS[kind]
    with pytest.raises(ValueError, match=complaint):
        SERFeatureExtractor(**settings)


SETTINGS: list[dict[str, Any]] = [
    {},
    {"sampling_rate": 8000, "n_fft": 512, "win_length": 256, "hop_length": 128, "num_mel_bins": 40},
    {"win_length": 2048, "feature_dtype": "float16", "streams": ["mel"]},
    {"dynamic_range": 60.0, "clip_normalization": "level"},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_survive_copying_and_saving(settings: dict[str, Any], tmp_path: Path) -> None:
    extractor = SERFeatureExtractor(**settings)
    features = extractor(CLIPS, extractor.sampling_rate, padding=True)["input_features"]  # fills whatever is cached
    numbers = {name: value for name, value in settings.items() if name not in ("streams", "feature_dtype")}
    expected, _ = log_mel_deltas([torch.from_numpy(clip) for clip in CLIPS], **numbers)
    np.testing.assert_array_equal(features, expected.numpy().astype(features.dtype))
    twins = [copy.deepcopy(extractor), pickle.loads(pickle.dumps(extractor))]
    extractor.save_pretrained(tmp_path)
    for twin in (*twins, SERFeatureExtractor.from_pretrained(tmp_path)):
        assert twin.to_dict() | {"auto_map": extractor.auto_map} == extractor.to_dict()
        assert (twin.streams, twin.feature_size) == (("mel",), features.shape[-1])
        np.testing.assert_array_equal(twin(CLIPS, twin.sampling_rate, padding=True)["input_features"], features)


@pytest.mark.parametrize("kind", [SERFeatureExtractor, DeepSpeechFeatureExtractor])
def test_features_of_another_version_are_told(kind: type[WaveformExtractor]) -> None:
    with pytest.warns(UserWarning, match="version 0") as warned:
        extractor = kind(**kind().to_dict() | {"feature_extraction_version": 0})
    assert extractor.feature_extraction_version == kind().feature_extraction_version
    assert warned[0].filename == __file__


def test_fingerprint_is_that_of_the_settings(tmp_path: Path) -> None:
    extractor = SERFeatureExtractor()
    fresh = Hasher.hash(extractor)
    extractor(noise(), sampling_rate=16000)
    extractor.save_pretrained(tmp_path)
    assert fresh == Hasher.hash(extractor) == Hasher.hash(SERFeatureExtractor.from_pretrained(tmp_path))
    newer = SERFeatureExtractor()
    newer.feature_extraction_version += 1
    assert fresh not in (Hasher.hash(SERFeatureExtractor(hop_length=200)), Hasher.hash(newer))
    code = """
        import json
        from datasets.fingerprint import Hasher
        from feature_extraction import SERFeatureExtractor
        print(json.dumps(Hasher.hash(SERFeatureExtractor())))
    """
    env = offline_environment(tmp_path / "home") | {"PYTHONHASHSEED": "7"}
    assert run_python_json(code, env=env, cwd=tmp_path, with_project=True) == fresh


def test_a_saved_extractor_works_without_the_project(extractor: SERFeatureExtractor, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    extractor.save_pretrained(folder)
    clip = noise(50000)
    np.save(tmp_path / "clip.npy", clip)
    code = f"""
        import json
        import numpy as np
        from transformers import AutoFeatureExtractor
        extractor = AutoFeatureExtractor.from_pretrained({os.fspath(folder)!r}, trust_remote_code=True)
        source = {{"array": np.load("clip.npy"), "sampling_rate": 32000}}
        batch = extractor(extractor.load_audio(source), sampling_rate=16000)
        np.save("features.npy", batch["input_features"])
        extractor.save_pretrained("again")
        print(json.dumps([type(extractor).__module__, extractor.to_dict()]))
    """
    module, settings = run_python_json(code, env=offline_environment(tmp_path / "home"), cwd=tmp_path)
    assert module.startswith("transformers_modules.")
    assert settings == extractor.to_dict()
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == sorted(p.name for p in folder.iterdir())
    waveform = extractor.load_audio({"array": clip, "sampling_rate": 32000})
    expected = extractor(waveform, sampling_rate=16000)["input_features"]
    np.testing.assert_allclose(np.load(tmp_path / "features.npy"), expected, atol=2e-5)


def test_settings_are_changed_in_loading_also_where_the_file_has_none_of_them(tmp_path: Path) -> None:
    SERFeatureExtractor().save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    del settings["clip_normalization"]  # as of a file from before there was such a setting
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    changed = SERFeatureExtractor.from_pretrained(tmp_path, clip_normalization="band", num_mel_bins=64)
    assert (changed.clip_normalization, changed.feature_size) == ("band", 192)
    with pytest.raises(ValueError, match="'clip_normalisation'; 'clip_normalization'"):
        SERFeatureExtractor.from_pretrained(tmp_path, clip_normalisation="band")
    _, unused = SERFeatureExtractor.from_pretrained(tmp_path, spam=1, return_unused_kwargs=True)
    assert unused["spam"] == 1


@pytest.mark.parametrize("kind", [SERFeatureExtractor, DeepSpeechFeatureExtractor])
def test_an_extractor_of_another_kind_is_named(kind: type[WaveformExtractor], tmp_path: Path) -> None:
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"Wav2Vec2FeatureExtractor, not of a {kind.__name__}"):
        kind.from_pretrained(tmp_path)
