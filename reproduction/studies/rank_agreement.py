"""Do clips agree on which heads matter: ranks, Kendall's W, Friedman's test, and what chance would give."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

PERMUTATIONS = 2000


@dataclass(frozen=True)
class Agreement:
    """How far raters (rows) agree on the order of items (columns)."""

    raters: int  # number of rows
    kendall_w: float
    mean_spearman: float  # mean rank correlation of two raters; without ties (n W - 1) / (n - 1)
    friedman_chi2: float  # Friedman's statistic, n (k - 1) W
    friedman_p: float  # its p-value by the χ² distribution with k - 1 degrees of freedom
    chance_w: tuple[float, float]  # 2.5th and 97.5th percentile of W when each rater's values are shuffled
    permutation_p: float  # share of shuffles with a W at least as large, (1 + count) / (1 + shuffles)


def importance_ranks(values: np.ndarray) -> np.ndarray:
    """Rank items for each rater, the largest value first."""
    return stats.rankdata(-values, axis=1)


def rank_shares(values: np.ndarray) -> np.ndarray:
    """Count how often each item has each rank.

    >>> rank_shares(np.array([[0.9, 0.1], [0.8, 0.3], [0.2, 0.4], [0.6, 0.5]])).tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    order = np.argsort(-values, axis=1, kind="stable")  # (raters, ranks), the item of each rank
    return np.stack([(order == item).mean(axis=0) for item in range(order.shape[1])])


def rank_agreement(values: np.ndarray, permutations: int = PERMUTATIONS) -> Agreement:
    """Test whether raters agree on the order of items: Kendall's W, corrected for ties, and Friedman's test.

    Source: Friedman, 1937; Kendall and Babington Smith, "The problem of m rankings", 1939.
    """
    if values.ndim != 2 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise ValueError(
            f"Agreement needs finite values of at least 2 raters on at least 2 items, not {values.shape}."
        )
    raters, items = values.shape
    ranks = importance_ranks(values)
    w = float(_concordance(ranks.sum(axis=0), ranks))
    random = np.random.default_rng(0)
    sums = np.stack([random.permuted(ranks, axis=1).sum(axis=0) for _ in range(permutations)])
    shuffled = _concordance(sums, ranks)  # (permutations,); a rater's ties stay through shuffling
    chi2 = raters * (items - 1) * w  # equals Friedman's statistic, its correction for ties included
    low, high = np.quantile(shuffled, [0.025, 0.975])
    return Agreement(
        raters=raters,
        kendall_w=w,
        mean_spearman=_mean_spearman(values),
        friedman_chi2=float(chi2),
        friedman_p=float(stats.chi2.sf(chi2, items - 1)),
        chance_w=(float(low), float(high)),
        permutation_p=float((1 + (shuffled >= w - 1e-12).sum()) / (1 + permutations)),
    )


def sorted_profile(values: np.ndarray) -> np.ndarray:
    """Average each item over the raters, and sort the averages, falling."""
    return np.sort(values.mean(axis=0))[::-1]


def shuffled_profile(values: np.ndarray, permutations: int = PERMUTATIONS) -> np.ndarray:
    """Return the mean sorted profile when items change places at random in each rater."""
    random = np.random.default_rng(0)
    return np.mean([sorted_profile(random.permuted(values, axis=1)) for _ in range(permutations)], axis=0)


def _concordance(sums: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """W from sums of ranks, (…, items), and the ranks whose ties lower its largest value, (raters, items): (…)."""
    raters, items = ranks.shape
    spread = np.square(sums - raters * (items + 1) / 2).sum(axis=-1)
    ties = sum(int((counts**3 - counts).sum()) for counts in (np.unique(row, return_counts=True)[1] for row in ranks))
    largest = raters * (raters * (items**3 - items) - ties) / 12
    return spread / largest if largest > 0 else np.zeros(spread.shape)


def unit_ranks(values: np.ndarray) -> np.ndarray:
    """Center each rater's ranks and scale them to length 1, so that two raters' product is their rank correlation."""
    ranks = importance_ranks(values)
    centered = ranks - ranks.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centered, axis=1, keepdims=True)
    return centered / np.where(norm > 0, norm, 1.0)


def _mean_spearman(values: np.ndarray) -> float:
    """Mean rank correlation of two raters; raters that hold all items equal are left out."""
    unit = unit_ranks(values)
    unit = unit[(unit != 0).any(axis=1)]
    number = len(unit)
    # Σ_{i≠j} u_i·u_j = |Σ_i u_i|² - n.
    return float((np.square(unit.sum(axis=0)).sum() - number) / (number * (number - 1))) if number > 1 else 0.0
