"""The table that one looks at first: every system on one corpus."""

from collections.abc import Mapping, Sequence

from .fold_scores import FoldScores
from .report_table import Cell, Column, Interval, ReportTable
from .seed_metrics import fold_metrics, mean_sd, pooled_metrics
from .speaker_bootstrap import speaker_bootstrap
from .system_scores import SystemScores, gather_systems
from .titles import system_title

COLUMNS = [
    Column("system", "system"),
    Column("title", "title"),
    Column("wa", "WA, %", "percent"),
    Column("ua", "UA, %", "percent"),
    Column("ua_ci", "UA 95 % CI", "percent"),
    Column("macro_f1", "macro F1, %", "percent"),
    Column("weighted_f1", "weighted F1, %", "percent"),
    Column("ua_folds", "UA mean over folds, %", "percent"),
    Column("seeds", "seeds"),
    Column("folds", "folds"),
    Column("hours", "hours", "number"),
    Column("missing", "incomplete"),
]
PUBLISHED = [Column("paper_wa", "WA in the paper, %", "percent"), Column("paper_ua", "UA in the paper, %", "percent")]
NOTE = (
    "WA is accuracy, UA the mean recall of the classes. WA, UA and F1 are pooled: the test clips of all folds are "
    "counted together, once per seed; mean ± SD (ddof = 1) over the complete seeds. The interval of UA is the 2.5 to "
    "97.5 percentile of 10,000 bootstrap resamples of the test speakers; it is of the mean over seeds and leaves out "
    "their spread. “UA mean over folds” averages the UA of the folds instead, each over the classes that it has. "
    "Hours are those of computing, of all files."
)


def summary_table(
    scores: Sequence[FoldScores], published: Mapping[str, tuple[float, float]] | None = None
) -> ReportTable:
    """Summarize every system on one corpus.

    Only seeds that have all folds enter a mean. What a system lacks of the seeds and folds that others have stands in
    its row; one without a complete seed has no figures.

    Args:
        scores: Scores of one corpus, of any systems, seeds and folds.
        published: By system, WA and UA that the paper gives, in [0, 1], to stand beside.

    Returns:
        One row per system, ordered by name.

    Raises:
        ValueError: As `gather_systems`; or if there are no scores.
    """
    if not scores:
        raise ValueError("There are no scores to summarize.")
    return summarize_systems(gather_systems(scores), published)


def summarize_systems(
    systems: Sequence[SystemScores], published: Mapping[str, tuple[float, float]] | None = None
) -> ReportTable:
    """Summarize gathered systems; see `summary_table`."""
    columns, rows = list(COLUMNS), [_row(system) for system in systems]
    if published:
        columns += PUBLISHED
        rows = [[*row, *published.get(system.system, (None, None))] for row, system in zip(rows, systems, strict=True)]
    return ReportTable("summary", f"Systems on {systems[0].corpus}", columns, rows, NOTE)


def _row(system: SystemScores) -> list[Cell]:
    name, title = system.system, system_title(system.system)
    if title == name:  # a system that the titles do not know may bring its own
        title = next(iter(system.parts.values())).about.get("title", name)
    seeds = f"{len(system.seeds)} of {len(system.planned_seeds)}"
    folds = {fold for _, fold in system.parts}
    ends: list[Cell] = [
        seeds,
        f"{len(folds)} of {len(system.planned_folds)}",
        system.hours,
        system.missing_text or None,
    ]
    if not system.seeds:
        return [name, title, *[None] * 6, *ends]
    pooled = pooled_metrics(system.test)
    over_folds = mean_sd(fold_metrics(system.test)["ua"].mean(axis=1))
    return [
        name,
        title,
        mean_sd(pooled["wa"]),
        mean_sd(pooled["ua"]),
        _interval(system),
        mean_sd(pooled["macro_f1"]),
        mean_sd(pooled["weighted_f1"]),
        over_folds,
        *ends,
    ]


def _interval(system: SystemScores) -> Interval | None:
    """The interval of UA; `None` where speakers are unknown or there is only one."""
    if None in system.test.speakers or len(set(system.test.speakers)) < 2:
        return None
    estimate = speaker_bootstrap(system.test.speaker_counts()[1])
    return Interval(estimate.low, estimate.high)


__all__ = ["summarize_systems", "summary_table"]
