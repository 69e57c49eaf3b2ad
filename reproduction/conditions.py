"""What the paper's systems are compared on: corpora, parts of ASED that stand for IEMOCAP's, and IEMOCAP itself."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CONDITIONS_FILE = Path(__file__).with_name("conditions.toml")


@dataclass(frozen=True)
class PaperCondition:
    """A condition, and what pages say of it."""

    title: str
    note: str
    holds_words: bool  # whether pages say that the words are in Model-1's input too


@cache
def read_conditions() -> dict[str, PaperCondition]:
    """Read all conditions, in reading order."""
    found = {}
    for name, entry in tomllib.loads(CONDITIONS_FILE.read_text(encoding="utf-8")).items():
        found[name] = PaperCondition(entry["title"], entry["note"], entry.get("holds_words", False))
    return found


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
