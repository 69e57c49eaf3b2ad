"""Parts of a corpus that ask one question each, cut out of the folds of the whole."""

from collections.abc import Iterable, Mapping, Sequence

import datasets
import numpy as np

from dataset_scripts import Fold
from dataset_scripts.ased import COMMON_SENTENCES

# IEMOCAP's improvised utterances, the proportions in which the paper trains and tests.
IMPROVISED = {"anger": 289, "happiness": 284, "neutral": 1099, "sadness": 608}
DRAW_SEED = 0


def part_of_corpus(rows: datasets.Dataset, folds: Sequence[Fold], part: str) -> set[str]:
    """Select the clips of a part of ASED."""
    ids, sentences = rows["id"][:], rows["sentence"][:]
    if part == "common":
        return {clip for clip, sentence in zip(ids, sentences, strict=True) if sentence in COMMON_SENTENCES}
    if part == "own":
        return {clip for clip, sentence in zip(ids, sentences, strict=True) if sentence not in COMMON_SENTENCES}
    if part == "imbalanced":
        label_of = dict(zip(ids, rows["label"][:], strict=True))
        return draw_in_proportion([fold.test for fold in folds], label_of, IMPROVISED, DRAW_SEED)
    raise ValueError(f"There is no part {part!r} of a corpus; choose common, own or imbalanced.")


def draw_in_proportion(
    groups: Iterable[Sequence[str]], label_of: Mapping[str, str], proportions: Mapping[str, int], seed: int
) -> set[str]:
    """Draw clips of each class, group by group, as many as the proportions allow.

    >>> labels = {"a": "anger", "b": "anger", "c": "fear", "d": "fear"}
    >>> sorted(draw_in_proportion([list(labels)], labels, {"anger": 1, "fear": 2}, seed=0))
    ['b', 'c', 'd']
    """
    drawn: set[str] = set()
    for number, group in enumerate(groups):
        clips_of = {label: sorted(clip for clip in group if label_of[clip] == label) for label in proportions}
        scale = min(len(clips_of[label]) / share for label, share in proportions.items())
        for index, (label, share) in enumerate(proportions.items()):
            if not clips_of[label]:
                raise ValueError(f"Group {number} of the speakers has no clip of {label} to draw.")
            size = max(1, round(scale * share))
            drawn.update(np.random.default_rng([seed, number, index]).choice(clips_of[label], size, replace=False))
    return set(map(str, drawn))
