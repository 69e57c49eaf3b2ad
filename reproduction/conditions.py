"""What the paper's systems are compared on: corpora, parts of ASED that stand for IEMOCAP's, and IEMOCAP itself."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from speech_emotion.cross_validation import corpus_conditions
from speech_emotion.cross_validation.corpus_conditions import CorpusCondition

CONDITIONS_FILE = Path(__file__).with_name("conditions.toml")


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
        found[name] = PaperCondition(
            _clips(name, entry), entry["title"], entry["note"], entry.get("holds_words", False)
        )
    return found


def _clips(name: str, entry: dict[str, Any]) -> CorpusCondition:
    from .condition_parts import part_of_corpus

    corpus = entry.get("corpus", name)
    usual = corpus_conditions.make_condition(corpus)
    part = entry.get("part")
    return CorpusCondition(
        name,
        corpus,
        entry.get("config"),
        tuple(entry["labels"]) if "labels" in entry else None,
        usual.scheme,
        usual.num_folds,
        part,
        None if part is None else partial(part_of_corpus, part=part),
    )


def get_condition(name: str) -> CorpusCondition:
    """Find a condition of the paper, or one of any corpus.

    >>> get_condition("ased-common-7-fold").num_folds, get_condition("iemocap-both").scheme
    (7, 'leave-one-session-out')
    """
    known = {name: condition.clips for name, condition in read_conditions().items()}
    return corpus_conditions.get_condition(name, known=known)


def condition_title(name: str) -> str:
    """Return what a condition is called.

    >>> condition_title("ased-own"), condition_title("polish")
    ('ASED, own sentences', 'polish')
    """
    return read_conditions()[name].title if name in read_conditions() else name


def condition_order(names: Iterable[str]) -> list[str]:
    """Sort conditions: the paper's in reading order, then others by name.

    >>> condition_order(["polish", "ased-own", "emodb"])
    ['emodb', 'ased-own', 'polish']
    """
    known = list(read_conditions())
    return sorted(names, key=lambda name: (known.index(name) if name in known else len(known), name))
