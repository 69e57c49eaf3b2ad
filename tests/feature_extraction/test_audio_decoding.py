"""Every kind of source that the decoder takes, and every kind that it refuses."""

import io
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
import torch

from feature_extraction.audio_decoding import (
    SilentClipWarning,
    check_waveform,
    describe_source,
    load_audio,
    to_float,
)
from tests.subprocess_tools import PROJECT_ROOT


def tone(samples: int = 16000, rate: int = 16000) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(samples) / rate)).astype(np.float32)


def encode(samples: np.ndarray, rate: int = 16000, container: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "tone.wav"
    path.write_bytes(encode(tone()))
    return path


def decoder(samples: np.ndarray, rate: int = 16000) -> SimpleNamespace:
    """Stand for the decoder object of a datasets audio column."""
    decoded = SimpleNamespace(data=torch.from_numpy(samples), sample_rate=rate)
    return SimpleNamespace(get_all_samples=lambda: decoded)


class Subscriptable:
    def __getitem__(self, key: str) -> Any:
        return {"array": tone(), "sampling_rate": 16000}[key]


SOURCES: dict[str, Callable[[Path], Any]] = {
    "path": lambda wav: wav,
    "string": str,
    "bytes": lambda wav: wav.read_bytes(),
    "bytearray": lambda wav: bytearray(wav.read_bytes()),
    "file object": lambda wav: io.BytesIO(wav.read_bytes()),
    "open file": lambda wav: wav.open("rb"),
    "array with rate": lambda wav: {"array": tone(), "sampling_rate": 16000},
    "raw with rate": lambda wav: {"raw": tone(), "sampling_rate": 16000},
    "tensor with rate": lambda wav: {"array": torch.from_numpy(tone()), "sampling_rate": 16000},
    "list with rate": lambda wav: {"array": tone().tolist(), "sampling_rate": 16000},
    "datasets bytes": lambda wav: {"path": "gone.wav", "bytes": wav.read_bytes()},
    "datasets path": lambda wav: {"path": str(wav), "bytes": None},
    "datasets array": lambda wav: {"path": "gone.wav", "array": tone(), "sampling_rate": 16000},
    "datasets decoder": lambda wav: decoder(tone()[None]),
    "subscriptable": lambda wav: Subscriptable(),
    "numpy": lambda wav: tone(),
    "torch": lambda wav: torch.from_numpy(tone()),
    "float64": lambda wav: tone().astype(np.float64),
    "bfloat16": lambda wav: torch.from_numpy(tone()).bfloat16(),
    "int16": lambda wav: (tone() * 32768).astype(np.int16),
    "int32": lambda wav: (tone() * 2.0**31).astype(np.int32),
}


@pytest.mark.filterwarnings("ignore:A waveform came without its sampling rate:UserWarning")
@pytest.mark.parametrize("kind", SOURCES)
def test_sources(kind: str, wav: Path) -> None:
    samples = load_audio(SOURCES[kind](wav))
    assert samples.dtype == np.float32
    assert samples.shape == (16000,)
    np.testing.assert_allclose(samples, tone(), atol=4e-3 if kind == "bfloat16" else 1e-4)


FORMATS = (
    *("WAV PCM_16", "WAV PCM_U8", "WAV PCM_24", "WAV FLOAT", "WAVEX PCM_16", "FLAC PCM_16", "OGG VORBIS", "OGG OPUS"),
    *("MP3 MPEG_LAYER_III", "AIFF PCM_16", "AU PCM_16", "CAF PCM_16", "W64 PCM_16", "RF64 PCM_16"),
)


@pytest.mark.parametrize("form", FORMATS)
def test_formats(form: str) -> None:
    samples = load_audio(encode(tone(), 16000, *form.split()))
    assert samples.shape == (16000,)
    middle = slice(2000, 14000)  # lossy codecs need a moment
    assert np.abs(samples[middle] - tone()[middle]).max() < 0.03


def test_eight_channels_at_192_khz() -> None:
    rate, rng = 192_000, np.random.default_rng(0)
    channels = tone(rate, rate)[:, None] + 0.2 * rng.standard_normal((1, 8)).astype(np.float32)
    samples = load_audio(encode(channels, rate, subtype="FLOAT"))
    assert samples.shape == (16000,)
    offset = channels.mean() - tone(rate, rate).mean()
    assert np.abs(samples - tone() - offset)[500:-500].max() < 1e-3


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_resampling_keeps_a_tone_and_removes_what_the_new_rate_cannot_hold(rate: int) -> None:
    high = np.sin(2 * np.pi * 12000 * np.arange(rate) / rate) if rate > 24000 else 0.0
    samples = load_audio({"array": tone(rate, rate) + high, "sampling_rate": rate})
    assert samples.shape == (16000,)
    assert np.abs(samples - tone())[500:-500].max() < 1e-3


@pytest.mark.parametrize("shape", [(2, 400), (400, 2), (1, 400), (8, 400)])
def test_channel_axis_of_arrays(shape: tuple[int, int]) -> None:
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    samples = load_audio({"array": array, "sampling_rate": 16000})
    np.testing.assert_allclose(samples, array.mean(axis=int(np.argmin(shape))), atol=1e-6)


def test_channels_of_a_decoder_come_first_however_few_the_samples() -> None:
    assert load_audio(decoder(np.full((4, 3), 0.25, np.float32))).tolist() == [0.25] * 3


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.uint8, torch.int16])
def test_integers_are_scaled(kind: Any) -> None:
    info = torch.iinfo(kind) if isinstance(kind, torch.dtype) else np.iinfo(kind)
    half = (int(info.max) - int(info.min) + 1) // 2
    values = [info.min, info.min + half, info.min + half * 3 // 2]
    array = torch.tensor(values, dtype=kind) if isinstance(kind, torch.dtype) else np.array(values, kind)
    assert to_float(array, "clip").tolist() == [-1.0, 0.0, 0.5]


WAV = encode(tone())
FLAC = encode(tone(), container="FLAC")
LONG_NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 16000 * 8).astype(np.float32)  # several pages of Ogg
MP3 = encode(LONG_NOISE, container="MP3")
VORBIS = encode(LONG_NOISE, container="OGG", subtype="VORBIS")
OPUS = encode(LONG_NOISE, container="OGG", subtype="OPUS")
DATA = WAV.index(b"data") + 4


@pytest.mark.parametrize("stated", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF])
def test_wav_written_into_a_pipe_states_no_length_and_is_good(stated: int) -> None:
    piped = WAV[:DATA] + stated.to_bytes(4, "little") + WAV[DATA + 4 :]
    np.testing.assert_allclose(load_audio(piped), tone(), atol=1e-4)


BAD_BYTES = {
    "empty": (b"", "empty"),
    "text": (b"this is not a sound\n" * 50, "no audio file"),
    "header only": (WAV[:44], "truncated"),
    "truncated 24 bit": (encode(tone(), subtype="PCM_24")[:20000], "truncated"),
    **{f"truncated {kind}": (encode(tone(), container=kind)[:20000], "truncated")
       for kind in ("WAV", "WAVEX", "AIFF", "AU", "W64", "RF64")},
    **{f"truncated {name}": (content[: len(content) // 2], "truncated")
       for name, content in (("FLAC", FLAC), ("MP3", MP3), ("Vorbis", VORBIS), ("Opus", OPUS))},
    "0 samples": (encode(tone(0)), "0 samples"),
    "NaN": (encode(np.array([0, np.nan], np.float32), subtype="FLOAT"), "NaN or infinite"),
    "FLAC that states 2**36 samples": (FLAC[:21] + bytes([FLAC[21] | 0x0F]) + b"\xff" * 4 + FLAC[26:], "truncated"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_BYTES)
def test_bad_files_are_named(kind: str, tmp_path: Path) -> None:
    content, complaint = BAD_BYTES[kind]
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    for source, name in ((path, "clip.wav"), (content, "bytes"), ({"path": "row.wav", "bytes": content}, "row.wav")):
        with pytest.raises(ValueError, match=complaint) as error:
            load_audio(source)
        assert name in str(error.value)


BAD_SOURCES = {
    "NaN": ({"array": np.array([0.0, np.nan]), "sampling_rate": 16000}, ValueError, "array: 1 of 2 samples is NaN"),
    "inf": ({"array": [0.0, np.inf, -np.inf], "sampling_rate": 8000}, ValueError, "array: 2 of 3 samples are NaN"),
    "0 samples": (np.zeros(0, np.float32), ValueError, "array: holds 0 samples"),
    "2-D array": (np.zeros((2, 100), np.float32), ValueError, "must be 1-D"),
    "0-D array": (np.float32(1.0), ValueError, "must be 1-D"),
    "square array": ({"array": np.zeros((9, 9)), "sampling_rate": 16000}, ValueError, "channels from samples"),
    "2-D without samples": ({"array": np.zeros((2, 0)), "sampling_rate": 16000}, ValueError, "channels from samples"),
    "3-D array": ({"array": np.zeros((1, 2, 400)), "sampling_rate": 16000}, ValueError, "channels from samples"),
    "ragged list": ({"array": [[0.1, 0.2], [0.1]], "sampling_rate": 16000}, ValueError, "ragged"),
    "text array": ({"array": np.array(["a"]), "sampling_rate": 16000}, ValueError, "is no waveform"),
    "complex array": (np.zeros(9, np.complex64), ValueError, "complex64 are no audio"),
    "bool array": (np.zeros(9, bool), ValueError, "bool are no audio"),
    "64-bit integers": (np.zeros(9, np.int64), ValueError, "full scale"),
    "no rate": ({"array": tone()}, ValueError, 'no "sampling_rate"'),
    "rate 0": ({"array": tone(), "sampling_rate": 0}, ValueError, "0 Hz"),
    "rate of one": ({"array": tone(), "sampling_rate": 1}, ValueError, "a sampling rate of 1 Hz is none of a rec"),
    "rate below 0": ({"raw": tone(), "sampling_rate": -16000}, ValueError, "-16000 Hz"),
    "rate NaN": ({"raw": tone(), "sampling_rate": float("nan")}, ValueError, "nan Hz"),
    "rate as text": ({"raw": tone(), "sampling_rate": "16k"}, ValueError, "'16k' Hz"),
    "other dict": ({"audio": b""}, ValueError, r"keys \['audio'\]"),
    "empty dict": ({}, ValueError, "expected"),
    "dict of None": ({"path": None, "bytes": None}, ValueError, "expected"),
    "missing file": ("no/such/clip.wav", FileNotFoundError, "no/such/clip.wav: no such file"),
    "missing file of a row": ({"path": "gone.wav", "bytes": None}, FileNotFoundError, "gone.wav: no such file"),
    "empty path": ("", FileNotFoundError, "empty path"),
    "folder": (Path(__file__).parent, IsADirectoryError, "is a folder"),
    "text file object": (io.StringIO("text"), ValueError, "binary mode"),
    "None": (None, TypeError, "NoneType"),
    "number": (3, TypeError, "int"),
    "a whole data set": (datasets.Dataset.from_dict({"id": ["a"]}), TypeError, r'from a Dataset .*rows\["audio"\]'),
    "list": ([0.1, 0.2], TypeError, "list"),
    "too short": ({"array": [0.5], "sampling_rate": 192000}, ValueError, "too short"),
}


@pytest.mark.parametrize("kind", BAD_SOURCES)
def test_bad_sources_are_named(kind: str) -> None:
    source, error, complaint = BAD_SOURCES[kind]
    with pytest.raises(error, match=complaint):
        load_audio(source)


@pytest.mark.parametrize("rate", [0, -1, float("inf"), None, True])
def test_impossible_target_rates(rate: Any) -> None:
    with pytest.raises(ValueError, match="the sampling rate asked for"):
        load_audio(tone(), rate)


def test_silence_is_decoded_with_a_warning_that_names_the_clip(tmp_path: Path) -> None:
    path = tmp_path / "silent.wav"
    path.write_bytes(encode(np.zeros(800, np.float32)))
    with pytest.warns(SilentClipWarning, match=r"silent\.wav"):
        assert load_audio(path).tolist() == [0.0] * 800
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_waveform(tone(), "tone")


def test_torch_takes_what_is_decoded_of_any_layout() -> None:
    backwards, locked = tone()[::-1], np.frombuffer(tone().tobytes(), np.float32)
    for array in (backwards, locked, tone()[::2]):
        samples = load_audio({"array": array, "sampling_rate": 16000})
        assert samples.flags.c_contiguous and samples.flags.writeable
        assert torch.from_numpy(samples).tolist() == array.tolist()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/b.wav", "a/b.wav"),
        (Path("b.wav"), "b.wav"),
        ("https://host/b.wav?token=secret", "https://host/b.wav"),
        (b"", "bytes"),
        (memoryview(b""), "bytes"),
        (np.zeros(3), "array"),
        (torch.zeros(3), "array"),
        ({"array": [0.0], "sampling_rate": 1}, "array"),
        ({"raw": [0.0], "sampling_rate": 1}, "array"),
        ({"bytes": b"", "path": None}, "bytes"),
        ({"bytes": b"", "path": "b.wav"}, "b.wav"),
        (io.BytesIO(), "file object"),
        (SimpleNamespace(read=bytes, name="b.wav"), "b.wav"),
        (3, "int"),
    ],
)
def test_names_of_sources(source: Any, name: str) -> None:
    assert describe_source(source) == name


def test_import_is_light() -> None:
    heavy = ["librosa", "scipy", "numba", "datasets", "matplotlib", "gradio", "pandas", "sklearn", "torchaudio"]
    code = f"""
import sys, feature_extraction
feature_extraction.load_audio
assert not {{"torch", "transformers"}} & set(sys.modules)
feature_extraction.SERFeatureExtractor
assert not set({heavy}) & set(sys.modules), set({heavy}) & set(sys.modules)
feature_extraction.DeepSpeechForCTC, feature_extraction.DeepSpeechFeatureExtractor
assert not [name for name in sys.modules if name.startswith("feature_extraction.convert")]
assert callable(feature_extraction.convert_deepspeech) and "tflite" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=True, timeout=120)
