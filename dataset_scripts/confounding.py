"""Corpora in which who speaks tells what is felt."""

from collections.abc import Iterable

from .fold_rows import Clip, natural_order

MOST_IN_ONE_CLASS = 0.5


def check_confounding(clips: Iterable[Clip]) -> None:
    """Refuse clips most of whose speakers have but one class.

    >>> check_confounding(Clip(f"{s}{e}", s, e) for s, e in (("a", "anger"), ("b", "fear"), ("c", "anger")))
    Traceback (most recent call last):
    ...
    ValueError: Speaker and class are confounded: 3 of 3 speakers have clips of one class only (a: anger; ...
    """
    classes_of: dict[str, set[str]] = {}
    for clip in clips:
        classes_of.setdefault(clip.speaker, set()).add(clip.label)
    if len(set().union(*classes_of.values())) < 2:
        return
    single = sorted((speaker for speaker, labels in classes_of.items() if len(labels) == 1), key=natural_order)
    if len(single) <= MOST_IN_ONE_CLASS * len(classes_of):
        return
    examples = "; ".join(f"{speaker}: {min(classes_of[speaker])}" for speaker in single[:3])
    raise ValueError(
        f"Speaker and class are confounded: {len(single)} of {len(classes_of)} speakers have clips of one class only "
        f"({examples}{'; …' if len(single) > 3 else ''}). Whoever recognizes voices would seem to recognize emotions, "
        "and no split by speaker can tell the two apart. Take a corpus whose speakers speak in several classes, or "
        "leave those speakers out"
    )
