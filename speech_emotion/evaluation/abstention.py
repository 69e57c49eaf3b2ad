"""Abstention: the answer "uncertain" instead of a forced label, and how good the other answers are."""

from dataclasses import dataclass

import numpy as np

from .calibration import check_scores


@dataclass(frozen=True)
class AbstentionCurve:
    """Figures of the clips that are answered, for each threshold that makes a difference."""

    thresholds: np.ndarray  # A clip is answered if its confidence is at least this, (points,), falling
    coverage: np.ndarray  # share of clips that are answered, (points,), rising to 1
    accuracy: np.ndarray  # WA of the answered clips, (points,)
    ua: np.ndarray  # UA of the answered clips, over the classes that they have, (points,)

    def at(self, coverage: float) -> int:
        """Return the index of the highest threshold that answers at least a share of the clips."""
        if not 0 < coverage <= 1:
            raise ValueError(f"A coverage lies in (0, 1]; this is {coverage}.")
        return int(np.searchsorted(self.coverage, coverage - 1e-12))


def abstention_curve(truth: np.ndarray, scores: np.ndarray) -> AbstentionCurve:
    """Follow WA and UA as less certain clips are answered too.

    >>> curve = abstention_curve(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]]))
    >>> curve.coverage.round(2).tolist(), curve.accuracy.round(2).tolist()
    ([0.33, 0.67, 1.0], [1.0, 1.0, 0.67])
    """
    truth, scores = check_scores(truth, scores)
    order = np.argsort(-scores.max(axis=1), kind="stable")
    confidence, right = scores.max(axis=1)[order], (scores.argmax(axis=1) == truth)[order]
    of_class = truth[order, None] == np.arange(scores.shape[1])  # (clips, classes)
    support = of_class.cumsum(axis=0)
    hits = (of_class & right[:, None]).cumsum(axis=0)
    recall = np.divide(hits, support, out=np.zeros(support.shape), where=support > 0)
    last = np.append(np.flatnonzero(np.diff(confidence)), len(truth) - 1)  # the last clip of each confidence
    answered = last + 1
    return AbstentionCurve(
        confidence[last],
        answered / len(truth),
        right.cumsum()[last] / answered,
        recall[last].sum(axis=1) / (support[last] > 0).sum(axis=1),
    )


__all__ = ["AbstentionCurve", "abstention_curve"]
