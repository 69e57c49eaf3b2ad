"""The tables of a cross-validation. What is to be said of them stands in `templates/notes.j2`, by their keys."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from speech_emotion.evaluation.calibration import (
    abstention_curve,
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from speech_emotion.evaluation.intervals import speaker_bootstrap
from speech_emotion.evaluation.metrics import CountMetric, recalls, ua, wa
from speech_emotion.evaluation.significance import permutation_control

from .report_table import Cell, Column, Interval, Name, ReportTable, Share, mean_sd
from .score_table import SystemScores, pooled_metrics, truth_and_scores


def percents(**titles: str) -> list[Column]:
    """Make columns of shares, which tables to read show in percent."""
    return [Column(key, title, "percent") for key, title in titles.items()]


SYSTEM = Column("system", "system")
SUMMARY = [
    SYSTEM,
    *percents(wa="WA, %", wa_ci="WA, 95 % interval", ua="UA, %", ua_ci="UA, 95 % interval"),
    Column("seeds", "seeds"),
    Column("folds", "folds"),
    Column("fold_seconds", "s per fold", "number"),
    Column("hours", "hours", "hours"),
    Column("missing", "incomplete"),
]
PUBLISHED = percents(paper_wa="WA in the paper, %", paper_ua="UA in the paper, %")
AVERAGES = [
    SYSTEM,
    *percents(macro_f1="macro F1, %", weighted_f1="weighted F1, %"),
    *percents(wa_folds="WA, mean over folds, %", ua_folds="UA, mean over folds, %"),
    *percents(macro_f1_folds="macro F1, mean over folds, %", weighted_f1_folds="weighted F1, mean over folds, %"),
]
CALIBRATION = [
    SYSTEM,
    *percents(ece_before="ECE, %", ece_after="ECE after, %"),
    Column("nll_before", "NLL, nats", "number"),
    Column("nll_after", "NLL after, nats", "number"),
    Column("temperature", "temperature", "number"),
]
CHANCE = [SYSTEM, *percents(ua="UA, %", ua_chance="UA by chance, %"), Column("p", "p", "p")]
METRICS = {"wa": "WA", "ua": "UA", "macro_f1": "Macro F1", "weighted_f1": "Weighted F1"}
SEXES = {"f": "female", "m": "male"}
COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)


def summary_table(
    systems: Sequence[SystemScores],
    published: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    title: Callable[[str], str] = str,
) -> ReportTable:
    """Tabulate WA and UA of every system, complete or not, beside published figures if there are any."""
    rows: list[list[Cell]] = []
    for system in systems:
        figures: list[Cell] = [None] * 4
        if system.seeds:
            pooled = pooled_metrics(system.test)
            wa_cells = [mean_sd(pooled["wa"]), speaker_interval(system, wa)]
            figures = [*wa_cells, mean_sd(pooled["ua"]), speaker_interval(system, ua)]
        seeds = f"{len(system.seeds)} of {len(system.planned_seeds)}"
        hours = system.hours
        cost = [None if hours is None else 3600 * hours / len(system.parts), hours]
        state = [seeds, system.finished_text, *cost, system.missing_text or None]
        rows.append([named(system), *figures, *state])
    if not published:
        return ReportTable("summary", "All systems", SUMMARY, rows)
    rows = [[*row, *published.get(system.system, (None, None))] for row, system in zip(rows, systems, strict=True)]
    computed = {system.system for system in systems}
    for name in (name for name in published if name not in computed):
        rows.append([Name(name, title(name)), *[None] * (len(SUMMARY) - 2), "not computed", *published[name]])
    return ReportTable("summary", "All systems", SUMMARY + PUBLISHED, rows)


def averages_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate F1, and the figures averaged over folds in place of pooled."""
    rows: list[list[Cell]] = []
    for system in systems:
        pooled, by_fold = pooled_metrics(system.test), pooled_metrics(system.test, "fold")
        f1 = [mean_sd(pooled[name]) for name in ("macro_f1", "weighted_f1")]
        rows.append([named(system), *f1, *(mean_sd(by_fold[name].mean(axis=1)) for name in METRICS)])
    return ReportTable("averages", "F1, and means over folds", AVERAGES, rows)


def recall_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate the recall of each class: one row per system."""
    clips = np.bincount(systems[0].test.truth, minlength=len(systems[0].labels))
    columns = [Column(label, f"{label} ({n})", "percent") for label, n in zip(systems[0].labels, clips, strict=True)]
    rows: list[list[Cell]] = []
    for system in systems:
        values, present = recalls(system.test.counts())  # (seeds, classes)
        cells = [mean_sd(of_class) if there else None for of_class, there in zip(values.T, present[0], strict=True)]
        rows.append([named(system), *cells])
    return ReportTable("recall", "Recall of each emotion", [SYSTEM, *columns], rows)


def confusion_tables(systems: Sequence[SystemScores]) -> list[ReportTable]:
    """Tabulate the confusion matrix of each system, summed over folds and seeds."""
    tables = []
    for system in systems:
        counts = system.test.counts().sum(axis=0)  # (true, predicted)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        rows: list[list[Cell]] = [
            [label, *(Share(int(n), float(share)) for n, share in zip(of_class, of_all, strict=True))]
            for label, of_class, of_all in zip(system.labels, counts, shares, strict=True)
        ]
        columns = [Column("true", "true \\ predicted"), *(Column(label, label) for label in system.labels)]
        tables.append(ReportTable(f"confusion-{system.system}", f"Confusions of {system.title}", columns, rows))
    return tables


def sex_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate UAR by sex: one row per system."""
    clips = systems[0].test.sizes("sex")
    columns = [Column(sex, f"{SEXES.get(sex, sex)} ({n})", "percent") for sex, n in clips.items()]
    rows = [[named(system), *map(mean_sd, pooled_metrics(system.test, "sex")["ua"].T)] for system in systems]
    return ReportTable("sexes", "UAR by sex", [SYSTEM, *columns], rows)


def speaker_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate UAR by speaker: one row per speaker, one column per system."""
    figures = [pooled_metrics(system.test, "speaker")["ua"].mean(axis=0) for system in systems]
    columns = [Column("speaker", "speaker"), Column("clips", "clips")]
    return _by_system("speakers", "UAR by speaker", columns, systems, systems[0].test.sizes("speaker"), figures)


def fold_tables(systems: Sequence[SystemScores]) -> list[ReportTable]:
    """Tabulate each figure by fold: one row per fold, one column per system."""
    figures = [pooled_metrics(system.test, "fold") for system in systems]
    columns, sizes = [Column("fold", "fold"), Column("clips", "test clips")], systems[0].test.sizes("fold")
    return [
        _by_system(
            f"folds-{metric.replace('_', '-')}",
            f"{title} by fold",
            columns,
            systems,
            sizes,
            [list(map(mean_sd, figure[metric].T)) for figure in figures],
        )
        for metric, title in METRICS.items()
    ]


def calibration_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate calibration before and after a temperature: one row per system."""
    rows: list[list[Cell]] = []
    for system in systems:
        found = calibrate_folds(system)
        rows.append([named(system), *([None] * 5 if found is None else map(mean_sd, found))])
    return ReportTable("calibration", "Calibration", CALIBRATION, rows)


def reliability_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate accuracy by confidence, all seeds together: one row per bin, one column per system."""
    tables = [reliability(*truth_and_scores(system.test.table)) for system in systems]
    columns = [Column("confidence", "confidence, %"), *(Column(system.system, system.title) for system in systems)]
    edges = tables[0].edges
    rows: list[list[Cell]] = []
    for index in np.flatnonzero(sum(one.clips for one in tables)):
        name = f"{100 * edges[index]:.1f} to {100 * edges[index + 1]:.1f}"
        cells = [Share(int(one.clips[index]), float(one.accuracy[index])) for one in tables]
        rows.append([name, *(cell if cell.count else None for cell in cells)])
    return ReportTable("reliability", "Reliability", columns, rows)


def abstention_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate WA and UA of the most confident clips: one row per system."""
    rows: list[list[Cell]] = []
    for system in systems:
        curves = [abstention_curve(system.test.truth, scores) for scores in system.test.scores]
        row: list[Cell] = [named(system)]
        for coverage in COVERAGES:
            places = [curve.at(coverage) for curve in curves]
            for name in ("accuracy", "ua"):
                row.append(mean_sd([getattr(curve, name)[at] for curve, at in zip(curves, places, strict=True)]))
        rows.append(row)
    columns = [SYSTEM]
    for percent in (round(100 * coverage) for coverage in COVERAGES):
        columns += percents(**{f"wa_{percent}": f"WA at {percent} %", f"ua_{percent}": f"UA at {percent} %"})
    return ReportTable("abstention", "Abstention", columns, rows)


def chance_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate UA against that of labels permuted within speakers: one row per system; p is of the worst seed."""
    rows: list[list[Cell]] = []
    for system in systems:
        clips = system.test
        speakers = None if None in clips.speakers else clips.speakers
        found = [
            permutation_control(clips.truth, of_seed, len(clips.labels), speakers) for of_seed in clips.predictions
        ]
        figures = [mean_sd([getattr(one, name) for one in found]) for name in ("value", "expected")]
        rows.append([named(system), *figures, max(one.p for one in found)])
    return ReportTable("chance", "Labels permuted", CHANCE, rows)


def speaker_interval(system: SystemScores, metric: CountMetric = ua) -> Interval | None:
    """Return the 95 % interval over speakers of a figure's mean over seeds; `None` for fewer than 2 known speakers."""
    if None in system.test.speakers or len(set(system.test.speakers)) < 2:
        return None
    estimate = speaker_bootstrap(system.test.counts("speaker").sum(axis=0), metric)
    return Interval(estimate.low, estimate.high)


def calibrate_folds(system: SystemScores) -> np.ndarray | None:
    """Fit a temperature for each model on its validation clips and measure calibration on its test clips.

    The figures of CALIBRATION in their order, (5, seeds), of the test clips of all folds; `None` if a fold has no
    validation clips.
    """
    models: dict[str, dict[Any, tuple[np.ndarray, np.ndarray]]] = {"validation": {}, "test": {}}
    for (split, *model), rows in system.clips.groupby(["split", "seed", "fold"]):
        models[split][tuple(model)] = truth_and_scores(rows)
    if len(models["validation"]) < len(system.seeds) * len(system.planned_folds):
        return None
    fitted = {model: fit_temperature(*clips) for model, clips in models["validation"].items()}
    figures = []
    for seed in system.seeds:
        tests = {model: clips for model, clips in models["test"].items() if model[0] == seed}
        truth = np.concatenate([truth for truth, _ in tests.values()])
        # A temperature of 1 mends only what float16 rounded from the scores' sum.
        before = np.concatenate([apply_temperature(scores, 1.0) for _, scores in tests.values()])
        after = np.concatenate([apply_temperature(scores, fitted[model]) for model, (_, scores) in tests.items()])
        measures = (expected_calibration_error, negative_log_likelihood)
        measured = [of(truth, scores) for of in measures for scores in (before, after)]
        figures.append([*measured, np.mean([fitted[model] for model in tests])])
    return np.array(figures).T


def named(system: SystemScores) -> Name:
    """Return the first cell of a system's row."""
    return Name(system.system, system.title)


def _by_system(
    key: str,
    title: str,
    columns: Sequence[Column],
    systems: Sequence[SystemScores],
    sizes: Mapping[Any, int],
    figures: Sequence[Iterable[Cell]],
) -> ReportTable:
    """Make a table of a row per group of clips, with their number, and a column per system."""
    columns = [*columns, *(Column(system.system, system.title, "percent") for system in systems)]
    rows = [[str(name), n, *cells] for (name, n), *cells in zip(sizes.items(), *figures, strict=True)]
    return ReportTable(key, title, columns, rows)
