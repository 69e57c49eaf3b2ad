"""How well can emotions be read from a layer by something that learns little of its own: a linear probe.

Mean and standard deviation over time of a layer's activations enter a logistic regression. Its loss is convex, so that
no seed matters: one fit is all fits. It is no substitute for Model-2 on each layer, which sees the order of frames; it
tells how linearly the layer holds emotion.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from dataset_scripts import Fold
from speech_emotion.evaluation.intervals import Estimate, numbered, speaker_bootstrap
from speech_emotion.evaluation.metrics import grouped_counts

# Inverse strengths of the L2 penalty to choose from.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

# Training features and classes, validation features and classes, test features -> test classes, and what was chosen.
Probe = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, dict[str, Any]]]


@dataclass(frozen=True)
class LayerUA:
    """What a probe reads from one layer."""

    ua: Estimate  # UA of all folds' test clips together, in [0, 1], with its interval over speakers
    predictions: np.ndarray  # predicted class of each clip, (clips,)
    chosen: list[dict[str, Any]]  # what was chosen in each fold


def logistic_probe(
    train: np.ndarray,
    train_labels: np.ndarray,
    validation: np.ndarray,
    validation_labels: np.ndarray,
    test: np.ndarray,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Fit a logistic regression, its penalty chosen by the UA of the validation speakers.

    >>> features, labels = np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    >>> logistic_probe(features, labels, features, labels, np.array([[-3.0], [3.0]]))
    (array([0, 1]), {'C': 0.0001})
    """
    scaler = StandardScaler().fit(train)
    train, validation, test = scaler.transform(train), scaler.transform(validation), scaler.transform(test)
    best, model, chosen = -1.0, None, 0.0
    for strength in STRENGTHS:
        candidate = LogisticRegression(C=strength, class_weight="balanced", max_iter=500)
        with warnings.catch_warnings():
            # With little penalty on separable clips it creeps on; validation decides about what it has reached.
            warnings.simplefilter("ignore", ConvergenceWarning)
            candidate.fit(train, train_labels)
        ua = balanced_accuracy_score(validation_labels, candidate.predict(validation))
        if ua > best:
            best, model, chosen = ua, candidate, strength
    return model.predict(test), {"C": chosen}


def ua_by_layer(
    features: Mapping[str, np.ndarray],
    ids: Sequence[str],
    labels: Sequence[int],
    speakers: Sequence[str],
    folds: Sequence[Fold],
    probe: Probe = logistic_probe,
    seed: int = 0,
) -> dict[str, LayerUA]:
    """Measure how well a probe reads emotions from each layer, on the same folds."""
    place = {clip: index for index, clip in enumerate(ids)}
    truth = np.asarray(labels)
    tested = sorted(clip for fold in folds for clip in fold.test)
    if tested != sorted(ids):
        raise ValueError(f"The folds test {len(tested)} clips; each of the {len(ids)} must be tested once.")
    numbers, names = numbered(list(speakers))
    results = {}
    for layer, values in features.items():
        predictions = np.full(len(truth), -1)
        chosen = []
        for fold in folds:
            train, validation, test = (
                np.array([place[clip] for clip in part]) for part in (fold.train, fold.validation, fold.test)
            )
            predictions[test], about = probe(
                values[train], truth[train], values[validation], truth[validation], values[test]
            )
            chosen.append({"fold": fold.name, **about})
        counts = grouped_counts(numbers, truth, predictions, len(names), int(truth.max()) + 1)
        results[layer] = LayerUA(speaker_bootstrap(counts, seed=seed), predictions, chosen)
    return results


__all__ = ["LayerUA", "Probe", "logistic_probe", "ua_by_layer"]
