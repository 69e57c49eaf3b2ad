"""Which training clips stand for which class: undersampled to the rarest class, or oversampled to the largest."""

from collections.abc import Sequence

import numpy as np


def undersample(labels: Sequence[int], seed: int | Sequence[int]) -> np.ndarray:
    """Draw from every class, without replacement, as many clips as the rarest has.

    Source: slides of Bhosale et al., ICASSP 2020, "downsampling + ensembling"; that the rarest class sets the number
        is our reading.

    >>> undersample([0, 0, 0, 1], seed=0).tolist()
    [2, 3]
    """
    clips_of = _clips_of_classes(labels)
    size = min(map(len, clips_of))
    random = np.random.default_rng(seed)
    return np.sort(np.concatenate([random.choice(clips, size, replace=False) for clips in clips_of]))


def oversample(labels: Sequence[int], seed: int | Sequence[int]) -> np.ndarray:
    """Repeat the clips of every class until it has as many as the largest.

    >>> oversample([0, 0, 0, 1], seed=0).tolist()
    [0, 1, 2, 3, 3, 3]
    """
    clips_of = _clips_of_classes(labels)
    size = max(map(len, clips_of))
    random = np.random.default_rng(seed)
    drawn = []
    for clips in clips_of:
        times, rest = divmod(size, len(clips))
        drawn += [np.repeat(clips, times), random.choice(clips, rest, replace=False)]
    return np.sort(np.concatenate(drawn))


def _clips_of_classes(labels: Sequence[int]) -> list[np.ndarray]:
    """Indices of the clips of each class that occurs."""
    classes = np.asarray(labels)
    if classes.ndim != 1 or not len(classes):
        raise ValueError(f"There must be a class for each clip, and at least one clip; the shape is {classes.shape}.")
    return [np.flatnonzero(classes == label) for label in np.unique(classes)]


__all__ = ["oversample", "undersample"]
