"""Tables of the planned comparisons and of the claims."""

from collections.abc import Sequence

from speech_emotion.evaluation.report_table import Cell, Column, Interval, ReportTable

from .claims import Finding, claim_outcome
from .paper_figures import published_difference
from .planned_comparisons import CLAIMS

COMPARISON_COLUMNS = [
    Column("comparison", "comparison"),
    Column("condition", "condition"),
    Column("systems", "systems"),
    Column("figure", "figure"),
    Column("expected", "expected"),
    Column("paper", "in the paper", "points"),
    Column("difference", "difference", "points"),
    Column("ci", "95 % CI", "points"),
    Column("wilcoxon", "p, Wilcoxon", "p"),
    Column("holm", "p, Holm", "p"),
    Column("discordant", "only first : second right"),
    Column("mcnemar", "p, McNemar", "p"),
    Column("seeds", "seeds"),
    Column("outcome", "outcome"),
]
COMPARISON_NOTE = (
    "Differences are first − second, in points, pooled over folds and averaged over each system's complete seeds. "
    "Interval: 10,000 paired bootstrap resamples of the test speakers. Wilcoxon: signed ranks over speakers of the "
    "same figure, averaged over seeds, zeros ranked (Pratt). Holm: over the planned differences of the family "
    "(streams: claims 1 to 3; imbalance: claim 4; baseline: the three corpora), those not run counted with p = 1; a "
    "claim of equality has no part in it. McNemar: exact, on the accuracy of the posteriors averaged over seeds; it "
    "takes clips for independent and is not corrected. Outcome, by the interval alone: supported if it excludes 0 in "
    "the expected direction, contradicted if in the other; “little” is supported if the interval lies within ±2 "
    "points, contradicted if wholly outside; else not decided. It is not corrected for several comparisons; the "
    "column of Holm is."
)
CLAIMS_NOTE = (
    "A claim is supported if all its comparisons are, and contradicted if one is. ASED stands for IEMOCAP: the two "
    "sentences said in every emotion (ased-common) for improvised speech, the sentences that belong to one emotion "
    "each (ased-own) for scripted speech, the whole (ased) for both, and four emotions in the proportions of "
    "improvised IEMOCAP (ased-imbalanced) for imbalance. It is acted speech, and Amharic. Model-1 hears the words "
    "too: its mel spectrogram holds them, so that where the words give the emotion away, as in ased-own, the acoustic "
    "model can learn them, and claims 2 and 2b compare two ways of hearing words."
)


def comparison_table(findings: Sequence[Finding]) -> ReportTable:
    """Tabulate planned comparisons.

    Args:
        findings: Those of `evaluate_claims`, or some of them.

    Returns:
        One row per comparison.
    """
    return ReportTable(
        "comparisons",
        "Planned comparisons",
        COMPARISON_COLUMNS,
        [_comparison_row(finding) for finding in findings],
        COMPARISON_NOTE,
    )


def claims_table(findings: Sequence[Finding]) -> ReportTable:
    """Tabulate the claims.

    Args:
        findings: All of `evaluate_claims`.

    Returns:
        One row per family and claim.
    """
    parts: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        parts.setdefault((finding.comparison.family, finding.comparison.claim), []).append(finding)
    rows: list[list[Cell]] = [
        [f"{family}: {claim}", CLAIMS[claim], claim_outcome(of_claim), "; ".join(_part(part) for part in of_claim)]
        for (family, claim), of_claim in parts.items()
    ]
    columns = [Column(key, key) for key in ("claim", "what it says", "outcome", "by part")]
    return ReportTable("claims", "Claims", columns, rows, CLAIMS_NOTE)


def _part(finding: Finding) -> str:
    return f"{finding.comparison.name} ({finding.comparison.condition}): {finding.outcome}"


def _comparison_row(finding: Finding) -> list[Cell]:
    comparison = finding.comparison
    paper = comparison.paper_condition and published_difference(
        comparison.paper_condition, comparison.first, comparison.second, comparison.metric
    )
    row: list[Cell] = [
        f"{comparison.family}: {comparison.name}",
        comparison.condition,
        f"{comparison.first} − {comparison.second}",
        comparison.metric.upper(),
        comparison.expected,
        paper,
    ]
    if finding.difference is None or finding.clips is None or finding.seeds is None:
        return [*row, *[None] * 7, f"{finding.outcome}: {finding.reason}"]
    return [
        *row,
        finding.difference.value,
        Interval(finding.difference.low, finding.difference.high),
        finding.wilcoxon,
        finding.holm,
        f"{finding.clips.only_first} : {finding.clips.only_second}",
        finding.clips.p,
        f"{finding.seeds[0]}, {finding.seeds[1]}",
        finding.outcome,
    ]


__all__ = ["claims_table", "comparison_table"]
