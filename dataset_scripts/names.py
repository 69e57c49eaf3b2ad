"""Names of emotions, people and clips: one vocabulary, one spelling, one order, one way to list a few of them."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence

from feature_extraction.safe_text import printable

LABELS = (
    "anger", "boredom", "calm", "disgust", "excitement", "fear", "frustration", "happiness", "neutral",
    "sadness", "surprise", "other",
)  # fmt: skip
"""The house vocabulary: all emotions a clip's ``label`` may have, whatever its corpus calls them."""

FOUR_LABELS = ("anger", "happiness", "neutral", "sadness")
"""The four classes of most published figures; ``label4`` is ``None`` for every other emotion."""

# What people call emotions when they name folders.
SYNONYMS = {label: label for label in LABELS} | {
    "afraid": "fear", "angry": "anger", "bored": "boredom", "disgusted": "disgust", "excited": "excitement",
    "fearful": "fear", "frustrated": "frustration", "happy": "happiness", "joy": "happiness", "sad": "sadness",
    "scared": "fear", "surprised": "surprise",
}  # fmt: skip


def spelled(name: str) -> str:
    r"""Write a name in one way: accents with their letters (NFC), as most systems do and macOS's tools do not.

    >>> len("Zoe\u0308"), len(spelled("Zoe\u0308"))
    (4, 3)
    """
    return unicodedata.normalize("NFC", name)


def name_key(name: str) -> str:
    """Return what is equal for two names that can only be meant for one: however they are spelled, cased and spaced.

    >>> name_key("Anna") == name_key(" anna "), name_key("Anna") == name_key("Anne")
    (True, False)
    """
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts ``m2`` before ``m10``.

    >>> sorted(["m10", "m2", "f1"], key=natural_order)
    ['f1', 'm2', 'm10']
    """
    parts = (part for part in re.split(r"(\d+)", str(name)) if part)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def first_few(names: Iterable[object], separator: str = ", ") -> str:
    """Join at most three names for a message, without what would command a terminal.

    >>> first_few("abcd")
    'a, b, c, …'
    """
    names = [printable(name) for name in names]
    return separator.join([*names[:3], "…"] if len(names) > 3 else names)


def house_label(name: str) -> str:
    """Translate a label of the user's into the house vocabulary; one that is not in it stays as it is.

    >>> house_label("Angry"), house_label("contempt")
    ('anger', 'contempt')
    """
    return SYNONYMS.get(name_key(name), spelled(name).strip())


def as_in_corpus(labels: Sequence[str], present: Collection[str]) -> list[str]:
    """Name emotions as a corpus does, where the user says them in other words.

    >>> as_in_corpus(["angry", "zeal"], {"anger", "zeal"})
    ['anger', 'zeal']
    """
    found = [label if label in present else house_label(label) for label in labels]
    unknown = sorted(given for given, label in zip(labels, found, strict=True) if label not in present)
    if unknown:
        absent, there = (", ".join(map(printable, names)) for names in (unknown, sorted(present)))
        raise ValueError(f"The corpus has no clips labelled {absent}; it has {there}.")
    return found
