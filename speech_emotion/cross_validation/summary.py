"""The tables that one looks at first: every system on one corpus."""

from collections.abc import Mapping, Sequence

from speech_emotion.evaluation.intervals import speaker_bootstrap
from speech_emotion.evaluation.metrics import CountMetric, ua, wa

from .report_table import Cell, Column, Interval, Name, ReportTable
from .score_store import FoldScores
from .seed_metrics import fold_metrics, mean_sd, pooled_metrics
from .system_scores import SystemScores, gather_systems
from .titles import CONTROL, REDUCED, SHUFFLED, system_title

COLUMNS = [
    Column("system", "system"),
    Column("wa", "WA, %", "percent"),
    Column("wa_ci", "WA, 95 % interval", "percent"),
    Column("ua", "UA, %", "percent"),
    Column("ua_ci", "UA, 95 % interval", "percent"),
    Column("seeds", "seeds"),
    Column("folds", "folds"),
    Column("hours", "hours", "hours"),
    Column("missing", "incomplete"),
]
PUBLISHED = [Column("paper_wa", "WA in the paper, %", "percent"), Column("paper_ua", "UA in the paper, %", "percent")]
NOTE = (
    "WA is accuracy, UA the mean recall of the classes. Both are pooled: the test clips of all folds are counted "
    "together, once per seed; mean ± SD (ddof = 1) over the complete seeds. The interval goes from the 2.5 to the "
    "97.5 percentile of 10,000 bootstrap resamples of the test speakers; it is of the mean over seeds and leaves out "
    "their spread. A seed that lacks a fold has no part in any figure; a system without a complete seed has no "
    "figures. Folds: finished of planned, all seeds together. Hours: of training and scoring, of all finished folds; "
    "features were computed before. A system "
    "that draws nothing at random gives the same with every seed, and so an SD of 0."
)
NOTE_PUBLISHED = (
    " “In the paper”: Bhosale et al., ICASSP 2020, with Mozilla's DeepSpeech; whether its figures are pooled, and how "
    "they spread, it does not say."
)
NOTE_CONTROL = (
    " “Labels permuted”: a control, not a competitor. It learned from labels permuted within speakers, so that its UA "
    "on the true ones should be about that of chance, 100 % / classes."
)
NOTE_SHUFFLED = (
    " “Weights shuffled”: a control, not a competitor. Its DeepSpeech has lost all that it learned from speech, so "
    "that what it reaches owes nothing to words."
)
NOTE_AVERAGE = (
    " “Average of 3 networks”: the ensemble without downsampling, three networks that each learned from all training "
    "clips."
)
NOTE_BEST = (
    " “Best recipe”: settings found by hand on validation speakers of EmoDB and RAVDESS (“recipe with functionals”: "
    "and of ASED), each of whom is a test speaker of another fold; on other corpora nothing was chosen."
)
AVERAGED = [
    Column("system", "system"),
    Column("macro_f1", "macro F1, %", "percent"),
    Column("weighted_f1", "weighted F1, %", "percent"),
    Column("wa_folds", "WA, mean over folds, %", "percent"),
    Column("ua_folds", "UA, mean over folds, %", "percent"),
    Column("macro_f1_folds", "macro F1, mean over folds, %", "percent"),
    Column("weighted_f1_folds", "weighted F1, mean over folds, %", "percent"),
]
AVERAGED_NOTE = (
    "The first two are pooled as WA and UA above. “Mean over folds” takes the figure of each fold's test clips, over "
    "the classes that they have, and averages the folds, each weighing alike. Mean ± SD over the complete seeds."
)


def summary_table(
    scores: Sequence[FoldScores], published: Mapping[str, tuple[float, float]] | None = None
) -> ReportTable:
    """Summarize every system on one corpus."""
    if not scores:
        raise ValueError("There are no scores to summarize.")
    return summarize_systems(gather_systems(scores), published)


def summarize_systems(
    systems: Sequence[SystemScores], published: Mapping[str, tuple[float, float]] | None = None
) -> ReportTable:
    """Summarize gathered systems, in their order; see `summary_table`."""
    columns, rows = list(COLUMNS), [_row(system) for system in systems]
    names = [system.system for system in systems]
    note = NOTE + NOTE_BEST * any(name.endswith(("-best", "-functionals")) for name in names)
    note += NOTE_CONTROL * any(name.endswith(f"-{CONTROL}") for name in names)
    note += NOTE_SHUFFLED * any(f"-{SHUFFLED}" in name for name in names)
    note += NOTE_AVERAGE * any("-average" in name for name in names)
    if not published:
        return ReportTable("summary", "All systems", columns, rows, note)
    rows = [[*row, *published.get(system.system, (None, None))] for row, system in zip(rows, systems, strict=True)]
    absent = [name for name in published if name not in {system.system for system in systems}]
    rows += [  # of the original, whatever the size of ours
        [
            Name(name, system_title(name).removesuffix(REDUCED)),
            *[None] * (len(COLUMNS) - 2),
            "not computed",
            *published[name],
        ]
        for name in absent
    ]
    return ReportTable("summary", "All systems", columns + PUBLISHED, rows, note + NOTE_PUBLISHED)


def averages_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate F1, and the figures averaged over folds in place of pooled."""
    rows: list[list[Cell]] = []
    for system in systems:
        pooled, by_fold = pooled_metrics(system.test), fold_metrics(system.test)
        f1 = [mean_sd(pooled[name]) for name in ("macro_f1", "weighted_f1")]
        averages = [mean_sd(by_fold[name].mean(axis=1)) for name in ("wa", "ua", "macro_f1", "weighted_f1")]
        rows.append([Name(system.system, system.title), *f1, *averages])
    return ReportTable("averages", "F1, and means over folds", AVERAGED, rows, AVERAGED_NOTE)


def speaker_interval(system: SystemScores, metric: CountMetric = ua) -> Interval | None:
    """Return the 95 % interval over speakers of a figure's mean over seeds."""
    if None in system.test.speakers or len(set(system.test.speakers)) < 2:
        return None
    estimate = speaker_bootstrap(system.test.speaker_counts()[1], metric)
    return Interval(estimate.low, estimate.high)


def _row(system: SystemScores) -> list[Cell]:
    figures: list[Cell] = [None] * 4
    if system.seeds:
        pooled = pooled_metrics(system.test)
        figures = [
            mean_sd(pooled["wa"]),
            speaker_interval(system, wa),
            mean_sd(pooled["ua"]),
            speaker_interval(system, ua),
        ]
    return [
        Name(system.system, system.title),
        *figures,
        f"{len(system.seeds)} of {len(system.planned_seeds)}",
        system.finished_text,
        system.hours,
        system.missing_text or None,
    ]


__all__ = ["averages_table", "speaker_interval", "summarize_systems", "summary_table"]
