"""Tests of two systems on the same clips, Holm's correction for several tests, and what chance would give."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .metrics import grouped_counts, ua

# To this many speakers, ranks that are tied or zero are tested by trying all 2^n signs.
MOST_SPEAKERS_ENUMERATED = 12
PERMUTATIONS = 10_000


@dataclass(frozen=True)
class McNemarResult:
    """What McNemar's test found."""

    only_first: float
    only_second: float  # clips that only the second gets right
    p: float  # Two-sided p value


def mcnemar(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> McNemarResult:
    """Test whether two systems are right equally often, by the exact form of McNemar's test.

    Source: McNemar, Psychometrika 12, 1947; Dietterich, Neural Computation 10, 1998. For clustered pairs, as the seeds
        of a clip are, Durkalski et al., Statistics in Medicine 22, 2003, give the large-sample form (Σ d)² / Σ d².
    """
    truth, first, second = np.asarray(truth), np.atleast_2d(first), np.atleast_2d(second)
    if truth.ndim != 1 or not truth.shape == first.shape[1:] == second.shape[1:]:
        raise ValueError(f"The same clips are needed; the shapes are {truth.shape}, {first.shape}, {second.shape}.")
    ours, theirs = (first == truth).sum(axis=0), (second == truth).sum(axis=0)  # seeds that are right, (clips,)
    pairs = len(first) * len(second)
    only_first = int((ours * (len(second) - theirs)).sum()) / pairs
    only_second = int(((len(first) - ours) * theirs).sum()) / pairs
    # d times the number of pairs: whole numbers, so that equal sums are found to be equal.
    return McNemarResult(only_first, only_second, sign_flip_p(len(second) * ours - len(first) * theirs))


def sign_flip_p(weights: np.ndarray) -> float:
    """Compute the exact probability that random signs give a sum at least as far from 0."""
    from scipy import stats  # takes a second: not before it is needed

    sizes = np.abs(weights[weights != 0]).astype(np.int64)
    if not sizes.size:
        return 1.0
    distribution = np.ones(1)  # of S, from 0
    for size, times in zip(*np.unique(sizes // np.gcd.reduce(sizes), return_counts=True), strict=True):
        part = np.zeros(size * times + 1)
        part[::size] = stats.binom.pmf(np.arange(times + 1), times, 0.5)
        distribution = np.convolve(distribution, part)
    total = len(distribution) - 1
    plus = int(weights[weights > 0].sum()) // int(np.gcd.reduce(sizes))
    # The distribution is symmetric, so both tails are one, twice.
    return float(min(1.0, 2 * distribution[max(plus, total - plus) :].sum()))


def wilcoxon_over_speakers(first: np.ndarray, second: np.ndarray) -> float:
    """Test whether one system is better for the typical speaker, by Wilcoxon's signed ranks.

    Source: Wilcoxon, Biometrics Bulletin 1, 1945; Pratt, JASA 54, 1959.
    """
    from scipy import stats  # takes a second: not before it is needed

    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or not first.size:
        raise ValueError(f"Each speaker needs two figures; the shapes are {first.shape} and {second.shape}.")
    # Means over seeds of equal figures may differ in their last bit: that is no preference, nor does it rank.
    differences = (first - second).round(12)
    if not differences.any():
        return 1.0
    sizes = np.abs(differences)
    tied = len(np.unique(sizes)) < len(sizes) or (sizes == 0).any()
    method: Any = "auto"
    if tied:  # of which releases of scipy make different things by themselves
        # Asked for 2^n resamples, scipy takes each of the 2^n sign patterns once.
        few = len(sizes) <= MOST_SPEAKERS_ENUMERATED
        method = stats.PermutationMethod(n_resamples=2 ** len(sizes)) if few else "asymptotic"
    return float(stats.wilcoxon(differences, zero_method="pratt", method=method).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p values of a family of planned tests, so that the chance of any false positive stays below α.

    Source: Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p values lie in [0, 1]; these are {p.tolist()}.")
    order = p.argsort(kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted.tolist()


@dataclass(frozen=True)
class PermutationResult:
    """What permuting labels against predictions found."""

    value: float  # UA on the true labels
    expected: float  # its mean over the permutations: chance for these predictions
    p: float  # share of permutations that reach the value, one-sided


def permutation_control(
    truth: np.ndarray, predictions: np.ndarray, num_labels: int, speakers: Sequence[Any] | None = None
) -> PermutationResult:
    """Permute the labels of the clips against their predictions, and look at UA.

    Source: Ojala and Garriga, JMLR 11, 2010; Phipson and Smyth, 2010, for p.
    """
    from scipy import stats  # takes a second: not before it is needed

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
    random = np.random.default_rng(0)
    drawn = np.zeros((PERMUTATIONS, num_labels, num_labels))
    for table in counts:
        # random_table gives integers in float64; fixed margins, rows true and columns predicted.
        drawn += stats.random_table(table.sum(axis=1), table.sum(axis=0)).rvs(PERMUTATIONS, random_state=random)
    value, by_chance = float(ua(counts.sum(axis=0))), ua(drawn)
    reached = int((by_chance >= value - 1e-12).sum())
    return PermutationResult(value, float(by_chance.mean()), (1 + reached) / (1 + PERMUTATIONS))


def permute_labels(labels: Sequence[Any], speakers: Sequence[Any], seed: int | Sequence[int]) -> list[Any]:
    """Permute the labels of training clips within speakers, for a control run that must fall to chance."""
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
