"""Which training clips stand for which class: undersampled to the rarest class, or oversampled to the largest."""

from collections.abc import Sequence

import numpy as np


def undersample(labels: Sequence[int], seed: int | Sequence[int]) -> np.ndarray:
    """Draw from every class, without replacement, as many clips as the rarest has.

    Args:
        labels: Class of each clip, (clips,).
        seed: Of the draw; a sequence such as `(seed, member)` makes each member of an ensemble draw its own.

    Returns:
        Indices of the clips drawn, ascending, (classes × clips of the rarest class,).

    Raises:
        ValueError: If there are no clips.

    Source: slides of Bhosale et al., ICASSP 2020, "downsampling + ensembling"; that the rarest class sets the number
        is our reading.

    Example:
        >>> undersample([0, 0, 0, 1], seed=0).tolist()
        [2, 3]
    """
    clips_of = _clips_of_classes(labels)
    size = min(map(len, clips_of))
    random = np.random.default_rng(seed)
    return np.sort(np.concatenate([random.choice(clips, size, replace=False) for clips in clips_of]))


def oversample(labels: Sequence[int], seed: int | Sequence[int]) -> np.ndarray:
    """Repeat the clips of every class until it has as many as the largest.

    With M clips in the largest class and n in another, each of its clips occurs ⌊M / n⌋ times, and those that make up
    the rest are drawn without replacement: no clip occurs more than once more often than another of its class.

    Args:
        labels: Class of each clip, (clips,).
        seed: Of the draw.

    Returns:
        Indices of clips, ascending, (classes × clips of the largest class,); every clip occurs.

    Raises:
        ValueError: If there are no clips.

    Example:
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
