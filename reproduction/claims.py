"""Comparisons carried out on scores: differences, intervals, p values, and what they say of the claims."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from speech_emotion.cross_validation.score_table import SystemScores, check_same_clips, find_system
from speech_emotion.cross_validation.system_names import SAID_BY_NAME
from speech_emotion.evaluation.intervals import Estimate, speaker_bootstrap_difference
from speech_emotion.evaluation.metrics import COUNT_METRICS
from speech_emotion.evaluation.significance import (
    McNemarResult,
    holm,
    mcnemar,
    wilcoxon_over_speakers,
)
from speech_emotion.training.run_record import differences

from .claim_plan import Comparison, Expected, read_claims
from .systems import system_title

Outcome = Literal["supported", "contradicted", "not decided", "not run"]


@dataclass(frozen=True)
class Verdict:
    """What a comparison gave."""

    comparison: Comparison
    outcome: Outcome  # by the rule of `judge`; "not run" if something is missing
    reason: str = ""  # why it was not run
    difference: Estimate | None = None  # with its 95 % interval; `None` if not run, as all that follows
    speaker_mean: float | None = None  # mean of the differences in each speaker's own figure
    wilcoxon: float | None = None  # p of Wilcoxon's test of these
    holm: float | None = None  # the same, corrected over the family
    clips: McNemarResult | None = None  # McNemar's test over clips, always of accuracy
    seeds: tuple[int, int] | None = None  # how many of the first and of the second system
    speakers: int | None = None  # how many


def judge(expected: Expected, difference: Estimate) -> Outcome:
    """Decide on a comparison by the 95 % interval of its difference."""
    low, high, little = difference.low, difference.high, read_claims().little
    if expected == "little":
        within, outside = low >= -little and high <= little, low > little or high < -little
        return "supported" if within else "contradicted" if outside else "not decided"
    if expected == "lower":
        low, high = -high, -low
    return "supported" if low > 0 else "contradicted" if high < 0 else "not decided"


def evaluate(
    conditions: Mapping[str, Sequence[SystemScores]], comparisons: Sequence[Comparison] | None = None
) -> list[Verdict]:
    """Carry out comparisons, by default all that are planned.

    Holm's correction counts those of a family that were not run with p = 1.
    """
    comparisons = read_claims().planned if comparisons is None else comparisons
    findings = [_compare(one, conditions.get(one.condition, ())) for one in comparisons]
    for family in {one.family for one in comparisons}:
        # A claim of equality has no part in the correction.
        places = [place for place, one in enumerate(comparisons) if one.family == family and one.expected != "little"]
        p_values = [findings[place].wilcoxon for place in places]
        for place, p, corrected in zip(
            places, p_values, holm([1.0 if p is None else p for p in p_values]), strict=True
        ):
            if p is not None:
                findings[place] = replace(findings[place], holm=corrected)
    return findings


def claim_outcome(findings: Iterable[Verdict]) -> Outcome:
    """Join the parts of a claim: one contradicted part contradicts it, and it is supported if all parts are."""
    outcomes = {finding.outcome for finding in findings}
    order: tuple[Outcome, ...] = ("contradicted", "not run", "not decided", "supported")
    return next(outcome for outcome in order if outcome in outcomes)


def by_claim(findings: Iterable[Verdict]) -> list[list[Verdict]]:
    """Group findings by family, ear and claim, in their order."""
    groups: dict[tuple[str, str, str], list[Verdict]] = {}
    for finding in findings:
        of = finding.comparison
        groups.setdefault((of.family, of.ear, of.claim), []).append(finding)
    return list(groups.values())


def recipe_difference(first: SystemScores, second: SystemScores) -> str:
    """Say how two systems were trained differently, apart from what makes them different systems."""
    records = []
    for system in (first, second):
        settings = next(iter(system.parts.values())).about.get("settings", {}).get("system")
        if not isinstance(settings, Mapping) or settings.get("kind") != "neural":
            return ""
        model = {name: value for name, value in settings["model"].items() if name not in SAID_BY_NAME}
        # Where nothing is said of it, the best epoch is kept.
        training = {"load_best_model_at_end": True} | settings["training"]
        records.append({"model": model, "training": training})
    return "; ".join(differences(*records))


def _compare(comparison: Comparison, systems: Sequence[SystemScores]) -> Verdict:
    names = (comparison.first, comparison.second)
    first, second = (find_system(systems, name) for name in names)
    if first is None or second is None:
        lacking = [name for name, found in zip(names, (first, second), strict=True) if found is None]
        return Verdict(comparison, "not run", f"no complete seed of {', nor of '.join(map(system_title, lacking))}")
    check_same_clips(first, second)
    otherwise = "" if comparison.recipes else recipe_difference(first, second)
    if otherwise:
        return Verdict(comparison, "not run", f"trained otherwise: {otherwise}")
    if None in first.test.speakers or len(set(first.test.speakers)) < 2:
        return Verdict(comparison, "not run", "fewer than 2 known speakers")
    metric = COUNT_METRICS[comparison.metric]
    speakers, of_first = first.test.speaker_seed_counts()  # (seeds, speakers, classes, classes)
    _, of_second = second.test.speaker_seed_counts()
    difference = speaker_bootstrap_difference(of_first.sum(axis=0), of_second.sum(axis=0), metric)
    by_speaker = [metric(counts).mean(axis=0) for counts in (of_first, of_second)]  # of all seeds
    return Verdict(
        comparison,
        judge(comparison.expected, difference),
        difference=difference,
        speaker_mean=float(np.mean(np.subtract(*by_speaker))),
        wilcoxon=wilcoxon_over_speakers(*by_speaker),
        clips=mcnemar(first.test.truth, first.test.predictions, second.test.predictions),
        seeds=(len(first.seeds), len(second.seeds)),
        speakers=len(speakers),
    )
