"""What scores are worth: calibration, the temperature that mends it, and the answer “uncertain” instead of a label."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
# Clips that count as if they had come out evenly over the classes, beside the validation clips.
PRIOR_CLIPS = 2.0
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
    """Sort clips into bins of equal width by the highest score of each."""
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
    """
    return reliability(truth, scores, bins).error


def log_scores(scores: np.ndarray) -> np.ndarray:
    """Return log probabilities, which are logits of the same softmax."""
    scores = np.asarray(scores, dtype=np.float64)
    return np.log(np.where(scores > 0, scores, FLOOR))


def check_scores(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as arrays, the scores as float64; the truth are classes, or shares of raters, (clips, classes)."""
    truth, scores = np.asarray(truth), np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or truth.shape not in (scores.shape[:1], scores.shape) or not truth.size:
        raise ValueError(
            f"Scores (clips, classes) and classes (clips,) are needed, of at least 1 clip; the shapes are "
            f"{scores.shape} and {truth.shape}."
        )
    return truth, scores


def apply_temperature(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logits by a temperature.

    >>> apply_temperature(np.array([[0.8, 0.2]]), 2.0).round(3).tolist()
    [[0.667, 0.333]]
    """
    if not temperature > 0:
        raise ValueError(f"A temperature is positive; this is {temperature}.")
    return softmax(log_scores(scores) / temperature, axis=1)


def negative_log_likelihood(truth: np.ndarray, scores: np.ndarray, temperature: float = 1.0) -> float:
    """Compute the mean of −log p(true class) after a temperature, in nats; of shares, of all classes by these."""
    truth, scores = check_scores(truth, scores)
    log_p = log_softmax(log_scores(scores) / temperature, axis=1)
    return float(-_of_truth(log_p, truth).mean())


def _of_truth(log_p: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pick what belongs to each clip's class, (clips,), or weigh all classes by their shares."""
    return (log_p * truth).sum(axis=1) if truth.ndim == 2 else log_p[np.arange(len(truth)), truth]


def fit_temperature(truth: np.ndarray, scores: np.ndarray, prior_clips: float = PRIOR_CLIPS) -> float:
    """Find the temperature with the least negative log-likelihood, on validation clips.

    The target of each of N clips is (N × its class + P / classes) / (N + P), with P `prior_clips`: where a few clips
    are all right, nothing else would keep the scores from certainty.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2; the targets: Platt,
    "Probabilistic Outputs for Support Vector Machines", 1999, whose (N + 1) / (N + 2) are ours for two classes.
    """
    truth, scores = check_scores(truth, scores)
    logits, evenly = log_scores(scores), prior_clips / (len(truth) + prior_clips)

    def loss(log_temperature: float) -> float:
        log_p = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-((1 - evenly) * _of_truth(log_p, truth) + evenly * log_p.mean(axis=1)).mean())

    found = minimize_scalar(
        loss,
        bounds=(np.log(COLDEST), np.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def calibration_metrics(truth: np.ndarray, scores: np.ndarray, temperature: float) -> dict[str, float]:
    """Compute calibration error and negative log-likelihood (in nats) before and after a temperature.

    Of shares of raters only the latter: the scores are to be shares, too, and no clip is right or wrong.
    """
    before, after = apply_temperature(scores, 1.0), apply_temperature(scores, temperature)
    measures = {"ece": expected_calibration_error, "nll": negative_log_likelihood}
    if np.ndim(truth) == 2:
        del measures["ece"]
    return {
        f"{name}_{when}": of(truth, values)
        for name, of in measures.items()
        for when, values in (("before", before), ("after", after))
    }


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
    """Follow WA and UA as less certain clips are answered too."""
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
