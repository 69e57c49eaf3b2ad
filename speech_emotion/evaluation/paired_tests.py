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
        only_first: Clips that only the first system got right.
        only_second: Clips that only the second got right.
        p: Two-sided p value.
    """

    only_first: int
    only_second: int
    p: float


def mcnemar(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> McNemarResult:
    """Test whether two systems are right equally often, by the exact binomial form of McNemar's test.

    Only clips that one system gets right and the other wrong tell them apart. If neither is better, each such clip
    falls to either side with probability 1/2. The test is of WA, not of UA, and takes clips for independent, which
    those of one speaker are not: its p is too small if speakers differ in which system suits them.

    One prediction per clip and system is needed. Several seeds are combined before, by the mean of their posteriors
    (`PooledClips.mean_posterior_predictions`): counting a clip once per seed would claim more clips than there are.

    Args:
        truth: True class of each clip, (clips,).
        first: Predicted classes of one system, (clips,).
        second: Those of the other, (clips,).

    Returns:
        The discordant clips and p; without any, p is 1.

    Raises:
        ValueError: If the shapes differ.

    Source: McNemar, Psychometrika 12, 1947; Dietterich, Neural Computation 10, 1998.

    Example:
        >>> mcnemar(np.zeros(6, int), np.zeros(6, int), np.array([1, 1, 1, 1, 1, 0]))
        McNemarResult(only_first=5, only_second=0, p=0.0625)
    """
    truth, first, second = np.asarray(truth), np.asarray(first), np.asarray(second)
    if not truth.shape == first.shape == second.shape:
        raise ValueError(f"The same clips are needed; the shapes are {truth.shape}, {first.shape}, {second.shape}.")
    only_first = int(((first == truth) & (second != truth)).sum())
    only_second = int(((first != truth) & (second == truth)).sum())
    discordant = only_first + only_second
    p = float(stats.binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
    return McNemarResult(only_first, only_second, p)


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
    enumerate_signs = tied and len(sizes) <= MOST_SPEAKERS_ENUMERATED
    # Asked for 2^n resamples, scipy takes each of the 2^n sign patterns once.
    method = stats.PermutationMethod(n_resamples=2 ** len(sizes)) if enumerate_signs else "auto"
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


__all__ = ["McNemarResult", "mcnemar", "speaker_figures", "wilcoxon_over_speakers"]
