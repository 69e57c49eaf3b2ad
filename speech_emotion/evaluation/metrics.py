"""WA, UA and F1 from confusion counts, for one matrix or thousands at once."""

from collections.abc import Callable, Sequence

import numpy as np

CountMetric = Callable[[np.ndarray], np.ndarray]


def wa(counts: np.ndarray) -> np.ndarray:
    """Compute weighted accuracy, which is plain accuracy."""
    counts = np.asarray(counts, dtype=np.float64)
    return np.einsum("...cc->...", counts) / counts.sum(axis=(-2, -1))


def ua(counts: np.ndarray) -> np.ndarray:
    """Compute unweighted accuracy (UAR): the mean recall of the classes that have clips.

    Source: Schuller et al., "The Interspeech 2009 Emotion Challenge", 2009.
    """
    return _mean_where(*recalls(counts))


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """Compute the mean F1 of the classes that are true or predicted of any clip."""
    return _mean_where(*f1_scores(counts))


def weighted_f1(counts: np.ndarray) -> np.ndarray:
    """Compute the mean F1, each class weighing as many clips as it has."""
    support = np.asarray(counts, dtype=np.float64).sum(axis=-1)
    return (f1_scores(counts)[0] * support).sum(axis=-1) / support.sum(axis=-1)


COUNT_METRICS: dict[str, CountMetric] = {"wa": wa, "ua": ua, "macro_f1": macro_f1, "weighted_f1": weighted_f1}


def recalls(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the recall of each class, and which classes have clips: both (..., classes)."""
    counts = np.asarray(counts, dtype=np.float64)
    correct = np.einsum("...cc->...c", counts)  # (..., classes)
    support = counts.sum(axis=-1)
    return np.divide(correct, support, out=np.zeros_like(correct), where=support > 0), support > 0


def f1_scores(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the F1 of each class, and which classes are true or predicted of any clip: both (..., classes)."""
    counts = np.asarray(counts, dtype=np.float64)
    correct = np.einsum("...cc->...c", counts)  # (..., classes)
    total = counts.sum(axis=-1) + counts.sum(axis=-2)
    return np.divide(2 * correct, total, out=np.zeros_like(correct), where=total > 0), total > 0


def _mean_where(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    return np.where(present, values, 0).sum(axis=-1) / present.sum(axis=-1)


def grouped_counts(
    groups: np.ndarray, truth: np.ndarray, predictions: np.ndarray, num_groups: int, num_labels: int
) -> np.ndarray:
    """Make a confusion matrix per group: (groups, true, predicted)."""
    cells = (groups * num_labels + truth) * num_labels + predictions
    counts = np.bincount(cells, minlength=num_groups * num_labels**2)
    return counts.reshape(num_groups, num_labels, num_labels)  # (groups, true, predicted)


def confusion_counts(references: Sequence[int], predictions: Sequence[int], num_labels: int) -> np.ndarray:
    """Count each pair of true and predicted class: (true, predicted)."""
    true, predicted = np.asarray(references), np.asarray(predictions)
    if true.ndim != 1 or true.shape != predicted.shape or not len(true):
        raise ValueError(
            f"References and predictions must be two sequences of one length, at least 1; "
            f"they have shapes {true.shape} and {predicted.shape}."
        )
    for name, values in (("reference", true), ("prediction", predicted)):
        if values.min() < 0 or values.max() >= num_labels:
            raise ValueError(f"A {name} lies outside [0, {num_labels}): {values.min()} to {values.max()}.")
    return grouped_counts(np.zeros_like(true), true, predicted, 1, num_labels)[0]


def concordance_metrics(truth: np.ndarray, values: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Compute the concordance correlation of each attribute, as `ccc_` and its name, and their mean, `ccc`.

    2 cov(x, y) / (var x + var y + (mean x - mean y)²), in [-1, 1]; both arrays are (clips, attributes).

    Source: Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 45, 1989.

    >>> truth = np.array([[1.0], [2.0], [3.0]])
    >>> round(concordance_metrics(truth, truth + 1, ["valence"])["ccc"], 4)
    0.5714
    """
    truth, values = np.asarray(truth, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != values.shape or not len(truth) or truth.shape[1] != len(names):
        raise ValueError(
            f"Values of {len(names)} attributes are needed, (clips, attributes), of one clip at least; the shapes are "
            f"{truth.shape} and {values.shape}."
        )
    means = truth.mean(axis=0), values.mean(axis=0)
    covariance = ((truth - means[0]) * (values - means[1])).mean(axis=0)
    spread = truth.var(axis=0) + values.var(axis=0) + (means[0] - means[1]) ** 2  # (attributes,)
    found = np.divide(2 * covariance, spread, out=np.zeros_like(spread), where=spread > 0)
    return {"ccc": float(found.mean())} | {f"ccc_{name}": float(one) for name, one in zip(names, found, strict=True)}


def classification_metrics(references: Sequence[int], predictions: Sequence[int], num_labels: int) -> dict[str, float]:
    """Compute WA, UA, macro and weighted F1."""
    counts = confusion_counts(references, predictions, num_labels)
    return {name: float(metric(counts)) for name, metric in COUNT_METRICS.items()}
