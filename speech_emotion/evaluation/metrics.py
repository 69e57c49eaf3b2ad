"""WA, UA and F1: the field's names for accuracy, mean recall and their kin."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import confusion_matrix, f1_score


def confusion_counts(references: Sequence[int], predictions: Sequence[int], num_labels: int) -> np.ndarray:
    """Count each pair of true and predicted class.

    >>> confusion_counts([0, 0, 1], [0, 1, 1], 2).tolist()
    [[1, 1], [0, 1]]
    """
    true, predicted = np.asarray(references), np.asarray(predictions)
    if true.ndim != 1 or true.shape != predicted.shape or not len(true):
        raise ValueError(
            f"References and predictions must be two sequences of one length, at least 1; "
            f"they have shapes {true.shape} and {predicted.shape}."
        )
    for name, values in (("reference", true), ("prediction", predicted)):
        if values.min() < 0 or values.max() >= num_labels:
            raise ValueError(f"A {name} lies outside [0, {num_labels}): {values.min()} to {values.max()}.")
    return confusion_matrix(true, predicted, labels=range(num_labels))


def classification_metrics(references: Sequence[int], predictions: Sequence[int], num_labels: int) -> dict[str, float]:
    """Compute WA, UA, macro and weighted F1.

    Source: Schuller et al., Interspeech 2009 Emotion Challenge, for UA; scikit-learn for F1.

    >>> classification_metrics([0, 0, 0, 1], [0, 0, 0, 0], 2)["ua"]
    0.5
    """
    counts = confusion_counts(references, predictions, num_labels)
    support = counts.sum(axis=1)
    present = support > 0
    recall = counts.diagonal()[present] / support[present]
    return {
        "wa": float(counts.trace() / counts.sum()),
        "ua": float(recall.mean()),
        "macro_f1": float(f1_score(references, predictions, average="macro", zero_division=0)),
        "weighted_f1": float(f1_score(references, predictions, average="weighted", zero_division=0)),
    }


__all__ = ["classification_metrics", "confusion_counts"]
