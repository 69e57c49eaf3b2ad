"""The claims and aims in sentences: what was expected, what came out, and how sure that is."""

from collections.abc import Iterator, Mapping, Sequence

from speech_emotion.cross_validation.report_table import Interval, format_cell, mean_sd
from speech_emotion.cross_validation.score_table import SystemScores, find_system, pooled_metrics
from speech_emotion.cross_validation.titles import system_title
from speech_emotion.evaluation.intervals import Estimate

from .claim_tables import by_claim, paper_difference
from .claims import Finding, claim_outcome, evaluate_claims
from .paper_figures import published_figures
from .planned_comparisons import (
    AIMS,
    APART_4,
    BESIDE,
    BESIDE_2,
    BESIDE_4,
    BEST,
    CLAIMS,
    LEAST_SEEDS,
    OURS,
    SECOND,
    THIRD,
    Comparison,
)
from .reading_order import condition_title

LEVEL = 0.05


def claim_sentences(findings: Sequence[Finding]) -> list[str]:
    """Say of each claim whether it holds, and by which figures."""
    return [_claim(of_claim) for of_claim in by_claim(findings)]


def beside_sentences(conditions: Mapping[str, Sequence[SystemScores]]) -> list[str]:
    """Say what was neither planned nor tested, but belongs beside the claims."""
    found = (make(conditions) for make in (_beside_1, _beside_2, _learned, _beside_4, _apart))
    return [f"- {text}" for text in found if text]


def _beside_1(conditions: Mapping[str, Sequence[SystemScores]]) -> str:
    """Claim 1's differences on the other corpora whose words tell nothing of the emotion."""
    differences: dict[str, list[str]] = {}
    for one, figure in _differences(conditions, BESIDE):
        differences.setdefault(_what(one), []).append(f"{condition_title(one.condition)} {figure}")
    if not differences:
        return ""
    listed = "; ".join(f"{what}: {', '.join(figures)}" for what, figures in differences.items())
    return (
        "Beside claim 1, neither planned nor tested: on EmoDB and RAVDESS too every sentence is said in every "
        f"emotion. Differences in UA there: {listed}."
    )


def _beside_2(conditions: Mapping[str, Sequence[SystemScores]]) -> str:
    """What the linguistic model reaches where words tell nothing."""
    systems = conditions.get("emodb", ())
    linguistic, phonemes = (find_system(systems, name) for name in ("model-2", "yenigalla-2018-phonemes"))
    if linguistic is None or phonemes is None:
        return ""
    figures = [format_cell(mean_sd(pooled_metrics(one.test)["ua"]), "percent") for one in (linguistic, phonemes)]
    return (
        "Beside claims 2, 2b and 3: on EmoDB, where words tell nothing of the emotion, phonemes have a UA of "
        f"{figures[1]} % and {linguistic.title} one of {figures[0]} %. So the fifth layer carries more than words, "
        "and where fusion or the linguistic model leads, that need not be due to them."
    )


def _learned(conditions: Mapping[str, Sequence[SystemScores]]) -> str:
    """What the linguistic model owes to what DeepSpeech learned."""
    parts = [
        f"{_what(one)} on {condition_title(one.condition)} {figure}"
        for one, figure in _differences(conditions, BESIDE_2)
    ]
    if not parts:
        return ""
    return (
        "Beside claims 2 and 2b, a control: with its weights shuffled, each layer's among themselves, DeepSpeech "
        "knows no word and no letter, and is a fixed random function of the MFCCs. Differences in UA, neither planned "
        f"nor tested, of one shuffle, whose chance the intervals leave out: {'; '.join(parts)}."
    )


def _beside_4(conditions: Mapping[str, Sequence[SystemScores]]) -> str:
    """What ensembles gain where classes are nearly equal, and what the paper has against the claim."""
    gains: dict[str, list[str]] = {}
    for finding in evaluate_claims(conditions, BESIDE_4):
        if finding.difference is not None:
            one, gain = finding.comparison, format_cell(finding.difference.value, "points")
            gains.setdefault(system_title(one.second), []).append(f"{one.metric.upper()} {gain}")
    if not gains:
        return ""
    listed = "; ".join(f"{title} {', '.join(figures)}" for title, figures in gains.items())
    paper = [published_figures("iemocap-both")[name][0] for name in ("model-3", "model-3-ensemble")]
    return (
        "Beside claim 4, neither planned nor tested: all of ASED has classes of nearly equal size, so that "
        f"undersampling leaves hardly a clip out. What ensembles gain there, in points: {listed}. In the paper's "
        f"condition “both”, against the claim, Model-3's WA rises with it, from {100 * paper[0]:.2f} to "
        f"{100 * paper[1]:.2f} %."
    )


def _apart(conditions: Mapping[str, Sequence[SystemScores]]) -> str:
    """What averaging does where classes are unequal, and what undersampling adds to it."""
    parts = [f"{_what(one)}: {one.metric.upper()} {figure}" for one, figure in _differences(conditions, APART_4)]
    if len(parts) < len(APART_4):
        return ""
    return (
        "Beside claim 4, a control, neither planned nor tested: three networks averaged without downsampling tell "
        f"what averaging does from what downsampling does, on {condition_title(APART_4[0].condition)}: "
        f"{'; '.join(parts)}."
    )


def aim_sentences(conditions: Mapping[str, Sequence[SystemScores]]) -> list[str]:
    """Say of each aim whether it was reached."""
    sentences = []
    for condition, aim in AIMS.items():
        for name in (BEST, SECOND, THIRD):
            system = find_system(conditions.get(condition, ()), name)
            if name == BEST or system is not None:
                sentences.append(_aim(condition, aim, name, system))
    return sentences


def _claim(findings: Sequence[Finding]) -> str:
    claim = findings[0].comparison.claim
    name = OURS.get(claim, f"Claim {claim}")
    text = f"- **{name}: {claim_outcome(findings)}.** {CLAIMS[claim]}"
    if len(findings) == 1:
        return f"{text} {_part(findings[0])}"
    return "\n".join([text, *(f"  - {_part(finding)}" for finding in findings)])


def _part(finding: Finding) -> str:
    comparison = finding.comparison
    what = _what(comparison)
    where = condition_title(comparison.condition)
    if finding.difference is None or finding.seeds is None:
        return f"{what} on {where}: not run ({finding.reason})."
    figures = [f"{comparison.metric.upper()} {_difference(finding.difference)}"]
    if finding.holm is not None:
        p = format_cell(finding.holm, "p")
        figures.append(f"p {p}" if p.startswith("<") else f"p = {p}")
    published = paper_difference(comparison)
    if published is not None:
        figures.append(f"in the paper {format_cell(published, 'points')}")
    # Of a claim with one comparison the outcome has just been said.
    text = f"{what} on {where}: {', '.join(figures)}"
    if comparison.name != comparison.claim:
        text += f"; {finding.outcome}"
    if finding.outcome in ("supported", "contradicted") and finding.holm is not None and finding.holm > LEVEL:
        text += "; by the interval, not after Holm's correction"
    return f"{text}{_provisional(finding.seeds)}."


def _provisional(seeds: tuple[int, int]) -> str:
    """What is to be said of figures of few seeds."""
    return f"; provisional, of {seeds[0]} and {seeds[1]} seeds" if min(seeds) < LEAST_SEEDS else ""


def _differences(
    conditions: Mapping[str, Sequence[SystemScores]], comparisons: Sequence[Comparison]
) -> Iterator[tuple[Comparison, str]]:
    """Each comparison that can be carried out, with its figure."""
    for finding in evaluate_claims(conditions, comparisons):
        if finding.difference is not None and finding.seeds is not None:
            yield finding.comparison, _difference(finding.difference) + _provisional(finding.seeds)


def _what(comparison: Comparison) -> str:
    """Such as "Model-1 (acoustic) − Model-2 (linguistic)"."""
    return f"{system_title(comparison.first)} − {system_title(comparison.second)}"


def _difference(difference: Estimate) -> str:
    """Such as "+7.6 points [+3.0, +12.6]"."""
    interval = Interval(difference.low, difference.high)
    return f"{format_cell(difference.value, 'points')} points {format_cell(interval, 'points')}"


def _aim(condition: str, aim: float, name: str, system: SystemScores | None) -> str:
    text = f"Aim: UA of {100 * aim:.0f} % on {condition_title(condition)} with {system_title(name)}"
    if system is None:
        return f"- **Not computed.** {text}."
    reached = mean_sd(pooled_metrics(system.test)["ua"])
    outcome = "Reached" if reached.mean >= aim else "Missed"
    seeds = len(system.seeds)
    provisional = ", provisionally" if seeds < LEAST_SEEDS else ""
    figure = f"{format_cell(reached, 'percent')} %, {seeds} seed{'s' * (seeds > 1)}"
    return f"- **{outcome}{provisional}.** {text}; it has {figure}."


__all__ = ["aim_sentences", "beside_sentences", "claim_sentences"]
