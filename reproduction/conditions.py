"""What systems are compared on: corpora, parts of ASED that stand for IEMOCAP's, EmoBox's folds."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speech_emotion.cross_validation import corpus_conditions
from speech_emotion.cross_validation.corpus_conditions import CorpusCondition

from . import emobox

if TYPE_CHECKING:
    import datasets

    from dataset_scripts import Fold

CONDITIONS_FILE = Path(__file__).with_name("conditions.toml")
# IEMOCAP's improvised utterances, the proportions in which the paper trains and tests.
IMPROVISED = {"anger": 289, "happiness": 284, "neutral": 1099, "sadness": 608}
DRAW_SEED = 0


@dataclass(frozen=True)
class PaperCondition:
    """A condition, and what pages say of it."""

    clips: CorpusCondition
    title: str
    note: str
    holds_words: bool  # whether pages say that the words are in Model-1's input too


@cache
def read_conditions() -> dict[str, PaperCondition]:
    """Read all conditions, in reading order."""
    found = {}
    for name, entry in tomllib.loads(CONDITIONS_FILE.read_text(encoding="utf-8")).items():
        labels = tuple(entry["labels"]) if "labels" in entry else None
        corpus, part, num_folds = entry.get("corpus", name), entry.get("part"), entry.get("num_folds")
        made = corpus_conditions.make_condition(corpus, entry.get("config"), labels, num_folds=num_folds)
        if entry.get("emobox", False):
            divide, sharing = partial(emobox.emobox_folds, corpus=corpus), emobox.shares_speakers(corpus)
            given = {"given": emobox.NAME, "divide": divide, "shares_speakers": sharing}
            condition = replace(made, name=name, scheme=None, num_folds=None, **given)
        else:
            select = partial(select_part, part=part) if part else None
            condition = replace(made, name=name, part=part, select=select)
        found[name] = PaperCondition(condition, entry["title"], entry["note"], entry.get("holds_words", False))
    return found


def get_condition(name: str) -> CorpusCondition:
    """Find a condition of the paper, or any that the library knows by its name."""
    known = {known: one.clips for known, one in read_conditions().items()}
    return corpus_conditions.get_condition(name, known=known)


def condition_title(name: str) -> str:
    """Return what a condition is called.

    >>> condition_title("ased-own"), condition_title("tess")
    ('ASED, own sentences', 'tess')
    """
    return read_conditions()[name].title if name in read_conditions() else name


def condition_order(names: Iterable[str]) -> list[str]:
    """Sort conditions: the paper's in reading order, then others by name.

    >>> condition_order(["tess", "ased-own", "emodb"])
    ['emodb', 'ased-own', 'tess']
    """
    known = list(read_conditions())
    return sorted(names, key=lambda name: (known.index(name) if name in known else len(known), name))


def select_part(rows: datasets.Dataset, folds: Sequence[Fold], part: str) -> set[str]:
    """Select the clips of a part of ASED: `common`, `own` or `imbalanced`."""
    from dataset_scripts.ased import COMMON_SENTENCES

    if part == "imbalanced":
        label_of = dict(zip(rows["id"][:], rows["label"][:], strict=True))
        return draw_in_proportion([fold.test for fold in folds], label_of, IMPROVISED, DRAW_SEED)
    common = part == "common"
    clips = zip(rows["id"][:], rows["sentence"][:], strict=True)
    return {clip for clip, sentence in clips if (sentence in COMMON_SENTENCES) == common}


def draw_in_proportion(
    groups: Iterable[Sequence[str]], label_of: Mapping[str, str], proportions: Mapping[str, int], seed: int
) -> set[str]:
    """Draw clips of each class, group by group, as many as the proportions allow."""
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
