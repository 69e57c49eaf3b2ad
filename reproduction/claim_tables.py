"""Tables of the planned comparisons and of the claims; what is said below them stands in `templates/notes.j2`."""

from collections.abc import Sequence

from speech_emotion.cross_validation.report_table import Cell, Column, Interval, ReportTable

from .claim_plan import read_claims
from .claims import Verdict, by_claim, claim_outcome
from .conditions import condition_title
from .systems import system_title

COMPARISON_COLUMNS = [
    *(Column(key, key) for key in ("comparison", "condition", "systems", "figure", "expected")),
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


def comparison_table(findings: Sequence[Verdict]) -> ReportTable:
    """Tabulate planned comparisons."""
    rows: list[list[Cell]] = []
    for finding in findings:
        comparison = finding.comparison
        row: list[Cell] = [
            comparison.name,
            condition_title(comparison.condition),
            f"{system_title(comparison.first)} − {system_title(comparison.second)}",
            comparison.metric.upper(),
            comparison.expected,
            comparison.published,
        ]
        if finding.difference is None or finding.clips is None or finding.seeds is None:
            rows.append([*row, *[None] * 8, f"{finding.outcome}: {finding.reason}"])
            continue
        row += [
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
        rows.append(row)
    return ReportTable("comparisons", "Planned comparisons", COMPARISON_COLUMNS, rows)


def claims_table(findings: Sequence[Verdict]) -> ReportTable:
    """Tabulate the claims, each with the outcomes of its parts."""
    rows: list[list[Cell]] = []
    for of_claim in by_claim(findings):
        name, ear = of_claim[0].comparison.claim, of_claim[0].comparison.ear
        conditions = dict.fromkeys(condition_title(finding.comparison.condition) for finding in of_claim)
        parts = "; ".join(f"{finding.comparison.name}: {finding.outcome}" for finding in of_claim)
        says = read_claims().claims[name].says
        rows.append([f"{name}, {ear}" if ear else name, says, "; ".join(conditions), claim_outcome(of_claim), parts])
    columns = [Column(key, key) for key in ("claim", "what it says", "tested on", "outcome", "by part")]
    return ReportTable("claims", "Claim by claim", columns, rows)
