"""SpecAugment: stretches of time and bands of features that the training must do without."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class SpecAugment:
    """Replaces random stretches of frames, and random runs of features, by the mean of the training clips.

    The masks are drawn from torch's global generator, which the trainer seeds before every step. Each mask is as long
    as chance says, from nothing to the most allowed, and lies where chance says. There is no time warping.

    Args:
        fill: Mean of each feature over the training clips, (features,).
        time_masks: Stretches of frames to mask in each clip.
        time_mask_frames: The most frames of one stretch.
        time_mask_share: The most that one stretch may take of its clip, in [0, 1], so that short clips keep something.
        feature_masks: Runs of features to mask in each clip, over all of its frames.
        feature_mask_size: The most features of one run.
        bands: Band of each feature, (features,), -1 for one that has none and is never masked. Runs are then drawn
            among the bands, and all features of a masked band are masked: a mel band is lost with its Δ and ΔΔ, which
            would otherwise give it away. `None`: every feature is a band of its own.

    Raises:
        ValueError: If a number is negative, a share beyond 1, a run as long as all bands, or `bands` of another size.

    Source: Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition", Interspeech
    2019; on cepstral coefficients, instead of mel bands, where those are what the model hears.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> augment = SpecAugment(torch.zeros(4), time_masks=1, time_mask_frames=3, feature_mask_size=0)
        >>> batch = {"input_features": torch.ones(1, 8, 4), "attention_mask": torch.ones(1, 8)}
        >>> augment(batch)["input_features"][0, :, 0].tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0]
    """

    fill: torch.Tensor
    time_masks: int = 2
    time_mask_frames: int = 20
    time_mask_share: float = 0.2
    feature_masks: int = 1
    feature_mask_size: int = 5
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
        """Mask a batch.

        Args:
            batch: `input_features`, (batch, frames, features), and `attention_mask`, (batch, frames), 1 for real
                frames and then 0; anything else is passed on.

        Returns:
            A new batch; what lies beyond a clip's end in `input_features` means nothing.
        """
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
