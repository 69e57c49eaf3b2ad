"""What an encoder that belongs to the model reads: Whisper's log-mel energies, or a waveform."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoFeatureExtractor, WhisperFeatureExtractor

from .whisper_log_mel import whisper_log_mel

SAMPLING_RATE = 16_000
HOP_LENGTH = 160  # of Whisper's log-mel energies


class EncoderInput:
    """A stream without a network of its own: the input of the model's.

    Args:
        entry: The entry of the stream: `{"input": "log-mel", "size": mel bins, "window": samples}`, whose longer clips
            are cut into windows as Whisper reads them, or `{"input": "waveform", "size": 1, "normalize": bool,
            "shortest": samples}`, whose shorter clips are filled up with zeros.
        sampling_rate: Of the waveforms, in Hz.

    Raises:
        ValueError: If the rate is not the encoders'.
    """

    def __init__(self, entry: Mapping[str, Any], sampling_rate: int) -> None:
        if sampling_rate != SAMPLING_RATE:
            raise ValueError(f"Encoders of transformers work at {SAMPLING_RATE} Hz, not at {sampling_rate} Hz.")
        self.entry = dict(entry)
        if entry["input"] == "log-mel":
            self.mel_filters = torch.from_numpy(
                WhisperFeatureExtractor(feature_size=entry["size"]).mel_filters
            ).float()

    def centers(self, frames: int, device: torch.device) -> torch.Tensor:
        """Return the sample that each of so many frames stands at, (frames,).

        That of a waveform's samples is the center of what the encoder's frame that begins there sees.
        """
        log_mel = self.entry["input"] == "log-mel"
        first = 0.0 if log_mel else (self.entry["shortest"] - 1) / 2
        return torch.arange(frames, device=device) * float(HOP_LENGTH if log_mel else 1) + first

    @torch.no_grad()
    def __call__(self, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the input of clips, each (frames, size)."""
        read = self._log_mel if self.entry["input"] == "log-mel" else self._samples
        return [read(waveform) for waveform in waveforms]

    def _log_mel(self, waveform: torch.Tensor) -> torch.Tensor:
        """Log-mel energies of a clip, window by window, (frames, bins)."""
        frames = []
        for window in waveform.split(self.entry["window"]):
            energies, _ = whisper_log_mel([window], self.mel_filters.to(window.device))  # (1, bins, frames)
            frames.append(energies[0].T)
        return torch.cat(frames)

    def _samples(self, waveform: torch.Tensor) -> torch.Tensor:
        """Samples of a clip, (samples, 1)."""
        if missing := max(0, self.entry["shortest"] - len(waveform)):
            waveform = torch.nn.functional.pad(waveform, (0, missing))
        if self.entry["normalize"]:
            waveform = (waveform - waveform.mean()) / (waveform.var(correction=0) + 1e-7).sqrt()
        return waveform[:, None]


def input_entry(name_or_path: str, **hub: Any) -> dict[str, Any]:
    """Return the entry of a stream that is the input of an encoder.

    Args:
        name_or_path: The encoder's folder, or its id on the Hub.
        hub: `revision`, `token` and so on.

    Returns:
        The entry, as `EncoderInput` takes it.
    """
    config = AutoConfig.from_pretrained(name_or_path, **hub)
    settings = AutoFeatureExtractor.from_pretrained(name_or_path, **hub)
    if config.model_type == "whisper":
        window = 2 * settings.hop_length * config.max_source_positions
        return {"input": "log-mel", "size": config.num_mel_bins, "window": window}
    seen, step = 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        seen += (kernel - 1) * step
        step *= stride
    return {"input": "waveform", "size": 1, "normalize": bool(settings.do_normalize), "shortest": seen}
