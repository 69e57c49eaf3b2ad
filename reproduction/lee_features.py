"""The 32 frame features of Lee and Tashev (2015), as the feature cache takes them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from feature_extraction.audio_decoding import load_audio

# To be raised whenever the same settings give other features.
LEE_FEATURES_VERSION = 1
LOWEST_PITCH, HIGHEST_PITCH = 60.0, 400.0  # Hz
FLOOR = 1e-10
DELTA_FRAMES = 9
NUM_MFCC = 12
FEATURE_SIZE = 32


class LeeFeatureExtractor:
    """Extractor of F0, voicing, zero crossings, 12 MFCC and log energy, and of the Δ of these 16.

    Source: Lee and Tashev, Interspeech 2015.

    >>> import numpy as np
    >>> LeeFeatureExtractor().extract([np.zeros(1600, np.float32)])["input_features"].shape
    torch.Size([1, 11, 32])
    """

    sampling_rate = 16_000
    win_length = 640
    hop_length = 160
    feature_size = FEATURE_SIZE
    feature_extraction_version = LEE_FEATURES_VERSION

    def load_audio(self, source: Any) -> np.ndarray:
        """Decode a clip: (samples,), float32, mono, at 16 kHz."""
        return load_audio(source, self.sampling_rate)

    def extract(self, waveforms: Sequence[np.ndarray], device: str | None = None) -> dict[str, torch.Tensor]:
        """Compute the features of clips, one after another."""
        clips = [torch.from_numpy(self._features(np.asarray(waveform, np.float64))) for waveform in waveforms]
        features = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True).to(device or "cpu")
        lengths = torch.tensor([len(frames) for frames in clips], device=features.device)
        mask = torch.arange(features.shape[1], device=features.device) < lengths[:, None]  # (clips, frames)
        return {"input_features": features, "attention_mask": mask.long()}

    def to_dict(self) -> dict[str, Any]:
        """Return every setting that the features depend on."""
        return {
            "feature_extractor_type": type(self).__name__,
            "sampling_rate": self.sampling_rate,
            "win_length": self.win_length,
            "hop_length": self.hop_length,
            "pitch": [LOWEST_PITCH, HIGHEST_PITCH],
            "num_mfcc": NUM_MFCC,
            "delta_frames": DELTA_FRAMES,
        }

    def _features(self, waveform: np.ndarray) -> np.ndarray:
        """Compute the features of one clip: (samples,) → (frames, 32), float32."""
        import librosa  # 2 s to import, and of use here alone

        half = self.win_length // 2
        padded = np.pad(waveform, half)  # so that frame m stands at sample 160 m
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.win_length)[:: self.hop_length]
        pitch, voicing = pitch_and_voicing(frames, self.sampling_rate)
        crossings = np.mean(np.signbit(frames[:, 1:]) != np.signbit(frames[:, :-1]), axis=1)  # (frames,)
        energy = np.log(np.mean(np.square(frames), axis=1) + FLOOR)  # (frames,)
        mfcc = librosa.feature.mfcc(
            y=padded,
            sr=self.sampling_rate,
            n_mfcc=NUM_MFCC + 1,
            n_fft=self.win_length,
            hop_length=self.hop_length,
            n_mels=40,
            center=False,
        )[1:].T  # (frames, 12)
        static = np.column_stack([pitch, voicing, crossings, mfcc, energy])  # (frames, 16)
        # mode="nearest" repeats the frames at the ends, and so takes clips of fewer frames than the regression's.
        delta = librosa.feature.delta(static, width=DELTA_FRAMES, axis=0, mode="nearest")
        return np.concatenate([static, delta], axis=1).astype(np.float32)  # (frames, 32)


def pitch_and_voicing(frames: np.ndarray, sampling_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the pitch of frames by their normalized autocorrelation.

    >>> time = np.arange(640) / 16000
    >>> pitch, voicing = pitch_and_voicing(np.sin(2 * np.pi * 123.4 * time)[None], 16000)
    >>> pitch.round(1).tolist(), voicing.round(2).tolist()
    ([123.4], [1.0])
    """
    x = frames - frames.mean(axis=1, keepdims=True)
    length = x.shape[1]
    spectrum = np.fft.rfft(x, 2 * length)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, :length]  # (frames, lags)
    squares = np.concatenate([np.zeros((len(x), 1)), np.cumsum(x**2, axis=1)], axis=1)  # (frames, length + 1)
    lags = np.arange(length)
    head, tail = squares[:, length - lags], squares[:, -1:] - squares[:, lags]
    shortest, longest = int(sampling_rate / HIGHEST_PITCH), int(sampling_rate / LOWEST_PITCH)
    normalized = correlation / np.sqrt(head * tail + FLOOR)
    window = normalized[:, shortest - 1 : longest + 2]  # one more lag on either side, to see peaks at the ends
    middle = window[:, 1:-1]
    peaks = (middle >= window[:, :-2]) & (middle > window[:, 2:])
    heights = np.where(peaks, middle, 0.0)  # (frames, lags from shortest to longest)
    voicing = heights.max(axis=1)
    first = (heights >= 0.9 * voicing[:, None]).argmax(axis=1)  # (frames,)
    rows = np.arange(len(x))
    left, top, right = (window[rows, first + shift] for shift in (0, 1, 2))
    curvature = left - 2 * top + right
    shift = np.where(curvature < 0, 0.5 * (left - right) / np.where(curvature < 0, curvature, -1.0), 0.0)
    pitch = sampling_rate / (shortest + first + shift)
    return np.where(voicing >= 0.5, pitch, 0.0), voicing.clip(0.0, 1.0)


__all__ = ["LeeFeatureExtractor", "pitch_and_voicing"]
