"""What people call emotions when they name folders, in the house vocabulary."""

from collections.abc import Collection, Sequence

from .labels import LABELS
from .names import name_key, spelled

SYNONYMS = {
    "angry": "anger",
    "bored": "boredom",
    "disgusted": "disgust",
    "excited": "excitement",
    "fearful": "fear",
    "scared": "fear",
    "afraid": "fear",
    "frustrated": "frustration",
    "happy": "happiness",
    "joy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
} | {label: label for label in LABELS}


def house_label(name: str) -> str:
    """Translate a label of the user's into the house vocabulary.

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
        raise ValueError(
            f"The corpus has no clips labelled {', '.join(unknown)}; it has {', '.join(sorted(present))}."
        )
    return found
