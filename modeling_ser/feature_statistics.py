"""Mean and deviation of features, clip by clip: of the training clips, or of a user's own."""

import numpy as np
import torch

# A feature that hardly varies (a silent band) would be blown up by its own deviation.
SMALLEST_STD = 1e-4


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
        if not len(frames):
            return
        clip_mean = frames.mean(axis=0)
        difference, total = clip_mean - self.mean, self.frames + len(frames)
        between = difference**2 * (self.frames * len(frames) / total)
        self.squares += ((frames - clip_mean) ** 2).sum(axis=0) + between
        self.mean += difference * (len(frames) / total)
        self.frames = total

    def mean_and_std(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both, (features,), float32; a feature that hardly varies keeps its scale."""
        if not self.frames:
            raise ValueError("There are no frames to estimate statistics from.")
        std = np.sqrt(self.squares / self.frames)
        if not (np.isfinite(self.mean).all() and np.isfinite(std).all()):
            raise ValueError("A feature is not finite.")
        std[std < SMALLEST_STD] = 1.0
        return torch.from_numpy(self.mean).float(), torch.from_numpy(std).float()
