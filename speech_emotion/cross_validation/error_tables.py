"""Tables of what is recognized and of whom: recall, confusions, UAR by sex and speaker, figures by fold."""

from collections.abc import Sequence

import numpy as np

from speech_emotion.cross_validation.group_metrics import clips_by_group, uar_by_group
from speech_emotion.cross_validation.report_table import Cell, Column, Name, ReportTable, Share
from speech_emotion.cross_validation.seed_metrics import fold_metrics, mean_sd
from speech_emotion.cross_validation.system_scores import SystemScores
from speech_emotion.evaluation.metrics import recalls

SYSTEM = Column("system", "system")
SEXES = {"f": "female", "m": "male"}
METRICS = {"wa": "WA", "ua": "UA", "macro_f1": "Macro F1", "weighted_f1": "Weighted F1"}


def named(system: SystemScores) -> Name:
    """Return the first cell of a system's row."""
    return Name(system.system, system.title)


def recall_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate the recall of each class: one row per system, mean ± SD over seeds."""
    labels = systems[0].labels
    clips = np.bincount(systems[0].test.truth, minlength=len(labels))
    columns = [Column(label, f"{label} ({n})", "percent") for label, n in zip(labels, clips, strict=True)]
    rows: list[list[Cell]] = []
    for system in systems:
        values, present = recalls(system.test.seed_counts())  # (seeds, classes)
        cells = [mean_sd(values[:, index]) if present[0, index] else None for index in range(len(labels))]
        rows.append([named(system), *cells])
    note = "Pooled over folds; mean ± SD over seeds, %. In brackets the clips of the class."
    return ReportTable("recall", "Recall of each emotion", [SYSTEM, *columns], rows, note)


def confusion_tables(systems: Sequence[SystemScores]) -> list[ReportTable]:
    """Tabulate the confusion matrix of each system, summed over folds and seeds."""
    tables = []
    for system in systems:
        counts = system.test.seed_counts().sum(axis=0)  # (true, predicted)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        rows: list[list[Cell]] = [
            [label, *(Share(int(n), float(share)) for n, share in zip(counts[index], shares[index], strict=True))]
            for index, label in enumerate(system.labels)
        ]
        columns = [Column("true", "true \\ predicted"), *(Column(label, label) for label in system.labels)]
        seeds = len(system.seeds)
        note = f"Clips, summed over folds and {seeds} seed{'s' * (seeds > 1)}; in brackets % of the true class."
        tables.append(ReportTable(f"confusion-{system.system}", f"Confusions of {system.title}", columns, rows, note))
    return tables


def sex_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate UAR by sex: one row per system."""
    clips = clips_by_group(systems[0].test.sexes)
    columns = [Column(sex, f"{SEXES.get(sex, sex)} ({n})", "percent") for sex, n in clips.items()]
    rows = [[named(system), *uar_by_group(system.test, system.test.sexes).values()] for system in systems]
    note = "UAR of the pooled clips of each sex; mean ± SD over seeds, %. In brackets the clips."
    return ReportTable("sexes", "UAR by sex", [SYSTEM, *columns], rows, note)


def speaker_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate UAR by speaker: one row per speaker, one column per system."""
    clips = clips_by_group(systems[0].test.speakers)
    figures = [uar_by_group(system.test, system.test.speakers) for system in systems]
    columns = [Column("speaker", "speaker"), Column("clips", "clips")]
    columns += [Column(system.system, system.title, "percent") for system in systems]
    rows: list[list[Cell]] = [[name, n, *(figure[name].mean for figure in figures)] for name, n in clips.items()]
    note = "UAR over the classes that the speaker has, mean over seeds, %."
    return ReportTable("speakers", "UAR by speaker", columns, rows, note)


def fold_tables(systems: Sequence[SystemScores]) -> list[ReportTable]:
    """Tabulate each figure by fold: one row per fold, one column per system."""
    clips = systems[0].test
    numbers = systems[0].planned_folds
    sizes = [int((clips.folds[0] == number).sum()) for number in numbers]
    figures = [fold_metrics(system.test) for system in systems]
    columns = [Column("fold", "fold"), Column("clips", "test clips")]
    columns += [Column(system.system, system.title, "percent") for system in systems]
    tables = []
    for metric, title in METRICS.items():
        rows: list[list[Cell]] = [
            [str(number), size, *(mean_sd(figure[metric][:, place]) for figure in figures)]
            for place, (number, size) in enumerate(zip(numbers, sizes, strict=True))
        ]
        note = "Over the classes that the fold's test clips have; mean ± SD over seeds, %."
        tables.append(ReportTable(f"folds-{metric.replace('_', '-')}", f"{title} by fold", columns, rows, note))
    return tables


__all__ = [
    "SYSTEM",
    "confusion_tables",
    "fold_tables",
    "named",
    "recall_table",
    "sex_table",
    "speaker_table",
]
