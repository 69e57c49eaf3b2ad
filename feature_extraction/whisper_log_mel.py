"""Whisper's log-mel energies of clips at their own lengths."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

DYNAMIC_RANGE = 8.0  # in powers of ten below each clip's loudest energy; what is fainter is raised to that
FAINTEST = 1e-10


def whisper_log_mel(
    waveforms: Sequence[torch.Tensor], mel_filters: torch.Tensor, n_fft: int = 400, hop_length: int = 160
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the log-mel energies that transformers' `WhisperFeatureExtractor` gives for each clip without padding.

    Args:
        waveforms: Clips (samples,) of one device; one shorter than `n_fft` is filled up with zeros to it, our choice.
        mel_filters: (n_fft / 2 + 1, bins).
        n_fft: Length of the transform and of its Hann window, in samples.
        hop_length: Step between frames, in samples.

    Returns:
        Energies (clips, bins, frames), 0 after a clip's end, and the clips' numbers of frames, (clips,), which are
        their samples by `hop_length`, rounded down.
    """
    device = waveforms[0].device
    waveforms = [F.pad(clip, (0, max(0, n_fft - len(clip)))) for clip in waveforms]
    lengths = torch.tensor([len(clip) // hop_length for clip in waveforms], device=device)
    edges = (n_fft // 2, n_fft // 2)
    batch = pad_sequence([F.pad(clip[None], edges, mode="reflect")[0] for clip in waveforms], batch_first=True)
    most = max(len(clip) for clip in waveforms) // hop_length
    windows = batch.unfold(1, n_fft, hop_length)[:, :most]  # (clips, frames, n_fft)
    spectrum = torch.fft.rfft(windows * torch.hann_window(n_fft, device=device))  # (clips, frames, n_fft / 2 + 1)
    power = spectrum.real.square() + spectrum.imag.square()
    energies = (power @ mel_filters).clamp(min=FAINTEST).log10()  # (clips, frames, bins)
    beyond = (torch.arange(most, device=device) >= lengths[:, None])[..., None]  # (clips, frames, 1)
    loudest = energies.masked_fill(beyond, -torch.inf).amax(dim=(1, 2), keepdim=True)  # (clips, 1, 1)
    energies = (torch.maximum(energies, loudest - DYNAMIC_RANGE) + 4) / 4
    return energies.masked_fill(beyond, 0).transpose(1, 2), lengths
