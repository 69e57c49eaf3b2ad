"""Tables of the planned comparisons and of the claims."""

from collections.abc import Sequence

from speech_emotion.cross_validation.report_table import Cell, Column, Interval, ReportTable
from speech_emotion.cross_validation.titles import system_title

from .claims import Finding, claim_outcome
from .paper_figures import published_difference
from .planned_comparisons import CLAIMS, Comparison
from .reading_order import condition_title

COMPARISON_COLUMNS = [
    Column("comparison", "comparison"),
    Column("condition", "condition"),
    Column("systems", "systems"),
    Column("figure", "figure"),
    Column("expected", "expected"),
    Column("paper", "in the paper", "points"),
    Column("difference", "difference", "points"),
    Column("ci", "95 % interval", "points"),
    Column("speaker_mean", "speakers alike", "points"),
    Column("wilcoxon", "p, Wilcoxon", "p"),
    Column("holm", "p, Holm", "p"),
    Column("discordant", "only first : second right"),
    Column("mcnemar", "p, McNemar", "p"),
    Column("seeds", "seeds"),
    Column("outcome", "outcome"),
]
COMPARISON_NOTE = (
    "Differences are first − second, in points, pooled over folds and averaged over each system's complete seeds. "
    "Interval: 10,000 paired bootstrap resamples of the test speakers; it is of these trainings, leaves out their "
    "spread over seeds, and is too narrow where speakers are few. Speakers alike: the mean of the differences in each "
    "speaker's own figure, over the emotions that the speaker has, averaged over seeds; where speakers have unequal "
    "clips it is another figure than the pooled one. Wilcoxon: signed ranks of these, zeros ranked (Pratt). Holm: "
    "over all planned differences of the family, which is everything planned on EmoDB, RAVDESS and ASED, or "
    "everything planned on IEMOCAP; those not run count with p = 1, and a claim of equality has no part in it. No "
    "other pair of systems is tested. McNemar: exact, over clips, always of WA, not corrected; it takes clips for "
    "independent. With one seed each it is of the clips that only one system gets right. With several, these are the "
    "mean over all pairs of a training of each; a clip's weight is the share of the first system's seeds that get it "
    "right less that of the second's, and p the probability that random signs of the weights give a sum as far from "
    "0. So it is of the difference in mean WA; no seeds are combined to a vote, which would be another system. "
    "Outcome, by the interval alone: supported if it excludes 0 in the expected direction, contradicted if in the "
    "other; “little” is supported if the interval lies within ±2 points, contradicted if wholly outside; else not "
    "decided. It is not corrected for several comparisons; the column of Holm is."
)
CLAIMS_NOTE = (
    "A claim is supported if all its comparisons are, and contradicted if one is. ASED stands for IEMOCAP: the two "
    "sentences said in every emotion (common sentences) for improvised speech, the five that each emotion has for "
    "itself (own sentences) for scripted speech, all sentences for both, and four emotions in the proportions "
    "of improvised IEMOCAP (imbalanced) for claim 4. It is acted speech, and Amharic. Model-1 hears the words too: "
    "its mel spectrogram holds them, so that where the words give the emotion away, as in the own sentences, the "
    "acoustic model can learn them; and Model-2 hears more than words in DeepSpeech's fifth layer. So claims 2 and 2b "
    "compare two ways of hearing speech."
)


def comparison_table(findings: Sequence[Finding]) -> ReportTable:
    """Tabulate planned comparisons."""
    return ReportTable(
        "comparisons",
        "Planned comparisons",
        COMPARISON_COLUMNS,
        [_comparison_row(finding) for finding in findings],
    )


def claims_table(findings: Sequence[Finding]) -> ReportTable:
    """Tabulate the claims."""
    rows: list[list[Cell]] = []
    for of_claim in by_claim(findings):
        comparison = of_claim[0].comparison
        names = dict.fromkeys(finding.comparison.condition for finding in of_claim)
        conditions = "; ".join(map(condition_title, names))
        parts = "; ".join(f"{finding.comparison.name}: {finding.outcome}" for finding in of_claim)
        rows.append([comparison.claim, CLAIMS[comparison.claim], conditions, claim_outcome(of_claim), parts])
    columns = [Column(key, key) for key in ("claim", "what it says", "tested on", "outcome", "by part")]
    return ReportTable("claims", "Claim by claim", columns, rows)


def by_claim(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Group findings by family and claim, in their order."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.comparison.family, finding.comparison.claim), []).append(finding)
    return list(groups.values())


def families_at_hand(findings: Sequence[Finding]) -> tuple[list[Finding], list[str]]:
    """Leave out the families of which nothing was run."""
    run = {finding.comparison.family for finding in findings if finding.outcome != "not run"}
    if not run:
        return list(findings), []
    absent = dict.fromkeys(one.comparison.family for one in findings if one.comparison.family not in run)
    return [finding for finding in findings if finding.comparison.family in run], list(absent)


def paper_difference(comparison: Comparison) -> float | None:
    """Return the difference that the paper gives for a comparison, in [-1, 1]; `None` if it gives none."""
    if comparison.paper_condition is None:
        return None
    return published_difference(comparison.paper_condition, comparison.first, comparison.second, comparison.metric)


def _comparison_row(finding: Finding) -> list[Cell]:
    comparison = finding.comparison
    row: list[Cell] = [
        comparison.name,
        condition_title(comparison.condition),
        f"{system_title(comparison.first)} − {system_title(comparison.second)}",
        comparison.metric.upper(),
        comparison.expected,
        paper_difference(comparison),
    ]
    if finding.difference is None or finding.clips is None or finding.seeds is None:
        return [*row, *[None] * 8, f"{finding.outcome}: {finding.reason}"]
    return [
        *row,
        finding.difference.value,
        Interval(finding.difference.low, finding.difference.high),
        finding.speaker_mean,
        finding.wilcoxon,
        finding.holm,
        f"{finding.clips.only_first:.0f} : {finding.clips.only_second:.0f}",
        finding.clips.p,
        f"{finding.seeds[0]}, {finding.seeds[1]}",
        finding.outcome,
    ]


__all__ = ["by_claim", "claims_table", "comparison_table", "families_at_hand", "paper_difference"]
