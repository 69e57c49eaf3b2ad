"""The tables of a corpus's report, but the summary and the claims."""

from collections.abc import Sequence

import numpy as np

from speech_emotion.evaluation.abstention import abstention_curve
from speech_emotion.evaluation.calibration import BINS, reliability
from speech_emotion.evaluation.count_metrics import recalls
from speech_emotion.evaluation.fold_calibration import calibrate_folds
from speech_emotion.evaluation.group_metrics import clips_by_group, uar_by_group
from speech_emotion.evaluation.permutation import permutation_control
from speech_emotion.evaluation.report_table import Cell, Column, ReportTable, Share
from speech_emotion.evaluation.seed_metrics import mean_sd
from speech_emotion.evaluation.system_scores import SystemScores

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)
SYSTEM = Column("system", "system")


def recall_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate the recall of each class: one row per system, mean ± SD over seeds."""
    labels = systems[0].labels
    clips = np.bincount(systems[0].test.truth, minlength=len(labels))
    columns = [Column(label, f"{label} ({n})", "percent") for label, n in zip(labels, clips, strict=True)]
    rows: list[list[Cell]] = []
    for system in systems:
        values, present = recalls(system.test.seed_counts())  # (seeds, classes)
        cells = [mean_sd(values[:, index]) if present[0, index] else None for index in range(len(labels))]
        rows.append([system.system, *cells])
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
        tables.append(ReportTable(f"confusion-{system.system}", f"Confusions of {system.system}", columns, rows, note))
    return tables


def sex_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate UAR by sex: one row per system."""
    clips = clips_by_group(systems[0].test.sexes)
    columns = [Column(sex, f"{sex} ({n})", "percent") for sex, n in clips.items()]
    rows = [[system.system, *uar_by_group(system.test, system.test.sexes).values()] for system in systems]
    note = "UAR of the pooled clips of each sex; mean ± SD over seeds, %. In brackets the clips."
    return ReportTable("sexes", "UAR by sex", [SYSTEM, *columns], rows, note)


def speaker_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate UAR by speaker: one row per speaker, one column per system."""
    clips = clips_by_group(systems[0].test.speakers)
    figures = [uar_by_group(system.test, system.test.speakers) for system in systems]
    columns = [Column("speaker", "speaker"), Column("clips", "clips")]
    columns += [Column(system.system, system.system, "percent") for system in systems]
    rows: list[list[Cell]] = [[name, n, *(figure[name].mean for figure in figures)] for name, n in clips.items()]
    note = "UAR over the classes that the speaker has, mean over seeds, %."
    return ReportTable("speakers", "UAR by speaker", columns, rows, note)


def calibration_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate calibration before and after a temperature: one row per system."""
    rows: list[list[Cell]] = []
    for system in systems:
        found = calibrate_folds(system)
        if found is None:
            rows.append([system.system, *[None] * 5])
            continue
        seeds = (found.ece_before, found.ece_after, found.nll_before, found.nll_after)
        rows.append([system.system, *map(mean_sd, seeds), mean_sd(found.temperatures.mean(axis=1))])
    columns = [
        SYSTEM,
        Column("ece_before", "ECE, %", "percent"),
        Column("ece_after", "ECE after, %", "percent"),
        Column("nll_before", "NLL, nats", "number"),
        Column("nll_after", "NLL after, nats", "number"),
        Column("temperature", "temperature", "number"),
    ]
    note = (
        f"Pooled test clips; mean ± SD over seeds. ECE: expected calibration error, {BINS} bins of equal width. "
        "“After”: each fold's scores after the temperature with the least NLL on that fold's validation clips, in "
        "[0.05, 20]. A score that float16 rounded to 0 counts as 2 to the power −25. A dash: no validation scores."
    )
    return ReportTable("calibration", "Calibration", columns, rows, note)


def reliability_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate accuracy by confidence: one row per bin, one column per system."""
    tables = [reliability(*_every_seed(system)) for system in systems]
    columns = [Column("confidence", "confidence, %")]
    columns += [Column(system.system, system.system) for system in systems]
    edges = tables[0].edges
    rows: list[list[Cell]] = []
    for index in np.flatnonzero(sum(one.clips for one in tables)):
        name = f"{100 * edges[index]:.1f} to {100 * edges[index + 1]:.1f}"
        cells = [Share(int(one.clips[index]), float(one.accuracy[index])) for one in tables]
        rows.append([name, *(cell if cell.count else None for cell in cells)])
    note = (
        "Clips by the confidence of their prediction, before the temperature, all seeds together; in brackets the % "
        "of them that are right. Calibrated scores are right as often as they are confident."
    )
    return ReportTable("reliability", "Reliability", columns, rows, note)


def abstention_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate WA and UA of the most confident clips: one row per system."""
    rows: list[list[Cell]] = []
    for system in systems:
        curves = [abstention_curve(system.test.truth, scores) for scores in system.test.scores]
        row: list[Cell] = [system.system]
        for coverage in COVERAGES:
            points = [(curve, curve.at(coverage)) for curve in curves]
            row.append(mean_sd([curve.accuracy[at] for curve, at in points]))
            row.append(mean_sd([curve.ua[at] for curve, at in points]))
        rows.append(row)
    columns = [SYSTEM]
    for coverage in COVERAGES:
        percent = round(100 * coverage)
        columns += [Column(f"{name.lower()}_{percent}", f"{name} at {percent} %", "percent") for name in ("WA", "UA")]
    note = (
        "Only the most confident clips are answered, the others called uncertain; at least the share named, more "
        "where clips of equal confidence stand at the border. Mean ± SD over seeds, %."
    )
    return ReportTable("abstention", "Abstention", columns, rows, note)


def chance_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate UA against that of permuted labels: one row per system."""
    rows: list[list[Cell]] = []
    for system in systems:
        clips = system.test
        speakers = None if None in clips.speakers else clips.speakers
        found = permutation_control(clips.truth, clips.mean_posterior_predictions, len(clips.labels), speakers)
        rows.append([system.system, found.value, found.expected, found.p])
    columns = [
        SYSTEM,
        Column("ua_mean_posterior", "UA of mean posterior, %", "percent"),
        Column("ua_chance", "UA by chance, %", "percent"),
        Column("p", "p", "p"),
    ]
    note = (
        "The posteriors are averaged over the seeds, so that each clip has one prediction; this is an ensemble, and "
        "its UA need not be the mean of the seeds'. By chance: the mean over 10,000 permutations of the labels within "
        "speakers. p: how often a permutation reaches the UA, one-sided, not corrected."
    )
    return ReportTable("chance", "Chance", columns, rows, note)


def _every_seed(system: SystemScores) -> tuple[np.ndarray, np.ndarray]:
    """Truth, (seeds × clips,), and scores, (seeds × clips, classes), of all seeds together."""
    scores = system.test.scores.reshape(-1, len(system.labels))  # (seeds × clips, classes)
    return np.tile(system.test.truth, len(system.seeds)), scores


def system_sections(systems: Sequence[SystemScores]) -> list[ReportTable]:
    """Make the tables of what systems did in detail.

    Args:
        systems: Systems on one corpus, each with a complete seed.

    Returns:
        Recall, confusions, UAR by sex and speaker, calibration, reliability, abstention and chance; none without a
        system.
    """
    if not systems:
        return []
    return [
        recall_table(systems),
        *confusion_tables(systems),
        sex_table(systems),
        speaker_table(systems),
        calibration_table(systems),
        reliability_table(systems),
        abstention_table(systems),
        chance_table(systems),
    ]


__all__ = [
    "abstention_table",
    "calibration_table",
    "chance_table",
    "confusion_tables",
    "recall_table",
    "reliability_table",
    "sex_table",
    "speaker_table",
    "system_sections",
]
