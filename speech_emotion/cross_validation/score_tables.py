"""Tables of what the scores are worth: calibration, reliability, abstention, and chance."""

from collections.abc import Sequence

import numpy as np

from speech_emotion.cross_validation.fold_calibration import calibrate_folds
from speech_emotion.cross_validation.report_table import Cell, Column, ReportTable, Share
from speech_emotion.cross_validation.seed_metrics import mean_sd
from speech_emotion.cross_validation.system_scores import SystemScores
from speech_emotion.evaluation.calibration import BINS, abstention_curve, reliability
from speech_emotion.evaluation.significance import permutation_control

from .error_tables import SYSTEM, named

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)


def calibration_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate calibration before and after a temperature: one row per system."""
    rows: list[list[Cell]] = []
    for system in systems:
        found = calibrate_folds(system)
        if found is None:
            rows.append([named(system), *[None] * 5])
            continue
        seeds = (found.ece_before, found.ece_after, found.nll_before, found.nll_after)
        rows.append([named(system), *map(mean_sd, seeds), mean_sd(found.temperatures.mean(axis=1))])
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
        "[0.05, 20]. Support vector machines (openSMILE) and Lee and Tashev's learning machine give no probabilities "
        "by themselves: their scores hold such a temperature from the start, and both columns are “after”. A score "
        "that float16 rounded to 0 counts as 2 to the power −25. A dash: no validation scores."
    )
    return ReportTable("calibration", "Calibration", columns, rows, note)


def reliability_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate accuracy by confidence: one row per bin, one column per system."""
    tables = [reliability(*_every_seed(system)) for system in systems]
    columns = [Column("confidence", "confidence, %")]
    columns += [Column(system.system, system.title) for system in systems]
    edges = tables[0].edges
    rows: list[list[Cell]] = []
    for index in np.flatnonzero(sum(one.clips for one in tables)):
        name = f"{100 * edges[index]:.1f} to {100 * edges[index + 1]:.1f}"
        cells = [Share(int(one.clips[index]), float(one.accuracy[index])) for one in tables]
        rows.append([name, *(cell if cell.count else None for cell in cells)])
    note = (
        "Clips by the confidence of their prediction, in the scores as they are, all seeds together; in brackets the "
        "% of them that are right. Calibrated scores are right as often as they are confident."
    )
    return ReportTable("reliability", "Reliability", columns, rows, note)


def abstention_table(systems: Sequence[SystemScores]) -> ReportTable:
    """Tabulate WA and UA of the most confident clips: one row per system."""
    rows: list[list[Cell]] = []
    for system in systems:
        curves = [abstention_curve(system.test.truth, scores) for scores in system.test.scores]
        row: list[Cell] = [named(system)]
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
        found = [
            permutation_control(clips.truth, predictions, len(clips.labels), speakers)
            for predictions in clips.predictions
        ]
        values, expected = ([getattr(one, name) for one in found] for name in ("value", "expected"))
        rows.append([named(system), mean_sd(values), mean_sd(expected), max(one.p for one in found)])
    columns = [
        SYSTEM,
        Column("ua", "UA, %", "percent"),
        Column("ua_chance", "UA by chance, %", "percent"),
        Column("p", "p", "p"),
    ]
    note = (
        "By chance: the mean over 10,000 permutations of the labels within speakers, for each seed; mean ± SD over "
        "seeds. p: how often a permutation reaches the UA, one-sided, of the seed with the largest; not corrected."
    )
    return ReportTable("chance", "Labels permuted", columns, rows, note)


def _every_seed(system: SystemScores) -> tuple[np.ndarray, np.ndarray]:
    """Truth, (seeds × clips,), and scores, (seeds × clips, classes), of all seeds together."""
    scores = system.test.scores.reshape(-1, len(system.labels))  # (seeds × clips, classes)
    return np.tile(system.test.truth, len(system.seeds)), scores


__all__ = ["abstention_table", "calibration_table", "chance_table", "reliability_table"]
