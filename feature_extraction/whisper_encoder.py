"""Whisper's encoder, frozen: in windows of 30 s as it was trained, or at each clip's own length."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import torch

from .encoder_layers import encoder_states
from .frozen_encoder import CLIPS_PER_PASS, SpeechEncoder, passes_of_like_length, side_by_side
from .onednn_linear import OneDNNLinear
from .whisper_log_mel import whisper_log_mel

# Frames of a pass, padding included, which bound its memory. On a CPU windows are computed one by one, which takes a
# fifth longer than in batches, but gives every clip the same bits whatever it is computed with: Whisper has states of
# several hundred, and in a batch's other products their rounding alone would be above 1e-5.
FRAMES_PER_PASS = {"cpu": 1, "elsewhere": 12_000}


class WhisperEncoder(SpeechEncoder):
    """Whisper's encoder with every clip filled up to 30 s, and cut to the clip's true frames; longer ones in parts."""

    @property
    def grid(self) -> tuple[int, float]:
        """The second convolution takes every other spectral frame."""
        return 2 * self.extractor.hop_length, 0.0

    @property
    def most(self) -> int:
        """Samples in one reading."""
        return self.model.config.max_source_positions * self.grid[0]

    def encode(self, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the frames of some clips at once, each (frames, size)."""
        parts = [clip.split(self.most) for clip in waveforms]
        inputs = self.extractor(
            [part.cpu().numpy() for clip in parts for part in clip],
            sampling_rate=self.sampling_rate,
            padding="max_length",
            max_length=self.most,
            truncation=True,
            return_tensors="pt",
        )["input_features"].to(waveforms[0].device, self.model.dtype)
        # A clip of ten minutes has twenty parts.
        passes = [encoder_states(self.model, some, None, self.taken)[0] for some in inputs.split(CLIPS_PER_PASS)]
        readings = iter([frames for states in passes for frames in side_by_side(states, None)])
        step, _ = self.grid
        return [torch.cat([next(readings)[: -(-len(part) // step)] for part in clip]) for clip in parts]


class WhisperClipEncoder(WhisperEncoder):
    """Whisper's encoder at each clip's own length: many times faster, and the same alone and in any batch.

    A clip longer than 30 s is read in windows of 30 s from its start, each with a log-mel floor of its own.
    """

    def _passes(self, waveforms: Sequence[torch.Tensor]) -> Iterator[list[int]]:
        """All clips: what is computed together is windows of them."""
        yield list(range(len(waveforms)))

    def encode(self, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the frames of any number of clips, each (frames, size)."""
        device, n_fft, hop_length = waveforms[0].device, self.extractor.n_fft, self.extractor.hop_length
        mel_filters = torch.from_numpy(self.extractor.mel_filters).to(device, torch.float32)
        windows = [clip.split(self.most) for clip in waveforms]
        # A state for every two spectral frames, as `whisper_log_mel` counts them.
        lengths = [[(max(len(window), n_fft) // hop_length + 1) // 2 for window in clip] for clip in windows]
        frames = [torch.empty(sum(counts), self.size, device=device) for counts in lengths]
        # Written where they belong, so that of an hour there is never a second copy.
        places = [place for clip, counts in zip(frames, lengths, strict=True) for place in clip.split(counts)]
        flat = [window for clip in windows for window in clip]
        most = FRAMES_PER_PASS["cpu" if device.type == "cpu" else "elsewhere"]
        with OneDNNLinear() if device.type == "cpu" else nullcontext():
            for chosen in passes_of_like_length([len(place) for place in places], most):
                log_mel, ends = whisper_log_mel([flat[index] for index in chosen], mel_filters, n_fft, hop_length)
                padded = bool((ends < log_mel.shape[2]).any())
                log_mel = log_mel.to(self.model.dtype)
                states, _ = encoder_states(self.model, log_mel, ends if padded else None, self.taken)
                for row, index in enumerate(chosen):
                    torch.cat([layer[row, : len(places[index])] for layer in states], dim=-1, out=places[index])
        return frames
