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

    Args:
        name: The label, in any case.

    Returns:
        One of ``LABELS`` where the name is known, else the name itself: users' classes are theirs.

    Example:
        >>> house_label("Angry"), house_label("contempt")
        ('anger', 'contempt')
    """
    return SYNONYMS.get(name_key(name), spelled(name).strip())


def as_in_corpus(labels: Sequence[str], present: Collection[str]) -> list[str]:
    """Name emotions as a corpus does, where the user says them in other words.

    Args:
        labels: Emotions asked for, such as ``angry``.
        present: Labels of the corpus.

    Returns:
        The corpus's labels, in the order asked for.

    Raises:
        ValueError: If the corpus has no clip of one, naming those that it has.

    Example:
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
