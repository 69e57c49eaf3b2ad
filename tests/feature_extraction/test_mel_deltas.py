"""Log-mel energies and deltas against librosa, alone and in ragged batches."""

import os
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch

from feature_extraction.mel_deltas import _mel_weights, deltas, log_mel, log_mel_deltas
from tests.feature_extraction.small_encoders import noise

# librosa remarks on clips shorter than its transform
pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large for input signal:UserWarning")

LENGTHS = [1, 2, 199, 200, 201, 399, 400, 401, 599, 600, 601, 799, 2047, 2048, 2049, 6399, 6400, 16000, 51234]
NORMALIZATIONS: list[dict[str, Any]] = [
    {"dynamic_range": 30.0},
    {"clip_normalization": "level"},
    {"dynamic_range": 30.0, "clip_normalization": "band"},
]


def librosa_log_mel(
    waveform: np.ndarray, dynamic_range: float | None = None, clip_normalization: str = "none", **settings: int
) -> np.ndarray:
    settings = {"sr": 16000, "n_fft": 2048, "hop_length": 400, "win_length": 400, "n_mels": 128, **settings}
    powers = librosa.feature.melspectrogram(y=waveform, **settings)
    energies = librosa.power_to_db(powers, ref=1, amin=1e-10, top_db=dynamic_range).T  # (frames, mels)
    axes = {"none": (), "level": None, "band": 0}[clip_normalization]
    return energies - energies.mean(axis=axes, keepdims=True) if axes != () else energies


def librosa_deltas(energies: np.ndarray) -> np.ndarray:
    orders = [librosa.feature.delta(energies, width=9, order=order, mode="nearest", axis=0) for order in (1, 2)]
    return np.concatenate(orders, axis=1)  # (frames, 2 * mels)


def assert_agrees(features: np.ndarray, waveform: np.ndarray, **settings: Any) -> None:
    """The promise: 1e-3 dB within 60 dB of the clip's loudest bin, 0.05 dB everywhere, 1e-4 for the deltas."""
    expected = librosa_log_mel(waveform, **settings)
    mels = expected.shape[1]
    assert features.shape == (1 + len(waveform) // settings.get("hop_length", 400), 3 * mels)
    error = np.abs(features[:, :mels] - expected)
    assert error[expected > expected.max() - 60].max() < 1e-3
    assert error.max() < 0.05
    np.testing.assert_allclose(features[:, mels:], librosa_deltas(features[:, :mels]), atol=1e-4)


def vowel(samples: int, pitch: float = 120.0) -> np.ndarray:
    """A decaying harmonic series on faint noise: 60 dB and more between its bins."""
    time = np.arange(samples) / 16000
    tones = sum(np.sin(2 * np.pi * pitch * n * time) / n**2 for n in range(1, 40))
    swell = np.sin(np.pi * np.arange(samples) / samples)
    return (0.3 * swell * tones).astype(np.float32) + 1e-4 * noise(samples)


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("win_length", [400, 2048])
def test_agrees_with_librosa_at_any_length(samples: int, win_length: int) -> None:
    waveform = noise(samples)
    features, lengths = log_mel_deltas([torch.from_numpy(waveform)], win_length=win_length)
    assert lengths == [1 + samples // 400]
    assert_agrees(features[0].numpy(), waveform, win_length=win_length)


@pytest.mark.parametrize(
    "settings",
    [
        {"hop_length": 160},
        {"hop_length": 512, "win_length": 400},
        {"hop_length": 400, "win_length": 401},
        {"n_fft": 512, "win_length": 400, "n_mels": 40},
        {"n_fft": 1024, "win_length": 640, "hop_length": 320, "n_mels": 80},
        {"n_fft": 4096, "win_length": 255, "hop_length": 100, "n_mels": 64},
        {"sr": 8000, "n_fft": 1024, "win_length": 200, "hop_length": 80, "n_mels": 40},
        *NORMALIZATIONS,
    ],
)
def test_agrees_with_librosa_at_other_settings(settings: dict[str, Any]) -> None:
    names = {"sr": "sampling_rate", "n_mels": "num_mel_bins"}
    ours = {names.get(name, name): value for name, value in settings.items()}
    for waveform in (noise(20011) * np.linspace(0.01, 1, 20011, dtype=np.float32), vowel(16000)):
        features, _ = log_mel_deltas([torch.from_numpy(waveform)], **ours)
        assert_agrees(features[0].numpy(), waveform, **settings)


def test_agrees_with_librosa_on_pure_tones() -> None:
    for frequency in (60.0, 440.0, 3000.3, 7990.0):
        waveform = (0.9 * np.sin(2 * np.pi * frequency * np.arange(16000) / 16000)).astype(np.float32)
        expected = librosa_log_mel(waveform)
        error = np.abs(log_mel([torch.from_numpy(waveform)])[0].numpy() - expected)
        assert error[expected > expected.max() - 60].max() < 1e-3


def test_agrees_with_librosa_on_speech() -> None:
    folder = os.environ.get("SER_DATA_DIR")
    clips = sorted(Path(folder, "ravdess").glob("Actor_*/*.*"))[::14][:100] if folder else []
    if len(clips) < 100:
        pytest.skip("needs 100 clips of RAVDESS in $SER_DATA_DIR/ravdess")
    from feature_extraction import load_audio

    for clip in clips:
        waveform = load_audio(clip)
        features, _ = log_mel_deltas([torch.from_numpy(waveform)])
        assert_agrees(features[0].numpy(), waveform)


@pytest.mark.parametrize("settings", [{}, {"win_length": 2048}, {"hop_length": 512}, *NORMALIZATIONS])
def test_a_clip_has_the_same_features_alone_and_in_any_batch(settings: dict[str, Any]) -> None:
    clips = [torch.from_numpy(noise(samples, seed)) for seed, samples in enumerate([*LENGTHS, 130000])]
    together, lengths = log_mel_deltas(clips, **settings)
    for clip, row, length in zip(clips, together, lengths, strict=True):
        alone, (same_length,) = log_mel_deltas([clip], **settings)
        assert same_length == length
        # one unit in the last place of 100 dB is 8e-6
        torch.testing.assert_close(row[:length], alone[0], atol=2e-5, rtol=0)
        assert not row[length:].any()


def test_neighbours_on_the_tape_do_not_leak() -> None:
    quiet, loud = torch.zeros(1000), torch.ones(1000)
    first, _, last = log_mel([quiet, loud, quiet])
    assert first.unique().tolist() == last.unique().tolist() == [-100.0]


@pytest.mark.parametrize("threads", [1, 2])
def test_long_batches_are_worked_off_in_pieces(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        waveform = noise(16000 * 31)
        assert_agrees(log_mel_deltas([torch.from_numpy(waveform)])[0][0].numpy(), waveform)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 100])
def test_deltas_equal_librosa_from_one_frame_on(frames: int) -> None:
    energies = (20 * np.random.default_rng(frames).standard_normal((frames, 7)) - 40).astype(np.float32)
    np.testing.assert_allclose(deltas(torch.from_numpy(energies)), librosa_deltas(energies), atol=1e-4)


def test_neither_half_precision_nor_gradients_reach_the_features() -> None:
    clips = [torch.from_numpy(noise(9000)).requires_grad_()]
    expected, _ = log_mel_deltas(clips)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features, _ = log_mel_deltas(clips)
    assert torch.equal(features, expected) and not features.requires_grad


@pytest.mark.parametrize(
    ("n_fft", "win_length", "transform"), [(2048, 400, 1024), (2048, 2048, 2048), (512, 200, 512)]
)
def test_the_shorter_transform_gives_the_same_energies(n_fft: int, win_length: int, transform: int) -> None:
    length, weights = _mel_weights(16000, n_fft, win_length, 40)
    assert length == transform
    frames = np.random.default_rng(0).standard_normal((20, win_length))
    filters = librosa.filters.mel(sr=16000, n_fft=n_fft, n_mels=40, dtype=np.float64).T
    expected = np.abs(np.fft.rfft(frames, n=n_fft)) ** 2 @ filters
    np.testing.assert_allclose(np.abs(np.fft.rfft(frames, n=length)) ** 2 @ weights, expected, rtol=1e-9)
