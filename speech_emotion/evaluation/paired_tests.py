"""Tests of two systems on the same clips: McNemar over clips, Wilcoxon over speakers."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from .count_metrics import CountMetric, ua

# To this many speakers, ranks that are tied or zero are tested by trying all 2^n signs.
MOST_SPEAKERS_ENUMERATED = 12


@dataclass(frozen=True)
class McNemarResult:
    """What McNemar's test found.

    Args:
        only_first: Clips that only the first system gets right: with several seeds the mean over all pairs of a
            training of the first and one of the second.
        only_second: Clips that only the second gets right.
        p: Two-sided p value.
    """

    only_first: float
    only_second: float
    p: float


def mcnemar(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> McNemarResult:
    """Test whether two systems are right equally often, by the exact form of McNemar's test.

    With one seed, only clips that one system gets right and the other wrong tell them apart. If neither is better,
    each such clip falls to either side with probability 1/2, and p is a tail of the binomial distribution.

    With several seeds a clip still is one clip. Its weight is d, the share of the first system's seeds that get it
    right less that of the second's, and Σ d is the difference of the two mean WA, times the clips. If neither system
    is better, each d might as well have the other sign; p is the probability that random signs give a |Σ d| at least
    as large. With one seed d is −1, 0 or 1, and this is McNemar's test. So what is tested is the difference that is
    reported, of single trainings: votes or mean posteriors of the seeds would be ensembles, which are better than
    their members the more these vary. Counting each seed's clips as further clips would claim more than there are.

    The test is of WA, not of UA. It takes the trainings as they are, and clips for independent, which those of one
    speaker are not: its p is too small if speakers differ in which system suits them.

    Args:
        truth: True class of each clip, (clips,).
        first: Predicted classes of one system, (seeds, clips) or (clips,).
        second: Those of the other; the number of seeds may differ.

    Returns:
        The clips that only one gets right, and p; without any, p is 1.

    Raises:
        ValueError: If the clips differ in number.

    Source: McNemar, Psychometrika 12, 1947; Dietterich, Neural Computation 10, 1998. For clustered pairs, as the seeds
        of a clip are, Durkalski et al., Statistics in Medicine 22, 2003, give the large-sample form (Σ d)² / Σ d².

    Example:
        >>> mcnemar(np.zeros(6, int), np.zeros(6, int), np.array([1, 1, 1, 1, 1, 0]))
        McNemarResult(only_first=5.0, only_second=0.0, p=0.0625)
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
    """Compute the exact probability that random signs give a sum at least as far from 0.

    With S the sum of the |w| that are given a plus, Σ ±|w| = 2 S − Σ |w|. S is a sum over the distinct sizes m of m
    times a binomial number, so its distribution is a convolution of few.

    Args:
        weights: Whole numbers, (clips,).

    Returns:
        Two-sided p value, at most 1.

    Example:
        >>> round(sign_flip_p(np.array([1, 1, 1, -1])), 6), sign_flip_p(np.array([2, 1, 0]))
        (0.625, 0.5)
    """
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

    Speakers for whom both are equal stay in the ranking and count for neither (Pratt's way, `zero_method="pratt"`):
    leaving them out would make two systems that mostly agree look more different than they are. Without zeros and ties
    the p of up to 50 speakers is exact; with them it is exact to 12 speakers (all signs are tried) and a normal
    approximation above. Of n speakers p is at least 2/2^n, so that fewer than 6 cannot reach 0.05.

    Args:
        first: A figure of each speaker with one system, averaged over seeds, (speakers,).
        second: The same with the other.

    Returns:
        Two-sided p value.

    Raises:
        ValueError: If the shapes differ or there are no speakers.

    Source: Wilcoxon, Biometrics Bulletin 1, 1945; Pratt, JASA 54, 1959.

    Example:
        >>> wilcoxon_over_speakers(np.array([0.6, 0.7, 0.8]), np.array([0.5, 0.5, 0.5]))
        0.25
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or not first.size:
        raise ValueError(f"Each speaker needs two figures; the shapes are {first.shape} and {second.shape}.")
    # Means over seeds of equal figures may differ in their last bit: that is no preference, nor does it rank.
    differences = (first - second).round(12)
    if not differences.any():
        return 1.0
    sizes = np.abs(differences)
    tied = len(np.unique(sizes)) < len(sizes) or (sizes == 0).any()
    method: str | stats.PermutationMethod = "auto"
    if tied:  # of which releases of scipy make different things by themselves
        # Asked for 2^n resamples, scipy takes each of the 2^n sign patterns once.
        few = len(sizes) <= MOST_SPEAKERS_ENUMERATED
        method = stats.PermutationMethod(n_resamples=2 ** len(sizes)) if few else "asymptotic"
    return float(stats.wilcoxon(differences, zero_method="pratt", method=method).pvalue)


def speaker_figures(seed_counts: np.ndarray, metric: CountMetric = ua) -> np.ndarray:
    """Compute a figure of each speaker, averaged over seeds.

    Args:
        seed_counts: Counts of `PooledClips.speaker_seed_counts`, (seeds, speakers, classes, classes).
        metric: Figure of confusion counts, such as `ua`, over the classes that the speaker has.

    Returns:
        (speakers,).
    """
    return metric(seed_counts).mean(axis=0)


__all__ = ["McNemarResult", "mcnemar", "sign_flip_p", "speaker_figures", "wilcoxon_over_speakers"]
