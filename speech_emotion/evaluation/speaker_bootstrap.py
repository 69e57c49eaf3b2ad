"""Confidence intervals by resampling speakers."""

from dataclasses import dataclass

import numpy as np

from .count_metrics import CountMetric, ua


@dataclass(frozen=True)
class Estimate:
    """A figure and its confidence interval."""

    value: float  # the figure on the clips as they are
    low: float  # lower end of the interval
    high: float  # upper end


def speaker_bootstrap(
    counts: np.ndarray, metric: CountMetric = ua, resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> Estimate:
    """Estimate how far a figure would vary with other speakers.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13 (percentile interval).

    >>> estimate = speaker_bootstrap(np.array([[[3, 1], [0, 4]], [[2, 2], [1, 3]]]))
    >>> estimate.value, estimate.low, estimate.high
    (0.75, 0.625, 0.875)
    """
    drawn = metric(_resampled(counts, resamples, seed))
    return _estimate(float(metric(counts.sum(axis=0))), drawn, level)


def speaker_bootstrap_difference(
    first: np.ndarray,
    second: np.ndarray,
    metric: CountMetric = ua,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Estimate the difference of two systems: first − second.

    >>> counts = np.array([[[3, 1], [0, 4]], [[2, 2], [1, 3]]])
    >>> speaker_bootstrap_difference(counts, counts)
    Estimate(value=0.0, low=0.0, high=0.0)
    """
    if first.shape != second.shape:
        raise ValueError(
            f"The same speakers are needed for both systems; the counts are {first.shape}, {second.shape}."
        )
    drawn = metric(_resampled(first, resamples, seed)) - metric(_resampled(second, resamples, seed))
    return _estimate(float(metric(first.sum(axis=0)) - metric(second.sum(axis=0))), drawn, level)


def _resampled(counts: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Return the counts of each resample, (resamples, classes, classes); the same speakers for the same seed."""
    speakers, classes, _ = counts.shape
    if speakers < 2:
        raise ValueError(f"Resampling speakers needs at least 2 of them; there is {speakers}.")
    if not counts.sum(axis=(1, 2)).all():
        raise ValueError("A speaker has no clips; leave it out of the counts.")
    times = np.random.default_rng(seed).multinomial(speakers, np.full(speakers, 1 / speakers), size=resamples)
    # As float64, in which whole numbers to 2^53 are exact: a product of integers does not use BLAS.
    drawn = times.astype(np.float64) @ counts.reshape(speakers, -1).astype(np.float64)
    return drawn.reshape(resamples, classes, classes)  # (resamples, true, predicted)


def _estimate(value: float, drawn: np.ndarray, level: float) -> Estimate:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))


__all__ = ["Estimate", "speaker_bootstrap", "speaker_bootstrap_difference"]
