"""Features of the compared networks, as the feature cache takes them: frames of a clip at 16 kHz."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers.audio_utils import mel_filter_bank

from feature_extraction.audio_decoding import load_audio

FLOOR = 1e-10  # of the power, -100 dB below that of a full-scale constant in one frame's window


class FrameExtractor(ABC):
    """What the extractors of the compared networks share."""

    sampling_rate = 16_000
    # To be raised whenever the same settings give other features.
    feature_extraction_version = 1
    win_length: int
    hop_length: int
    feature_size: int

    @abstractmethod
    def frames(self, waveform: torch.Tensor) -> torch.Tensor:
        """Compute the features of one clip: (samples,) → (frames, feature_size), float32."""

    def to_dict(self) -> dict[str, Any]:
        """Return every setting that the features depend on; an extractor adds those that are its own."""
        names = ("sampling_rate", "win_length", "hop_length")
        return {"feature_extractor_type": type(self).__name__, **{name: getattr(self, name) for name in names}}

    def load_audio(self, source: Any) -> np.ndarray:
        """Decode a clip: (samples,), float32, mono, at 16 kHz."""
        return load_audio(source, self.sampling_rate)

    def extract(self, waveforms: Sequence[np.ndarray], device: str | None = None) -> dict[str, torch.Tensor]:
        """Compute the features of clips, one after another, and pad them."""
        clips = [self.frames(torch.as_tensor(waveform, device=device)) for waveform in waveforms]
        features = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)  # (clips, frames, feature_size)
        lengths = torch.tensor([len(frames) for frames in clips], device=features.device)
        mask = torch.arange(features.shape[1], device=features.device) < lengths[:, None]  # (clips, frames)
        return {"input_features": features, "attention_mask": mask.long()}


class SpectrogramExtractor(FrameExtractor):
    """Extractor of log power spectrograms, linear or mel, with a Hamming window and without padding at the ends."""

    def __init__(
        self,
        win_length: int,
        hop_length: int,
        max_frequency: float,
        num_mel_bins: int | None = None,
        n_fft: int | None = None,
    ) -> None:
        self.win_length, self.hop_length, self.max_frequency = win_length, hop_length, max_frequency
        self.num_mel_bins, self.n_fft = num_mel_bins, n_fft or win_length
        self.feature_size = num_mel_bins or int(max_frequency * self.n_fft / self.sampling_rate)

    def to_dict(self) -> dict[str, Any]:
        """Return every setting that the features depend on."""
        own = {"n_fft": self.n_fft, "max_frequency": self.max_frequency, "num_mel_bins": self.num_mel_bins}
        return super().to_dict() | own

    def frames(self, waveform: torch.Tensor) -> torch.Tensor:
        """Compute the spectrogram of one clip; one shorter than a window is padded with zeros to it."""
        waveform = F.pad(waveform.float(), (0, max(0, self.win_length - len(waveform))))
        frames = waveform.unfold(0, self.win_length, self.hop_length)  # (frames, win_length)
        window = torch.hamming_window(self.win_length, device=frames.device)
        # Divided by the window's sum, a constant of 1 has power 1 whatever the window's length.
        power = torch.fft.rfft(frames * (window / window.sum()), self.n_fft).abs().square()  # (frames, bins)
        power = power[:, : self.feature_size] if self.num_mel_bins is None else power @ self.filters.to(power.device)
        return power.clamp(min=FLOOR).log()

    @cached_property
    def filters(self) -> torch.Tensor:
        """Triangular mel filters of peak 1, (bins, num_mel_bins)."""
        bins = self.n_fft // 2 + 1
        filters = mel_filter_bank(
            bins, self.num_mel_bins, 0.0, self.max_frequency, self.sampling_rate, mel_scale="slaney"
        )
        return torch.from_numpy(filters).float()
