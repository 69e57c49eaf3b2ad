"""How results were computed: the commands, and how long that took."""

import shlex
from collections.abc import Sequence

from speech_emotion.evaluation.system_scores import SystemScores


def commands(systems: Sequence[SystemScores]) -> list[str]:
    """Return the commands that compute the scores of some systems.

    Args:
        systems: Gathered from the score files, of one condition or several.

    Returns:
        The commands, one for all conditions with the same systems and seeds; they also compute what is missing.
    """
    by_condition: dict[str, list[SystemScores]] = {}
    for system in systems:
        by_condition.setdefault(system.corpus, []).append(system)
    conditions_of: dict[tuple[tuple[str, ...], tuple[int, ...]], list[str]] = {}
    for condition, found in by_condition.items():
        what = tuple(system.system for system in found), tuple(found[0].planned_seeds)
        conditions_of.setdefault(what, []).append(condition)
    lines = []
    for (names, seeds), conditions in conditions_of.items():
        options = {"--corpora": conditions, "--systems": names, "--seeds": map(str, seeds)}
        words = [word for option, values in options.items() for word in (option, *values)]
        lines.append(shlex.join(["python", "cross_validate.py", *words]))
    return lines


def hours_text(systems: Sequence[SystemScores]) -> str:
    """Say how long the computing of some systems took.

    Args:
        systems: Gathered from the score files.

    Returns:
        A sentence; what the files do not tell is left out.
    """
    parts = [part for system in systems for part in system.parts.values()]
    seconds = [part.about.get("seconds") for part in parts]
    if None in seconds:
        return "How long that took was not noted for every fold."
    threads = sorted({part.about["threads"] for part in parts if "threads" in part.about})
    on = f", each on {' or '.join(map(str, threads))} thread{'s' * (threads != [1])}" if threads else ""
    return f"Computing these {len(parts)} folds took {sum(seconds) / 3600:.1f} hours one after another{on}."


__all__ = ["commands", "hours_text"]
