"""Confidence intervals of means over speakers, and over pairs of speakers, by resampling speakers.

Clips of one speaker are alike, so intervals that treat clips as independent are too narrow; speakers are what another
corpus would have others of. A resample draws as many speakers as there are, with replacement. All that is needed of it
is how often each speaker was drawn, c_s, and every statistic here is a function of these counts, computed for all
resamples at once. `speech_emotion.evaluation.speaker_bootstrap` is the same for UA and its kin.
"""

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95


def speaker_counts(num_speakers: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Draw how often each speaker is in each resample.

    Source: Efron, 1979.

    >>> speaker_counts(3, resamples=2).sum(axis=1).tolist()
    [3, 3]
    """
    if num_speakers < 1 or resamples < 1:
        raise ValueError(f"At least one speaker and one resample are needed, not {num_speakers} and {resamples}.")
    random = np.random.default_rng(seed)
    return random.multinomial(num_speakers, np.full(num_speakers, 1 / num_speakers), size=resamples)


def with_interval(estimate: np.ndarray | float, resampled: np.ndarray) -> np.ndarray:
    """Put an estimate beside the percentiles of its resamples.

    >>> with_interval(0.5, np.linspace(0, 1, 101)).round(6).tolist()
    [0.5, 0.025, 0.975]
    """
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(resampled, [tail, 1 - tail], axis=0)
    return np.stack([np.asarray(estimate, dtype=np.float64), low, high])


def mean_over_speakers(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average over the speakers of each resample: Σ_s c_s x_s / Σ_s c_s.

    >>> mean_over_speakers(np.array([1.0, 4.0]), np.array([[1, 1], [2, 0]])).tolist()
    [2.5, 1.0]
    """
    return np.tensordot(counts / counts.sum(axis=1, keepdims=True), values, axes=1)


def mean_over_pairs(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average over the pairs of different speakers of each resample: Σ_{s<t} c_s c_t x_st / Σ_{s<t} c_s c_t.

    >>> values = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 6.0], [2.0, 6.0, 0.0]])
    >>> mean_over_pairs(values, np.array([[1, 1, 1], [2, 1, 0]])).tolist()
    [3.0, 1.0]
    """
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


__all__ = [
    "mean_over_pairs",
    "mean_over_speakers",
    "numbered",
    "speaker_counts",
    "with_interval",
]
