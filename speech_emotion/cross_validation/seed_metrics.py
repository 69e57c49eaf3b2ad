"""Figures of a cross-validation: pooled over folds or averaged over them, and their spread over seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from speech_emotion.evaluation.metrics import COUNT_METRICS, grouped_counts

from .pooled_clips import PooledClips


class MeanSD(NamedTuple):
    """A mean over seeds and the standard deviation of a single seed (ddof = 1); `None` for one seed."""

    mean: float
    sd: float | None


def mean_sd(values: Sequence[float] | np.ndarray) -> MeanSD:
    """Average over seeds.

    >>> mean_sd([0.5, 0.7]).sd, mean_sd([0.5]).sd
    (0.141421356237..., None)
    """
    values = np.asarray(values, dtype=np.float64)
    if not values.size:
        raise ValueError("There is no seed to average over.")
    return MeanSD(float(values.mean()), float(values.std(ddof=1)) if values.size > 1 else None)


def pooled_metrics(clips: PooledClips) -> dict[str, np.ndarray]:
    """Compute each metric of each seed over the test clips of all folds together."""
    counts = clips.seed_counts()  # (seeds, classes, classes)
    return {name: metric(counts) for name, metric in COUNT_METRICS.items()}


def fold_metrics(clips: PooledClips) -> dict[str, np.ndarray]:
    """Compute each metric of each seed in each fold."""
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
