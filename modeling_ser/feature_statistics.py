"""Mean and deviation of features, clip by clip: of the training clips, or of a user's own."""

from collections.abc import Iterable

import numpy as np
import torch

# A feature that hardly varies (a silent band) would be blown up by its own deviation.
SMALLEST_STD = 1e-4
# Clips that a model is adapted to, at least; and for how many its former statistics count beside them.
FEWEST_CLIPS = PRIOR_CLIPS = 8
# Answers that clips must be worth, at least, for more than one emotion to be among them; see `answers`.
FEWEST_ANSWERS = 1.5


class FeatureStatistics:
    """Mean and standard deviation of each feature over all frames of the clips that it is given, one by one.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.

    >>> statistics = FeatureStatistics(2)
    >>> statistics.add(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> statistics.mean_and_std()
    (tensor([2., 5.]), tensor([1., 1.]))
    """

    def __init__(self, feature_size: int) -> None:
        self.frames = 0
        self.mean, self.squares = np.zeros(feature_size), np.zeros(feature_size)

    def add(self, clip: np.ndarray) -> None:
        """Add a clip's frames, (frames, features), or (frames × features,)."""
        frames = np.asarray(clip, dtype=np.float64).reshape(-1, len(self.mean))  # (frames, features)
        if len(frames):
            mean = frames.mean(axis=0)
            self._join(len(frames), mean, ((frames - mean) ** 2).sum(axis=0))

    def join(self, other: "FeatureStatistics") -> None:
        """Add the frames that other statistics are of."""
        if other.frames:
            self._join(other.frames, other.mean, other.squares)

    def _join(self, frames: int, mean: np.ndarray, squares: np.ndarray) -> None:
        difference, total = mean - self.mean, self.frames + frames
        between = difference**2 * (self.frames * frames / total)
        self.squares += squares + between
        self.mean += difference * (frames / total)
        self.frames = total

    def row(self) -> np.ndarray:
        """Return the mean and then the deviation of each feature, (2 × features,), as they are."""
        return np.concatenate([self.mean, np.sqrt(self.squares / self.frames)])

    def mean_and_std(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both, (features,), float32; a feature that hardly varies keeps its scale."""
        if not self.frames:
            raise ValueError("There are no frames to estimate statistics from.")
        std = np.sqrt(self.squares / self.frames)
        if not (np.isfinite(self.mean).all() and np.isfinite(std).all()):
            raise ValueError("A feature is not finite.")
        std[std < SMALLEST_STD] = 1.0
        return torch.from_numpy(self.mean).float(), torch.from_numpy(std).float()


def normalization(
    clips: Iterable[FeatureStatistics],
) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """Return what `SERModel.set_normalization` takes, of the statistics of training clips."""
    pooled = rows = FeatureStatistics(0)
    for number, clip in enumerate(clips):
        if not number:
            pooled, rows = FeatureStatistics(len(clip.mean)), FeatureStatistics(2 * len(clip.mean))
        if clip.frames:
            pooled.join(clip)
            rows.add(clip.row())
    return *pooled.mean_and_std(), rows.mean_and_std()


class AdaptationError(ValueError):
    """Clips that a model cannot be adapted to."""


def shrunk(
    mean: torch.Tensor, std: torch.Tensor, former_mean: torch.Tensor, former_std: torch.Tensor, clips: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Average the means and the variances of some clips with former ones, which count as `PRIOR_CLIPS` further clips.

    >>> shrunk(*torch.tensor([[2.0], [1.0], [0.0], [3.0]]), clips=8)
    (tensor([1.]), tensor([2.2361]))
    """
    share = clips / (clips + PRIOR_CLIPS)
    variance = share * std**2 + (1 - share) * former_std**2
    return share * mean + (1 - share) * former_mean, variance.sqrt()


def answers(logits: torch.Tensor) -> float:
    """Count how many different answers a model gives to clips, (clips, labels), in effect: exp(I).

    I is the mutual information of clip and label, the entropy of the mean posterior less the mean entropy: 1 where the
    clips get the same posterior, and K where K labels are found equally often with certainty. That a place or a voice
    favors one label takes little away from it: what differs between clips counts.

    >>> answers(torch.tensor([[9.0, 9.0]] * 4)), round(answers(torch.tensor([[99.0, 0.0], [0.0, 99.0]])), 3)
    (1.0, 2.0)
    """
    posteriors = logits.double().softmax(dim=-1)
    mean = posteriors.mean(dim=0)
    information = torch.special.entr(mean).sum() - torch.special.entr(posteriors).sum(dim=-1).mean()
    return float(information.clamp(min=0).exp())


def check_adaptable(logits: torch.Tensor, several: bool = True) -> None:
    """Refuse clips that are too few, or, by a model's answers (clips, labels) after its temperature, not several."""
    if len(logits) < FEWEST_CLIPS:
        raise AdaptationError(
            f"{len(logits)} clips are too few to adapt to: {FEWEST_CLIPS} are needed at least, of several emotions."
        )
    found = answers(logits)
    if several and found < FEWEST_ANSWERS:
        raise AdaptationError(
            f"These {len(logits)} clips seem to be of one emotion only (the model tells {found:.2f} kinds apart, "
            f"{FEWEST_ANSWERS} are needed): an adaptation to them would remove it. Adapt to clips of several "
            "emotions, or pass check=False (ser predict: --adapt-unchecked) if you know that these are."
        )
