"""WA, UA and F1 from confusion counts, for one matrix or thousands at once."""

from collections.abc import Callable

import numpy as np


def wa(counts: np.ndarray) -> np.ndarray:
    """Compute weighted accuracy, which is plain accuracy.

    >>> float(wa(np.array([[8, 0], [2, 0]])))
    0.8
    """
    counts = np.asarray(counts, dtype=np.float64)
    return np.einsum("...cc->...", counts) / counts.sum(axis=(-2, -1))


def ua(counts: np.ndarray) -> np.ndarray:
    """Compute unweighted accuracy (UAR): the mean recall of the classes that have clips.

    Source: Schuller et al., "The Interspeech 2009 Emotion Challenge", 2009.

    >>> float(ua(np.array([[8, 0], [2, 0]]))), float(ua(np.array([[8, 0], [0, 0]])))
    (0.5, 1.0)
    """
    return mean_where(*recalls(counts))


def recalls(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the recall of each class."""
    counts = np.asarray(counts, dtype=np.float64)
    correct = np.einsum("...cc->...c", counts)  # (..., classes)
    support = counts.sum(axis=-1)
    return np.divide(correct, support, out=np.zeros_like(correct), where=support > 0), support > 0


def f1_scores(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the F1 of each class."""
    counts = np.asarray(counts, dtype=np.float64)
    correct = np.einsum("...cc->...c", counts)  # (..., classes)
    total = counts.sum(axis=-1) + counts.sum(axis=-2)
    return np.divide(2 * correct, total, out=np.zeros_like(correct), where=total > 0), total > 0


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """Compute the mean F1 of the classes that are true or predicted of any clip.

    >>> round(float(macro_f1(np.array([[8, 0], [2, 0]]))), 4)
    0.4444
    """
    return mean_where(*f1_scores(counts))


def weighted_f1(counts: np.ndarray) -> np.ndarray:
    """Compute the mean F1, each class weighing as many clips as it has."""
    support = np.asarray(counts, dtype=np.float64).sum(axis=-1)
    return (f1_scores(counts)[0] * support).sum(axis=-1) / support.sum(axis=-1)


def mean_where(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Average over the last axis what is present: (..., n) and (..., n) give (...,)."""
    return np.where(present, values, 0).sum(axis=-1) / present.sum(axis=-1)


CountMetric = Callable[[np.ndarray], np.ndarray]
COUNT_METRICS: dict[str, CountMetric] = {"wa": wa, "ua": ua, "macro_f1": macro_f1, "weighted_f1": weighted_f1}

__all__ = ["COUNT_METRICS", "CountMetric", "f1_scores", "macro_f1", "recalls", "ua", "wa", "weighted_f1"]
