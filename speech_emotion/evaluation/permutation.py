"""Permuted labels: what chance gives, in the statistic and in training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from speech_emotion.cross_validation.pooled_clips import grouped_counts

from .count_metrics import CountMetric, ua


@dataclass(frozen=True)
class PermutationResult:
    """What permuting labels against predictions found."""

    value: float  # the figure of the true labels
    expected: float  # its mean over the permutations: chance for these predictions
    p: float  # share of permutations that reach the value, one-sided


def permutation_control(
    truth: np.ndarray,
    predictions: np.ndarray,
    num_labels: int,
    speakers: Sequence[Any] | None = None,
    metric: CountMetric = ua,
    permutations: int = 10_000,
    seed: int = 0,
) -> PermutationResult:
    """Permute the labels of the clips against their predictions.

    Source: Ojala and Garriga, JMLR 11, 2010; Phipson and Smyth, 2010, for p.

    >>> truth = np.repeat([0, 1], 20)
    >>> result = permutation_control(truth, truth, 2)
    >>> result.value, round(result.expected, 2), result.p < 0.001
    (1.0, 0.5, True)
    """
    truth, predictions = np.asarray(truth), np.asarray(predictions)
    groups = np.zeros(len(truth), dtype=np.int64)
    if speakers is not None:
        groups = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)[1]
    if truth.ndim != 1 or not truth.shape == predictions.shape == groups.shape or not truth.size:
        raise ValueError(
            f"Labels, predictions and speakers must be of the same clips, at least 1; the shapes are {truth.shape}, "
            f"{predictions.shape}, {groups.shape}."
        )
    counts = grouped_counts(groups, truth, predictions, groups.max() + 1, num_labels)
    random = np.random.default_rng(seed)
    drawn = np.zeros((permutations, num_labels, num_labels))
    for table in counts:
        # random_table gives integers in float64; fixed margins, rows true and columns predicted.
        drawn += stats.random_table(table.sum(axis=1), table.sum(axis=0)).rvs(permutations, random_state=random)
    value, by_chance = float(metric(counts.sum(axis=0))), metric(drawn)
    reached = int((by_chance >= value - 1e-12).sum())
    return PermutationResult(value, float(by_chance.mean()), (1 + reached) / (1 + permutations))


def permute_labels(labels: Sequence[Any], speakers: Sequence[Any], seed: int | Sequence[int]) -> list[Any]:
    """Permute the labels of training clips within speakers, for a control run that must fall to chance.

    >>> permute_labels(["fear", "anger", "fear"], ["f1", "f1", "m1"], seed=3)[2]
    'fear'
    """
    if len(labels) != len(speakers):
        raise ValueError(f"Each clip needs a label and a speaker; there are {len(labels)} and {len(speakers)}.")
    random = np.random.default_rng(seed)
    permuted = list(labels)
    clips_of: dict[Any, list[int]] = {}
    for index, speaker in enumerate(speakers):
        clips_of.setdefault(speaker, []).append(index)
    for clips in clips_of.values():
        for index, source in zip(clips, random.permutation(clips), strict=True):
            permuted[index] = labels[source]
    return permuted


__all__ = ["PermutationResult", "permutation_control", "permute_labels"]
