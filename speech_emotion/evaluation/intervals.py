"""Confidence intervals by resampling speakers.

Clips of one speaker are alike, so intervals that treat clips as independent are too narrow; speakers are what another
corpus would have others of. A resample draws as many speakers as there are, with replacement. All that is needed of it
is how often each speaker was drawn, and every figure here is computed from these numbers for all resamples at once.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13 (percentile interval).
"""

from dataclasses import dataclass

import numpy as np

from .metrics import CountMetric, ua

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure and its confidence interval."""

    value: float  # the figure on the clips as they are
    low: float  # lower end of the interval
    high: float  # upper end


def speaker_bootstrap(
    counts: np.ndarray, metric: CountMetric = ua, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Estimate how far a figure would vary with other speakers, from their counts (speakers, true, predicted)."""
    return _estimate(metric(counts.sum(axis=0)), metric(_resampled(counts, resamples, seed)))


def speaker_bootstrap_difference(first: np.ndarray, second: np.ndarray, metric: CountMetric = ua) -> Estimate:
    """Estimate the difference of two systems on the same speakers: first − second."""
    if first.shape != second.shape:
        raise ValueError(
            f"The same speakers are needed for both systems; the counts are {first.shape}, {second.shape}."
        )
    drawn = metric(_resampled(first)) - metric(_resampled(second))
    return _estimate(metric(first.sum(axis=0)) - metric(second.sum(axis=0)), drawn)


def speaker_counts(num_speakers: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Draw how often each speaker is in each resample, (resamples, speakers).

    >>> speaker_counts(3, resamples=2).sum(axis=1).tolist()
    [3, 3]
    """
    if num_speakers < 1 or resamples < 1:
        raise ValueError(f"At least one speaker and one resample are needed, not {num_speakers} and {resamples}.")
    random = np.random.default_rng(seed)
    return random.multinomial(num_speakers, np.full(num_speakers, 1 / num_speakers), size=resamples)


def with_interval(estimate: np.ndarray | float, resampled: np.ndarray) -> np.ndarray:
    """Put an estimate beside the percentiles of its resamples: (3, ...).

    >>> with_interval(0.5, np.linspace(0, 1, 101)).round(6).tolist()
    [0.5, 0.025, 0.975]
    """
    low, high = np.nanquantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return np.stack([np.asarray(estimate, dtype=np.float64), low, high])


def mean_over_speakers(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average over the speakers of each resample: Σ_s c_s x_s / Σ_s c_s."""
    return np.tensordot(counts / counts.sum(axis=1, keepdims=True), values, axes=1)


def mean_over_pairs(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average over the pairs of different speakers of each resample: Σ_{s<t} c_s c_t x_st / Σ_{s<t} c_s c_t."""
    speakers = len(values)
    apart = 1.0 - np.eye(speakers)
    flat = values.reshape(speakers, speakers, -1) * apart[..., None]  # (speakers, speakers, n)
    weights = counts.astype(np.float64)
    total = np.stack(
        [((weights @ flat[..., n]) * weights).sum(axis=1) for n in range(flat.shape[-1])], axis=1
    )  # (resamples, n)
    pairs = ((weights @ apart) * weights).sum(axis=1)  # (resamples,)
    mean = total / np.where(pairs > 0, pairs, np.nan)[:, None]
    return mean.reshape(len(counts), *values.shape[2:])


def numbered(names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Number speakers in alphabetical order.

    >>> numbered(["b", "a", "b"])
    (array([1, 0, 1]), ['a', 'b'])
    """
    speakers, numbers = np.unique(names, return_inverse=True)
    return numbers, speakers.tolist()


def _resampled(counts: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Return the counts of each resample, (resamples, true, predicted); the same speakers for the same seed."""
    speakers, classes, _ = counts.shape
    if speakers < 2:
        raise ValueError(f"Resampling speakers needs at least 2 of them; there is {speakers}.")
    if not counts.sum(axis=(1, 2)).all():
        raise ValueError("A speaker has no clips; leave it out of the counts.")
    times = speaker_counts(speakers, resamples, seed)
    # As float64, in which whole numbers to 2^53 are exact: a product of integers does not use BLAS.
    drawn = times.astype(np.float64) @ counts.reshape(speakers, -1).astype(np.float64)
    return drawn.reshape(resamples, classes, classes)  # (resamples, true, predicted)


def _estimate(value: np.ndarray, drawn: np.ndarray) -> Estimate:
    return Estimate(*map(float, with_interval(value, drawn)))
