"""Log spectrograms of the compared systems, as the feature cache takes them."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers.audio_utils import mel_filter_bank

from feature_extraction.audio_decoding import load_audio

# To be raised whenever the same settings give other features.
SPECTROGRAM_VERSION = 1
FLOOR = 1e-10  # of the power, -100 dB below that of a full-scale constant in one frame's window


class SpectrogramExtractor:
    """Extractor of log power spectrograms, linear or mel, with a Hamming window and without padding at the ends.

    >>> import numpy as np
    >>> extractor = SpectrogramExtractor(win_length=640, hop_length=160, max_frequency=4000.0)
    >>> extractor.extract([np.zeros(16000, np.float32)])["input_features"].shape, extractor.feature_size
    (torch.Size([1, 97, 160]), 160)
    """

    sampling_rate = 16_000
    feature_extraction_version = SPECTROGRAM_VERSION

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
        if not 0 < hop_length <= win_length <= self.n_fft:
            raise ValueError(f"0 < hop {hop_length} <= window {win_length} <= transform {self.n_fft} does not hold.")
        if not 0 < max_frequency <= self.sampling_rate / 2:
            raise ValueError(f"max_frequency must be in (0, {self.sampling_rate / 2:g}] Hz, not {max_frequency}.")
        self.feature_size = num_mel_bins or int(max_frequency * self.n_fft / self.sampling_rate)

    def load_audio(self, source: Any) -> np.ndarray:
        """Decode a clip: (samples,), float32, mono, at 16 kHz."""
        return load_audio(source, self.sampling_rate)

    def extract(self, waveforms: Sequence[np.ndarray], device: str | None = None) -> dict[str, torch.Tensor]:
        """Compute the spectrograms of clips."""
        spectrograms = [self._spectrogram(torch.as_tensor(waveform, device=device)) for waveform in waveforms]
        features = torch.nn.utils.rnn.pad_sequence(spectrograms, batch_first=True)  # (clips, frames, feature_size)
        lengths = torch.tensor([len(frames) for frames in spectrograms], device=features.device)
        mask = torch.arange(features.shape[1], device=features.device) < lengths[:, None]  # (clips, frames)
        return {"input_features": features, "attention_mask": mask.long()}

    def to_dict(self) -> dict[str, Any]:
        """Return every setting that the features depend on."""
        names = ("sampling_rate", "win_length", "hop_length", "n_fft", "max_frequency", "num_mel_bins")
        return {"feature_extractor_type": type(self).__name__, **{name: getattr(self, name) for name in names}}

    def _spectrogram(self, waveform: torch.Tensor) -> torch.Tensor:
        waveform = F.pad(waveform.float(), (0, max(0, self.win_length - len(waveform))))
        frames = waveform.unfold(0, self.win_length, self.hop_length)  # (frames, win_length)
        window = torch.hamming_window(self.win_length, device=frames.device)
        # Divided by the window's sum, a constant of 1 has power 1 whatever the window's length.
        power = torch.fft.rfft(frames * (window / window.sum()), self.n_fft).abs().square()  # (frames, bins)
        power = power[:, : self.feature_size] if self.num_mel_bins is None else power @ self._filters.to(power.device)
        return power.clamp(min=FLOOR).log()

    @cached_property
    def _filters(self) -> torch.Tensor:
        """Triangular mel filters of peak 1, (bins, num_mel_bins)."""
        filters = mel_filter_bank(
            num_frequency_bins=self.n_fft // 2 + 1,
            num_mel_filters=self.num_mel_bins,
            min_frequency=0.0,
            max_frequency=self.max_frequency,
            sampling_rate=self.sampling_rate,
            mel_scale="slaney",
        )
        return torch.from_numpy(filters).float()


__all__ = ["SpectrogramExtractor"]
