"""DeepSpeech's two front ends: waveforms → mel-frequency cepstral coefficients, 50 frames a second.

Release 0.4 takes its features from the package `python_speech_features`, releases 0.5 to 0.9 (and Coqui STT) from two
TensorFlow kernels. Both give 26 numbers per frame, and nothing else is alike. A model understands only those that it
was trained on.

Everything is computed in float64: in float32 the coefficients are off by up to 9e-5, which is more than all the rest.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from math import ceil

import numpy as np
import torch

RATES, LENGTHS = 384_000, 1 << 15  # the largest that have sense
FRAMES_PER_PIECE = 1024  # bounds the memory of long clips: 4 MB of samples in float64
INT16_SCALE = 32768.0
PRE_EMPHASIS = 0.97
LIFTER = 22
# What an energy of exactly zero counts as: float64's epsilon in python_speech_features, float32's smallest normal
# number in the native client's C library.
FLOORS = {"training": float(np.finfo(np.float64).eps), "native": float(np.finfo(np.float32).tiny)}
FRAMINGS = ("training", "native")


@dataclass(frozen=True)
class FrontEnd(ABC):
    """What both front ends share: frames are cut, transformed and padded into a batch."""

    sampling_rate: int = 16_000  # of the waveforms, in Hz
    win_length: int = 512  # length of a frame, in samples
    hop_length: int = 320  # step between frames, in samples
    num_coefficients: int = 26  # coefficients of a frame
    framing: str = "training"

    def __post_init__(self) -> None:
        for setting in fields(self):
            value, most = getattr(self, setting.name), RATES if setting.name == "sampling_rate" else LENGTHS
            if setting.type is int and (type(value) is not int or not 1 <= value <= most):
                raise ValueError(f"{setting.name}={value!r}: must be a whole number from 1 to {most}.")
        if self.hop_length > self.win_length:
            raise ValueError(
                f"hop_length={self.hop_length}: longer than win_length={self.win_length}, samples are lost."
            )
        if self.framing not in FRAMINGS:
            raise ValueError(f"framing={self.framing!r}: choose one of {', '.join(map(repr, FRAMINGS))}.")

    @property
    def fft_length(self) -> int:
        """Length of the Fourier transform: the next power of two from the window's length on."""
        return 1 << (self.win_length - 1).bit_length()

    @abstractmethod
    def num_frames(self, num_samples: int) -> int:
        """Return how many frames a clip of so many samples has."""

    @abstractmethod
    def tape(self, samples: torch.Tensor, previous: torch.Tensor | None = None) -> torch.Tensor:
        """Turn samples into what frames are cut from."""

    @abstractmethod
    def _matrices(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute window (win_length,), filters (bins, channels), cosine transform (channels, num_coefficients)."""

    @abstractmethod
    def _transform(self, frames: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
        """Turn frames of the tape, (frames, win_length), into coefficients, (frames, num_coefficients)."""

    @torch.no_grad()
    def coefficients(self, tape: torch.Tensor, frames: int) -> torch.Tensor:
        """Compute the first frames of a tape, which counts as zero after its end."""
        output = tape.new_empty(frames, self.num_coefficients)
        if frames == 0:
            return output
        missing = (frames - 1) * self.hop_length + self.win_length - len(tape)
        if missing > 0:
            tape = torch.nn.functional.pad(tape, (0, missing))
        cut = tape.unfold(0, self.win_length, self.hop_length)[:frames]  # (frames, win_length), a view
        matrices = _matrices_on(tape.device, self)
        with torch.autocast(tape.device.type, enabled=False):
            for start in range(0, frames, FRAMES_PER_PIECE):
                piece = slice(start, start + FRAMES_PER_PIECE)
                output[piece] = self._transform(cut[piece], matrices)
        return output

    @torch.no_grad()
    def __call__(self, waveforms: Sequence[torch.Tensor]) -> tuple[torch.Tensor, list[int]]:
        """Compute the coefficients of clips of any length."""
        lengths = [self.num_frames(len(waveform)) for waveform in waveforms]
        device = waveforms[0].device
        # Apple's GPUs know no float64.
        computed_on = torch.device("cpu") if device.type == "mps" else device
        features = torch.zeros(len(lengths), max(lengths), self.num_coefficients, device=computed_on)
        for row, waveform, length in zip(features, waveforms, lengths, strict=True):
            row[:length] = self.coefficients(self.tape(waveform.to(computed_on)), length)
        return features.to(device), lengths


@dataclass(frozen=True)
class SpeechFeaturesMFCC(FrontEnd):
    """The features of DeepSpeech 0.4: `mfcc` of the package python_speech_features.

    Source: mozilla/DeepSpeech v0.4.1, `util/audio.py`; python_speech_features 0.6; `native_client/deepspeech.cc`.
    """

    NUM_FILTERS = 26

    floor: str = "training"  # what energies of exactly zero count as: "training" (2.2e-16) or "native" (1.2e-38)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.floor not in FLOORS:
            raise ValueError(f"floor={self.floor!r}: choose one of {', '.join(map(repr, FLOORS))}.")
        if self.num_coefficients > self.NUM_FILTERS:
            raise ValueError(
                f"num_coefficients={self.num_coefficients}: at most {self.NUM_FILTERS}, as many as there are filters."
            )

    def num_frames(self, num_samples: int) -> int:
        """Return how many frames a clip of so many samples has; at least one."""
        beyond = num_samples - self.win_length
        if self.framing == "native":
            return 1 if beyond < 0 else beyond // self.hop_length + 2
        return 1 + max(0, ceil(beyond / self.hop_length))

    def tape(self, samples: torch.Tensor, previous: torch.Tensor | None = None) -> torch.Tensor:
        """Scale and pre-emphasize samples: y[t] = x[t] - 0.97 x[t-1]; see `FrontEnd.tape`."""
        scaled = samples.double() * INT16_SCALE
        before = scaled.new_zeros(1) if previous is None else previous.double() * INT16_SCALE
        return scaled - PRE_EMPHASIS * torch.cat((before, scaled[:-1]))

    def _matrices(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        num_filters = self.NUM_FILTERS
        mels = np.linspace(0.0, 2595.0 * np.log10(1.0 + self.sampling_rate / 2 / 700.0), num_filters + 2)
        bins = (self.fft_length + 1) * 700.0 * (10.0 ** (mels / 2595.0) - 1.0) / self.sampling_rate
        edges = np.floor(bins).astype(int)
        filters = np.zeros((self.fft_length // 2 + 1, num_filters))
        for index, (low, center, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
            rising, falling = np.arange(low, center), np.arange(center, high)
            filters[rising, index] = (rising - low) / (center - low)
            filters[falling, index] = (high - falling) / (high - center)
        k, j = np.arange(self.num_coefficients), np.arange(num_filters)
        cosines = np.sqrt(2.0 / num_filters) * np.cos(np.pi * np.outer(2 * j + 1, k) / (2 * num_filters))
        cosines[:, 0] *= np.sqrt(0.5)
        cosines *= 1.0 + LIFTER / 2 * np.sin(np.pi * k / LIFTER)
        return np.hamming(self.win_length), filters, cosines

    def _transform(self, frames: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
        window, filters, cosines = matrices
        powers = _powers(frames * window, self.fft_length) / self.fft_length  # (frames, bins)
        energy, mels = powers.sum(dim=1), powers @ filters  # (frames,), (frames, 26)
        floor = FLOORS[self.floor]
        # Only what is exactly zero is replaced: smaller energies than the floor stay as they are.
        coefficients = torch.where(mels == 0, floor, mels).log() @ cosines  # (frames, num_coefficients)
        coefficients[:, 0] = torch.where(energy == 0, floor, energy).log()
        return coefficients


@dataclass(frozen=True)
class TensorFlowMFCC(FrontEnd):
    """The features of DeepSpeech 0.5 to 0.9: TensorFlow's `AudioSpectrogram` and `Mfcc` kernels.

    Source: mozilla/DeepSpeech v0.9.3, `util/feeding.py`; TensorFlow `core/kernels/spectrogram.cc`, `mfcc.cc`,
        `mfcc_mel_filterbank.cc`, `mfcc_dct.cc`.
    """

    FLOOR = 1e-12

    lower_frequency: float = 20.0  # lower end of the lowest channel, in Hz
    upper_frequency: float | None = None
    num_mel_bins: int = 40  # number of channels

    def __post_init__(self) -> None:
        super().__post_init__()
        nyquist = self.sampling_rate / 2
        if self.upper_frequency is None:
            object.__setattr__(self, "upper_frequency", nyquist)
        if not 0 <= self.lower_frequency < self.upper_frequency <= nyquist:
            raise ValueError(
                f"lower_frequency={self.lower_frequency} and upper_frequency={self.upper_frequency}: they must ascend "
                f"between 0 and half the sampling rate, {nyquist:g} Hz."
            )
        if self.num_coefficients > self.num_mel_bins:
            raise ValueError(
                f"num_coefficients={self.num_coefficients}: at most num_mel_bins={self.num_mel_bins} of them exist."
            )

    def num_frames(self, num_samples: int) -> int:
        """Return how many frames a clip of so many samples has; none, as in training, if it is shorter than one."""
        whole = max(0, (num_samples - self.win_length) // self.hop_length + 1)
        return whole + 1 if self.framing == "native" else whole

    def tape(self, samples: torch.Tensor, previous: torch.Tensor | None = None) -> torch.Tensor:
        """Return the samples as they are, in float64; see `FrontEnd.tape`."""
        return samples.double()

    def _matrices(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        num_bins, channels = self.fft_length // 2 + 1, self.num_mel_bins
        lowest, highest = _mel(self.lower_frequency), _mel(self.upper_frequency)
        # Centers 0 .. channels - 1 are the channels'; before them comes the lower end, after them the upper.
        centers = lowest + (highest - lowest) / (channels + 1) * np.arange(channels + 2)
        hz_per_bin = self.sampling_rate / 2 / (num_bins - 1)
        # The first bin is rounded to the nearest one, and never the constant part.
        first, last = int(1.5 + self.lower_frequency / hz_per_bin), int(self.upper_frequency / hz_per_bin)
        filters = np.zeros((num_bins, channels + 2))
        for index in range(first, min(last, num_bins - 1) + 1):
            mel = _mel(index * hz_per_bin)
            # Each bin is shared, linearly in mel, by the two centers between which it lies.
            above = min(int(np.searchsorted(centers[1:], mel, side="left")) + 1, channels + 1)
            share = (centers[above] - mel) / (centers[above] - centers[above - 1])
            filters[index, above - 1] += share
            filters[index, above] += 1.0 - share
        k, j = np.arange(self.num_coefficients), np.arange(channels)
        cosines = np.sqrt(2.0 / channels) * np.cos(np.pi / channels * np.outer(j + 0.5, k))
        window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(self.win_length) / self.win_length)
        return window, filters[:, 1:-1].copy(), cosines

    def _transform(self, frames: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
        window, filters, cosines = matrices
        amplitudes = _powers(frames * window, self.fft_length).sqrt_()  # (frames, bins)
        return (amplitudes @ filters).clamp_(min=self.FLOOR).log_() @ cosines  # (frames, num_coefficients)


def _powers(frames: torch.Tensor, fft_length: int) -> torch.Tensor:
    parts = torch.view_as_real(torch.fft.rfft(frames, n=fft_length)).square_()  # (frames, bins, 2)
    return parts[..., 0] + parts[..., 1]


@lru_cache(maxsize=8)
def _matrices_on(device: torch.device, front_end: FrontEnd) -> list[torch.Tensor]:
    return [torch.from_numpy(matrix).to(device) for matrix in front_end._matrices()]


def _mel(hz: float) -> float:
    return 1127.0 * np.log1p(hz / 700.0)
