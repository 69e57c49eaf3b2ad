"""Divide speakers into groups of like size, classes and sexes."""

import random
from collections import Counter
from collections.abc import Iterable

import numpy as np

from .fold_checks import Clip
from .names import natural_order

BALANCED_WITHIN = 0.05


def balanced_groups(clips: Iterable[Clip], k: int, seed: int = 0) -> list[list[str]]:
    """Divide the speakers into k groups, sorted within groups and by each group's first speaker.

    Consecutive blocks of the sorted speakers are taken where they are as good as balanced: of equal size, and each
    with its k-th part of every class and sex to within 5 %. That gives corpora whose speakers were numbered to a plan
    the folds that the field uses, and a few missing clips do not change them.

    Otherwise the sum over groups of the mean square distances of their shares of each class and sex from 1/k is made
    small: speakers are placed one by one, those with most clips first (the seed orders equals), where the sum grows
    least; then pairs are exchanged for as long as that lowers it.
    """
    clips = list(clips)
    speakers = sorted({clip.speaker for clip in clips}, key=natural_order)
    shares = _shares(clips, speakers)  # (speakers, classes + sexes)
    if len(speakers) % k == 0:
        size = len(speakers) // k
        blocks = shares.reshape(k, size, -1).sum(axis=1)  # (groups, classes + sexes)
        if np.abs(blocks * k - 1).max() <= BALANCED_WITHIN:
            return [speakers[start : start + size] for start in range(0, len(speakers), size)]
    weighted = shares * _weights(clips)
    group_of = _exchange(weighted, _place(weighted, clips, speakers, k, seed))
    groups = [[speaker for speaker, group in zip(speakers, group_of, strict=True) if group == g] for g in range(k)]
    return sorted(groups, key=lambda group: natural_order(group[0]))


def _shares(clips: list[Clip], speakers: list[str]) -> np.ndarray:
    """Each speaker's share of the clips of each class and of the speakers of each sex."""
    labels = sorted({clip.label for clip in clips}, key=str)
    sex_of = {clip.speaker: clip.sex for clip in clips}
    sexes = sorted(set(sex_of.values()), key=str)
    spoken = Counter((clip.speaker, clip.label) for clip in clips)
    counts = np.array(
        [
            [spoken[speaker, label] for label in labels] + [float(sex_of[speaker] == sex) for sex in sexes]
            for speaker in speakers
        ]
    )
    return counts / counts.sum(axis=0)  # (speakers, classes + sexes)


def _weights(clips: list[Clip]) -> np.ndarray:
    """Square roots of the weights that turn sums over classes and over sexes into means."""
    classes = len({clip.label for clip in clips})
    sexes = len({clip.sex for clip in clips})
    return np.sqrt([1 / classes] * classes + [1 / sexes] * sexes)


def _place(shares: np.ndarray, clips: list[Clip], speakers: list[str], k: int, seed: int) -> np.ndarray:
    """Place speakers one by one where the sum of squares grows least."""
    size = Counter(clip.speaker for clip in clips)
    order = list(range(len(speakers)))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda index: -size[speakers[index]])
    totals = np.zeros((k, shares.shape[1]))  # (groups, classes + sexes)
    group_of = np.zeros(len(speakers), dtype=int)
    for index in order:
        # |t + x|² - |t|² = 2 t·x + |x|²: the 1/k of the objective is the same for all groups, as is |x|².
        # Empty groups first: their product is 0, and so may be that of a group with other classes and sexes only.
        empty = np.flatnonzero(~totals.any(axis=1))
        group_of[index] = empty[0] if len(empty) else np.argmin(totals @ shares[index])
        totals[group_of[index]] += shares[index]
    return group_of


def _exchange(shares: np.ndarray, group_of: np.ndarray) -> np.ndarray:
    """Exchange the pair that lowers the sum of squares most, until none does."""
    group_of = group_of.copy()
    totals = np.zeros((group_of.max() + 1, shares.shape[1]))  # (groups, classes + sexes)
    np.add.at(totals, group_of, shares)
    while True:
        best, pair = -1e-12, None
        for a in range(len(shares)):
            step = shares - shares[a]  # (speakers, classes + sexes), what a's group gains when a goes and b comes
            gap = totals[group_of[a]] - totals[group_of]
            growth = np.where(group_of == group_of[a], 0.0, 2 * (step * gap).sum(axis=1) + 2 * (step**2).sum(axis=1))
            b = int(np.argmin(growth))
            if growth[b] < best:
                best, pair = growth[b], (a, b)
        if pair is None:
            return group_of
        a, b = pair
        totals[group_of[a]] += shares[b] - shares[a]
        totals[group_of[b]] += shares[a] - shares[b]
        group_of[a], group_of[b] = group_of[b], group_of[a]
