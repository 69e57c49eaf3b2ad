"""The planned comparisons carried out: differences, intervals, p values, and what they say of the claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from speech_emotion.cross_validation.fold_results import differences
from speech_emotion.cross_validation.named_settings import NAMED
from speech_emotion.cross_validation.score_table import SystemScores, check_same_clips, find_system
from speech_emotion.cross_validation.titles import system_title
from speech_emotion.evaluation.intervals import Estimate, speaker_bootstrap_difference
from speech_emotion.evaluation.metrics import COUNT_METRICS
from speech_emotion.evaluation.significance import (
    McNemarResult,
    holm,
    mcnemar,
    speaker_figures,
    wilcoxon_over_speakers,
)

from .planned_comparisons import LITTLE, OURS, PLANNED, Comparison, Expected

Outcome = Literal["supported", "contradicted", "not decided", "not run"]


@dataclass(frozen=True)
class Finding:
    """What a planned comparison gave."""

    comparison: Comparison  # the comparison
    outcome: Outcome  # by the rule of `judge`; `"not run"` if something is missing
    reason: str = ""  # why it was not run, else empty
    difference: Estimate | None = None  # first − second with its 95 % interval; `None` if not run, as all that follows
    speaker_mean: float | None = None
    wilcoxon: float | None = None  # p of Wilcoxon's test of these differences
    holm: float | None = None
    clips: McNemarResult | None = None  # McNemar's test over clips, always of accuracy
    seeds: tuple[int, int] | None = None  # number of seeds of the first and of the second system
    speakers: int | None = None  # number of speakers


def judge(expected: Expected, difference: Estimate) -> Outcome:
    """Decide on a comparison by the 95 % interval of its difference.

    >>> judge("higher", Estimate(0.03, -0.01, 0.07)), judge("little", Estimate(0.003, -0.01, 0.019))
    ('not decided', 'supported')
    """
    low, high = difference.low, difference.high
    if expected == "little":
        within, outside = low >= -LITTLE and high <= LITTLE, low > LITTLE or high < -LITTLE
        return "supported" if within else "contradicted" if outside else "not decided"
    if expected == "lower":
        low, high = -high, -low
    return "supported" if low > 0 else "contradicted" if high < 0 else "not decided"


def evaluate_claims(
    conditions: Mapping[str, Sequence[SystemScores]], planned: Sequence[Comparison] = PLANNED
) -> list[Finding]:
    """Carry out the planned comparisons."""
    findings = [_compare(comparison, conditions.get(comparison.condition, ())) for comparison in planned]
    for family in dict.fromkeys(comparison.family for comparison in planned):
        places = [
            index
            for index, comparison in enumerate(planned)
            if comparison.family == family and comparison.expected != "little"
        ]
        p_values = [findings[place].wilcoxon for place in places]
        adjusted = holm([1.0 if p is None else p for p in p_values])
        for place, p, corrected in zip(places, p_values, adjusted, strict=True):
            if p is not None:
                findings[place] = replace(findings[place], holm=corrected)
    return findings


def claim_outcome(findings: Sequence[Finding]) -> Outcome:
    """Join the parts of a claim: one contradicted part contradicts it, and it is supported if all parts are."""
    outcomes = {finding.outcome for finding in findings}
    if not outcomes:
        raise ValueError("A claim without comparisons has no outcome.")
    order: tuple[Outcome, ...] = ("contradicted", "not run", "not decided", "supported")
    return next(outcome for outcome in order if outcome in outcomes)


def recipe_difference(first: SystemScores, second: SystemScores) -> str:
    """Say how two systems were trained differently, apart from what makes them different systems."""
    records = []
    for system in (first, second):
        settings = next(iter(system.parts.values())).about.get("settings", {}).get("system")
        if not isinstance(settings, Mapping) or settings.get("kind") != "neural":
            return ""
        model = {name: value for name, value in settings["model"].items() if name not in NAMED}
        records.append({"model": model, "training": settings["training"]})
    return "; ".join(differences(*records))


def _compare(comparison: Comparison, systems: Sequence[SystemScores]) -> Finding:
    names = (comparison.first, comparison.second)
    first, second = (find_system(systems, name) for name in names)
    lacking = [name for name, found in zip(names, (first, second), strict=True) if found is None]
    if first is None or second is None:
        return Finding(comparison, "not run", f"no complete seed of {', nor of '.join(map(system_title, lacking))}")
    check_same_clips(first, second)
    otherwise = recipe_difference(first, second)
    if comparison.claim not in OURS and otherwise:
        return Finding(comparison, "not run", f"trained otherwise: {otherwise}")
    if None in first.test.speakers or len(set(first.test.speakers)) < 2:
        return Finding(comparison, "not run", "fewer than 2 known speakers")
    metric = COUNT_METRICS[comparison.metric]
    speakers, of_first = first.test.speaker_seed_counts()  # (seeds, speakers, classes, classes)
    _, of_second = second.test.speaker_seed_counts()
    difference = speaker_bootstrap_difference(of_first.sum(axis=0), of_second.sum(axis=0), metric)
    by_speaker = [speaker_figures(counts, metric) for counts in (of_first, of_second)]
    return Finding(
        comparison,
        judge(comparison.expected, difference),
        difference=difference,
        speaker_mean=float(np.mean(np.subtract(*by_speaker))),
        wilcoxon=wilcoxon_over_speakers(*by_speaker),
        clips=mcnemar(first.test.truth, first.test.predictions, second.test.predictions),
        seeds=(len(first.seeds), len(second.seeds)),
        speakers=len(speakers),
    )


__all__ = ["Finding", "Outcome", "claim_outcome", "evaluate_claims", "judge", "recipe_difference"]
