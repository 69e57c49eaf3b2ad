"""IEMOCAP's text files: what the raters heard in each utterance, and its words."""

import re
from pathlib import Path
from typing import Any, NamedTuple

NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
# [6.2901 - 8.2357]<TAB>Ses01F_impro01_F000<TAB>neu<TAB>[2.5000, 2.5000, 2.5000]
UTTERANCE = re.compile(rf"\[{NUMBER}-{NUMBER}\]\s+(\S+)\s+(\w+)\s+\[{NUMBER},{NUMBER},{NUMBER}\]")
# C-E2:<TAB>Neutral; Anger;<TAB>(curious)
CATEGORIES = re.compile(r"C-(\w+):\s*([^()]*?);?\s*(?:\(.*)?")
# Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
WORDS = re.compile(r"(Ses\S+)\s+\[[^\]]*\]:?\s*(.*)")


class Evaluation(NamedTuple):
    """What the raters heard in an utterance."""

    label: str  # that most raters agree on, "xxx" where there is none
    start: float  # s, in the dialogue
    end: float  # s
    valence: float  # means over the raters, 1 to 5
    arousal: float
    dominance: float
    ratings: list[dict[str, Any]]  # rater, and the labels that this rater gave


def read_evaluations(path: Path) -> dict[str, Evaluation]:
    """Read a dialogue's file in ``EmoEvaluation``."""
    found: dict[str, Evaluation] = {}
    current = None
    for number, line in enumerate(_read_lines(path), start=1):
        line = line.strip()
        if line.startswith("["):
            match = UTTERANCE.fullmatch(line)
            if match is None:
                raise ValueError(
                    f"{path}, line {number}: cannot read the utterance {line[:120]!r}. Fetch the file anew"
                )
            start, end, utterance, label, *means = match.groups()
            current = Evaluation(label.lower(), float(start), float(end), *map(float, means), [])
            if utterance in found and found[utterance][:-1] != current[:-1]:
                raise ValueError(f"{path}, line {number}: {utterance} occurs twice and differs. Fetch the file anew")
            found[utterance] = current
        elif current is not None and (match := CATEGORIES.fullmatch(line)):
            labels = [label.strip() for label in match[2].split(";")]
            current.ratings.append({"rater": match[1], "labels": [label for label in labels if label]})
    return found


def read_transcripts(path: Path) -> dict[str, str]:
    """Read a dialogue's file in ``transcriptions``."""
    matches = (WORDS.fullmatch(line.strip()) for line in _read_lines(path))
    return {match[1]: match[2].strip() for match in matches if match}


def _read_lines(path: Path) -> list[str]:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")  # an apostrophe or two, written on Windows
    return text.splitlines()
