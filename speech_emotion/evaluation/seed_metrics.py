"""Figures of a cross-validation: pooled over folds or averaged over them, and their spread over seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .count_metrics import COUNT_METRICS
from .pooled_clips import PooledClips, grouped_counts


class MeanSD(NamedTuple):
    """A mean over seeds and the standard deviation of a single seed (ddof = 1); `None` for one seed."""

    mean: float
    sd: float | None


def mean_sd(values: Sequence[float] | np.ndarray) -> MeanSD:
    """Average over seeds.

    Args:
        values: One figure per seed, (seeds,).

    Returns:
        Mean, and standard deviation with ddof = 1: an estimate of how much another seed would differ.

    Raises:
        ValueError: If there are no values.

    Example:
        >>> mean_sd([0.5, 0.7]).sd, mean_sd([0.5]).sd
        (0.141421356237..., None)
    """
    values = np.asarray(values, dtype=np.float64)
    if not values.size:
        raise ValueError("There is no seed to average over.")
    return MeanSD(float(values.mean()), float(values.std(ddof=1)) if values.size > 1 else None)


def pooled_metrics(clips: PooledClips) -> dict[str, np.ndarray]:
    """Compute each metric of each seed over the test clips of all folds together.

    Args:
        clips: Pooled test clips.

    Returns:
        `wa`, `ua`, `macro_f1` and `weighted_f1`, each (seeds,), in [0, 1].
    """
    counts = clips.seed_counts()  # (seeds, classes, classes)
    return {name: metric(counts) for name, metric in COUNT_METRICS.items()}


def fold_metrics(clips: PooledClips) -> dict[str, np.ndarray]:
    """Compute each metric of each seed in each fold.

    UA of a fold is over the classes that the fold's test speakers have.

    Args:
        clips: Pooled test clips.

    Returns:
        `wa`, `ua`, `macro_f1` and `weighted_f1`, each (seeds, folds), folds in the order of their numbers.
    """
    names, numbers = np.unique(clips.folds, return_inverse=True)
    numbers = numbers.reshape(clips.folds.shape)  # (seeds, clips)
    counts = np.stack(
        [
            grouped_counts(groups, clips.truth, predictions, len(names), len(clips.labels))
            for groups, predictions in zip(numbers, clips.predictions, strict=True)
        ]
    )  # (seeds, folds, classes, classes)
    return {name: metric(counts) for name, metric in COUNT_METRICS.items()}


__all__ = ["MeanSD", "fold_metrics", "mean_sd", "pooled_metrics"]
