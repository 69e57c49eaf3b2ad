"""What people call emotions when they name folders, in the house vocabulary."""

from .labels import LABELS

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
    return SYNONYMS.get(name.strip().lower(), name.strip())
