"""What conditions are called, what is to be known of them, and the order in which all is listed."""

from collections.abc import Iterable
from dataclasses import dataclass

from speech_emotion.cross_validation.score_table import SystemScores
from speech_emotion.cross_validation.titles import TITLES, VARIANTS

HEARS_WORDS = (
    "Model-1 hears the words too, as its mel spectrogram holds them: what is compared is not sound with words, but "
    "two ways of hearing both."
)


@dataclass(frozen=True)
class ConditionTitle:
    """What a condition is called."""

    title: str  # its name in headings and tables
    note: str = ""  # what is to be known of it, in a sentence or two; may be empty


# In the order in which they are listed.
CONDITION_TITLES = {
    "emodb": ConditionTitle("EmoDB", "German, acted by ten people. Ten sentences, each said in every emotion."),
    "ravdess": ConditionTitle("RAVDESS", "English, acted. Two sentences, each said in every emotion."),
    "ased": ConditionTitle(
        "ASED, all sentences",
        "Amharic, acted. Two sentences are said in every emotion; each emotion has five more for itself. It stands "
        f"for the paper's condition “both”. {HEARS_WORDS}",
    ),
    "ased-common": ConditionTitle(
        "ASED, common sentences",
        "Amharic, acted. Only the two sentences that are said in every emotion, so that the words tell nothing of it. "
        f"It stands for the paper's improvised speech. {HEARS_WORDS}",
    ),
    "ased-own": ConditionTitle(
        "ASED, own sentences",
        "Amharic, acted. Only the five sentences that each emotion has for itself, so that the words give it away. It "
        f"stands for the paper's scripted speech. {HEARS_WORDS}",
    ),
    "ased-imbalanced": ConditionTitle(
        "ASED, imbalanced",
        "Amharic, acted. Four emotions, drawn in the proportions of IEMOCAP's improvised speech (anger 289, happiness "
        "284, neutral 1099, sadness 608) in training, validation and test alike.",
    ),
    "iemocap-improvised": ConditionTitle("IEMOCAP, improvised", "English, improvised by actors in pairs."),
    "iemocap-scripted": ConditionTitle("IEMOCAP, scripted", f"English, acted from scripts. {HEARS_WORDS}"),
    "iemocap-both": ConditionTitle("IEMOCAP, both", f"English, improvised and scripted. {HEARS_WORDS}"),
}


def condition_title(name: str) -> str:
    """Return what a condition is called.

    >>> condition_title("ased-own"), condition_title("polish")
    ('ASED, own sentences', 'polish')
    """
    return CONDITION_TITLES[name].title if name in CONDITION_TITLES else name


def condition_order(names: Iterable[str]) -> list[str]:
    """Sort conditions: those with titles in their order, the others by name.

    >>> condition_order(["polish", "ased-own", "emodb"])
    ['emodb', 'ased-own', 'polish']
    """
    known = list(CONDITION_TITLES)
    return sorted(names, key=lambda name: (known.index(name) if name in known else len(known), name))


def system_order(systems: Iterable[SystemScores]) -> list[SystemScores]:
    """Sort systems as their titles are listed, each plain one before its variants; the others by name."""

    def place(system: SystemScores) -> tuple[int, list[int], str]:
        bases = [base for base in TITLES if system.system == base or system.system.startswith(f"{base}-")]
        if not bases:
            return len(TITLES), [], system.system
        base = max(bases, key=len)  # "model-3-late" rather than "model-3"
        rest, suffixes = system.system.removeprefix(base), list(VARIANTS)
        found = [suffixes.index(suffix) for suffix in suffixes if f"-{suffix}" in rest]
        # The recipe is told before the way of meeting imbalance.
        return list(TITLES).index(base), sorted(found, reverse=True), system.system

    return sorted(systems, key=place)


__all__ = ["CONDITION_TITLES", "ConditionTitle", "condition_order", "condition_title", "system_order"]
