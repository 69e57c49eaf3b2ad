"""Calibration: is a score of 0.8 right in 80 % of the clips?"""

from dataclasses import dataclass

import numpy as np

BINS = 15
# float16 has no positive number below 2^-24, and rounds to 0 what is below half of it.
FLOOR = 2.0**-25


@dataclass(frozen=True)
class Reliability:
    """Clips by the confidence of their prediction, in bins of equal width."""

    edges: np.ndarray  # ends of the bins, (bins + 1,), from 0 to 1; a bin holds its upper end, not its lower one
    clips: np.ndarray  # number of clips in each bin, (bins,)
    confidence: np.ndarray  # mean confidence, (bins,); 0 in an empty bin
    accuracy: np.ndarray  # share of right predictions, (bins,); 0 in an empty bin

    @property
    def error(self) -> float:
        """Expected calibration error: mean |accuracy − confidence|, each bin weighing as many clips as it has."""
        return float(self.clips @ np.abs(self.accuracy - self.confidence) / self.clips.sum())


def reliability(truth: np.ndarray, scores: np.ndarray, bins: int = BINS) -> Reliability:
    """Sort clips into bins of equal width by the highest score of each.

    >>> table = reliability(np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]), bins=2)
    >>> table.clips.tolist(), table.accuracy.tolist()
    ([0, 2], [0.0, 0.5])
    """
    truth, scores = check_scores(truth, scores)
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == truth
    # A float16 maximum of 1.0 belongs to the last bin; sums may exceed 1 by rounding.
    numbers = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    clips = np.bincount(numbers, minlength=bins)
    total = np.maximum(clips, 1)
    return Reliability(
        np.linspace(0, 1, bins + 1),
        clips,
        np.bincount(numbers, confidence, minlength=bins) / total,
        np.bincount(numbers, right, minlength=bins) / total,
    )


def expected_calibration_error(truth: np.ndarray, scores: np.ndarray, bins: int = BINS) -> float:
    """Compute the expected calibration error of the predicted class.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.

    >>> round(expected_calibration_error(np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]])), 3)
    0.35
    """
    return reliability(truth, scores, bins).error


def log_scores(scores: np.ndarray) -> np.ndarray:
    """Return log probabilities, which are logits of the same softmax.

    >>> round(float(log_scores(np.array([[1.0, 0.0]]))[0, 1]), 2)
    -17.33
    """
    return np.log(np.maximum(np.asarray(scores, dtype=np.float64), FLOOR))


def check_scores(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as arrays, the scores as float64."""
    truth, scores = np.asarray(truth), np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or truth.shape != scores.shape[:1] or not truth.size:
        raise ValueError(
            f"Scores (clips, classes) and classes (clips,) are needed, of at least 1 clip; the shapes are "
            f"{scores.shape} and {truth.shape}."
        )
    return truth, scores


__all__ = ["BINS", "FLOOR", "Reliability", "check_scores", "expected_calibration_error", "log_scores", "reliability"]
