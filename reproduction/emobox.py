"""EmoBox's own folds, so that its published figures can be stood beside ours."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dataset_scripts import Fold

if TYPE_CHECKING:
    import datasets

FOLDS_FILE = Path(__file__).with_name("emobox_folds.json")
NAME = "EmoBox"
VALIDATION = 1 / 5  # of the training clips
DRAW_SEED = 0


@cache
def read_emobox() -> dict[str, Any]:
    """Read the folds of every corpus: source, commit and license, and by corpus whom or what each fold tests."""
    return json.loads(FOLDS_FILE.read_text(encoding="utf-8"))


def shares_speakers(corpus: str) -> bool:
    """Tell whether the folds of a corpus train and test the same speakers: those that are lists of clips do."""
    return "clips" in read_emobox()["corpora"][corpus]["tested"]


def emobox_folds(rows: "datasets.Dataset", corpus: str) -> list[Fold]:
    """Divide a corpus as EmoBox does; what a fold does not test, it trains or validates.

    Validation, which EmoBox leaves open, is about a fifth of its training clips. Where its folds are of speakers, they
    are those that the next fold tests; else takes, drawn class by class.

    Source: Ma et al., "EmoBox: Multilingual Multi-corpus Speech Emotion Recognition Toolkit and Benchmark",
        Interspeech 2024; its folds, MIT license, by `emobox_folds.json`.
    """
    known = read_emobox()["corpora"][corpus]
    columns = [rows[name][:] for name in ("label", "speaker", "sentence")]
    takes = dict(zip(rows["id"][:], zip(*columns, strict=True), strict=True))
    ((by, listed),) = known["tested"].items()
    if by == "speakers":
        tested = [{clip for clip, (_, speaker, _) in takes.items() if speaker in names} for names in listed]
    else:
        tested = [set(names) for names in listed]
    digest = _digest(takes, tested)
    if digest != known["sha256"]:
        lacking = sorted(set().union(*tested) - takes.keys())
        raise ValueError(
            f"{NAME}'s folds of {corpus} are of {known['clips']} clips, and here are {len(takes)}"
            f"{f', without {lacking[0]!r}' if lacking else ''}. They can only be taken with the whole corpus."
        )
    folds = []
    for number, (test, following) in enumerate(pairwise([*tested, tested[0]])):
        rest = {clip: take for clip, take in takes.items() if clip not in test}
        validation = following if by == "speakers" else draw_share(rest, VALIDATION, (DRAW_SEED, number))
        parts = ([clip for clip in takes if clip in part] for part in (rest.keys() - validation, validation, test))
        folds.append(Fold(*map(tuple, parts), name=f"{NAME}-{number + 1}"))
    return folds


def draw_share(take_of: Mapping[str, tuple[str, ...]], share: float, seed: Sequence[int]) -> set[str]:
    """Draw a share of the clips of each class, repetitions of a take together: some are the same recording.

    A clip's take begins with its class. The share is reached, and passed by less than a take.

    >>> take_of = {f"{label}{number}": (label, str(number // 2)) for label in "xy" for number in range(10)}
    >>> sorted(draw_share(take_of, 0.2, (0, 1)))
    ['x2', 'x3', 'y0', 'y1']
    """
    clips_of: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for clip, take in sorted(take_of.items()):
        clips_of.setdefault(take[0], {}).setdefault(take, []).append(clip)
    drawn: set[str] = set()
    for index, label in enumerate(sorted(clips_of)):
        takes = sorted(clips_of[label])
        size = share * sum(map(len, clips_of[label].values()))
        chosen: list[str] = []
        for place in np.random.default_rng([*seed, index]).permutation(len(takes)):
            if len(chosen) < size:
                chosen += clips_of[label][takes[place]]
        drawn.update(chosen)
    return drawn


def _digest(clips: dict[str, Any], tested: Sequence[set[str]]) -> str:
    """A hash over all that EmoBox lists: fold, part and clip, a line each, sorted."""
    lines = [
        f"fold_{number}\t{'test' if clip in test else 'train'}\t{clip}"
        for number, test in enumerate(tested, 1)
        for clip in {*clips, *test}
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
