"""The same words a little faster or slower, louder or quieter."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from .augmentation_stretching import stretch_frames


@dataclass(frozen=True)
class Perturbation:
    """Changes each training clip's tempo and loudness by chance, in its coefficients, so that they can stay cached.

    Source: Ko et al., "Audio augmentation for speech recognition", Interspeech 2015.

    >>> _ = torch.manual_seed(0)
    >>> batch = {
    ...     "input_features": torch.randn(2, 100, 26),
    ...     "attention_mask": torch.ones(2, 100),
    ...     "labels": torch.tensor([[1], [2]]),
    ... }
    >>> Perturbation(tempo=0.1)(batch)["attention_mask"].sum(dim=1)
    tensor([ 97, 110])
    """

    tempo: float = 0.1  # largest change of a clip's length, as a part of it, in [0, 1)
    gain: float = 6.0  # largest change of its level, in dB

    def __post_init__(self) -> None:
        if not 0 <= self.tempo < 1:
            raise ValueError(f"tempo must lie in [0, 1), not be {self.tempo}.")
        if not 0 <= self.gain < float("inf"):
            raise ValueError(f"gain must be 0 dB or more and finite, not {self.gain}.")

    def __call__(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Change a batch."""
        features, labels = batch["input_features"], batch["labels"]
        lengths = batch["attention_mask"].sum(dim=1).long()  # (batch,)
        # On the CPU whatever the model's device is, so that every device changes alike.
        tempos, gains = (2 * torch.rand(2, len(lengths)) - 1).to(features.device)
        stretched = (lengths * (1 + self.tempo * tempos)).round().long()  # (batch,)
        enough = stretched > 2 * (labels >= 0).sum(dim=1)  # every letter and a blank beside it
        changed, mask = stretch_frames(features, lengths, torch.where(enough, stretched, lengths))
        decibels = self.gain * gains  # (batch,)
        changed[..., 0] += (decibels * (torch.log(torch.tensor(10.0)) / 10).item()).to(features)[:, None] * mask
        return {**batch, "input_features": changed, "attention_mask": mask}


__all__ = ["Perturbation"]
