"""Mean and deviation of each feature, from training clips only."""

from collections.abc import Iterable

import numpy as np
import torch

# A feature that hardly varies (a silent band) would be blown up by its own deviation.
SMALLEST_STD = 1e-4


def feature_statistics(clips: Iterable[np.ndarray], feature_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimate the mean and standard deviation of each feature over all frames.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.

    >>> mean, std = feature_statistics([np.array([0.0, 5.0, 2.0, 5.0])], feature_size=2)
    >>> mean.tolist(), std.tolist()
    ([1.0, 5.0], [1.0, 1.0])
    """
    count, mean, squares = 0, np.zeros(feature_size), np.zeros(feature_size)
    for clip in clips:
        frames = np.asarray(clip, dtype=np.float64).reshape(-1, feature_size)  # (frames, features)
        if not len(frames):
            continue
        clip_mean = frames.mean(axis=0)
        difference, total = clip_mean - mean, count + len(frames)
        squares += ((frames - clip_mean) ** 2).sum(axis=0) + difference**2 * (count * len(frames) / total)
        mean += difference * (len(frames) / total)
        count = total
    if not count:
        raise ValueError("There are no training frames to estimate statistics from.")
    std = np.sqrt(squares / count)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        raise ValueError("A training feature is not finite.")
    std[std < SMALLEST_STD] = 1.0
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()


__all__ = ["feature_statistics"]
