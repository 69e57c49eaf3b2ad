"""SpecAugment: stretches of time and bands of features that the training must do without."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class SpecAugment:
    """Replaces random stretches of frames, and random runs of features, by the mean of the training clips.

    Source: Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition", Interspeech
        2019; on cepstral coefficients, instead of mel bands, where those are what the model hears.

    >>> _ = torch.manual_seed(0)
    >>> augment = SpecAugment(torch.zeros(4), time_masks=1, time_mask_frames=3, feature_mask_size=0)
    >>> batch = {"input_features": torch.ones(1, 8, 4), "attention_mask": torch.ones(1, 8)}
    >>> augment(batch)["input_features"][0, :, 0].tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0]
    """

    fill: torch.Tensor  # mean of each feature over the training clips, (features,)
    time_masks: int = 2  # stretches of frames to mask in each clip
    time_mask_frames: int = 20  # the most frames of one stretch
    time_mask_share: float = 0.2
    feature_masks: int = 1  # runs of features to mask in each clip, over all of its frames
    feature_mask_size: int = 5  # the most features of one run
    bands: torch.Tensor | None = None

    def __post_init__(self) -> None:
        counts = ("time_masks", "time_mask_frames", "feature_masks", "feature_mask_size")
        negative = next((name for name in counts if getattr(self, name) < 0), None)
        if negative is not None:
            raise ValueError(f"{negative} must be 0 or more, not {getattr(self, negative)}.")
        if not 0 <= self.time_mask_share <= 1:
            raise ValueError(f"time_mask_share must lie in [0, 1], not be {self.time_mask_share}.")
        if self.bands is not None and self.bands.shape != self.fill.shape:
            raise ValueError(f"bands must name a band for each of {len(self.fill)} features, not {len(self.bands)}.")
        if self.feature_masks and self.feature_mask_size >= self.num_bands:
            raise ValueError(f"feature_mask_size must be below {self.num_bands}, all features of a frame.")

    @property
    def num_bands(self) -> int:
        """Number of bands that runs are drawn among."""
        return len(self.fill) if self.bands is None else int(self.bands.max()) + 1

    def __call__(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Mask a batch."""
        features = batch["input_features"]
        lengths = batch["attention_mask"].sum(dim=1).cpu().float()  # (batch,)
        longest = (lengths * self.time_mask_share).clamp(max=self.time_mask_frames)  # (batch,)
        sizes = torch.full_like(lengths, self.num_bands)
        frames = _random_runs(self.time_masks, longest, lengths, features.shape[1])  # (batch, frames)
        runs = _random_runs(
            self.feature_masks, torch.full_like(sizes, self.feature_mask_size), sizes, self.num_bands
        )  # (batch, bands)
        if self.bands is not None:
            runs = torch.nn.functional.pad(runs, (0, 1))[:, self.bands.cpu()]  # (batch, features); -1 is the pad
        masked = (frames[:, :, None] | runs[:, None, :]).to(features.device)  # (batch, frames, features)
        return {**batch, "input_features": torch.where(masked, self.fill.to(features), features)}


def _random_runs(number: int, longest: torch.Tensor, lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Draw runs of up to `longest` places within `lengths`, both (batch,); returns (batch, size), true in a run."""
    # On the CPU whatever the model's device is, so that every device masks alike.
    shape = (len(lengths), number)
    spans = (torch.rand(shape) * (longest[:, None] + 1)).floor().minimum(longest[:, None].floor())  # (batch, number)
    starts = (torch.rand(shape) * (lengths[:, None] - spans + 1)).floor()  # (batch, number)
    places = torch.arange(size)[None, None, :]  # (1, 1, size)
    runs = (places >= starts[:, :, None]) & (places < (starts + spans)[:, :, None])  # (batch, number, size)
    return runs.any(dim=1)


__all__ = ["SpecAugment"]
