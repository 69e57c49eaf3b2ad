"""The paper's claims as planned comparisons: fixed here, never chosen by their results."""

from dataclasses import dataclass
from typing import Literal

# The system that stands for ours against others: fixed here beforehand, never picked from test results.
BEST = "model-1-best"
BASELINE = "opensmile-compare-svm"
# "Adds little" means a difference in UA of at most this.
LITTLE = 0.02

Expected = Literal["higher", "lower", "little"]


@dataclass(frozen=True)
class Comparison:
    """One planned comparison of two systems on one condition.

    Args:
        name: Short name, such as `2b`, unique within its claim and family.
        claim: The claim that it is a part of.
        family: Comparisons whose p values are corrected together.
        condition: Name of the condition.
        first: One system.
        second: The other; differences are first − second.
        metric: `"ua"` or `"wa"`.
        expected: What the claim says of the difference: `"higher"` than 0, `"lower"`, or `"little"`, at most 2 points
            either way.
        paper_condition: The condition of the paper that this one stands for; `None` if there is none.
    """

    name: str
    claim: str
    family: str
    condition: str
    first: str
    second: str
    metric: Literal["ua", "wa"]
    expected: Expected
    paper_condition: str | None = None


CLAIMS = {
    "1": "Where the words do not go with the emotion, the acoustic model leads and linguistic features add little.",
    "2": "Where the words go with the emotion, the linguistic model leads the acoustic one.",
    "2b": "Where the words go with the emotion, fusion leads the acoustic model.",
    "3": "On both together, fusion has the best UA of the single models.",
    "4": "Downsampling + ensembling trades WA for UA.",
    "best": f"The system chosen beforehand, {BEST}, leads {BASELINE}.",
}


def paper_claims(corpus: str, improvised: str, scripted: str, both: str, imbalanced: str) -> tuple[Comparison, ...]:
    """Plan the comparisons of claims 1, 2, 2b, 3 and 4 on a corpus.

    Args:
        corpus: For the names of the families.
        improvised: Condition in which the words tell nothing, or little, of the emotion.
        scripted: Condition in which the words go with the emotion.
        both: Both together.
        imbalanced: Condition with classes of unequal size.

    Returns:
        The comparisons, in two families: those of streams, and that of imbalance.
    """
    streams, imbalance = f"{corpus}, streams", f"{corpus}, imbalance"
    paper = ("iemocap-improvised", "iemocap-scripted", "iemocap-both")
    return (
        Comparison("1, leads", "1", streams, improvised, "model-1", "model-2", "ua", "higher", paper[0]),
        Comparison("1, adds little", "1", streams, improvised, "model-3", "model-1", "ua", "little", paper[0]),
        Comparison("2", "2", streams, scripted, "model-2", "model-1", "ua", "higher", paper[1]),
        Comparison("2b", "2b", streams, scripted, "model-3", "model-1", "ua", "higher", paper[1]),
        Comparison("3, over acoustic", "3", streams, both, "model-3", "model-1", "ua", "higher", paper[2]),
        Comparison("3, over linguistic", "3", streams, both, "model-3", "model-2", "ua", "higher", paper[2]),
        Comparison("4, UA", "4", imbalance, imbalanced, "model-1-ensemble", "model-1", "ua", "higher", paper[0]),
        Comparison("4, WA", "4", imbalance, imbalanced, "model-1-ensemble", "model-1", "wa", "lower", paper[0]),
    )


# ASED has no improvised speech. Its two sentences that are said in every emotion stand for it, its sentences that
# belong to one emotion each for scripted speech, the whole corpus for both.
PLANNED: tuple[Comparison, ...] = (
    *paper_claims("ASED", "ased-common", "ased-own", "ased", "ased-imbalanced"),
    *paper_claims("IEMOCAP", "iemocap-improvised", "iemocap-scripted", "iemocap-both", "iemocap-improvised"),
    *(
        Comparison(f"best on {condition}", "best", "baseline", condition, BEST, BASELINE, "ua", "higher")
        for condition in ("emodb", "ravdess", "ased")
    ),
)

__all__ = ["BASELINE", "BEST", "CLAIMS", "LITTLE", "PLANNED", "Comparison", "Expected", "paper_claims"]
