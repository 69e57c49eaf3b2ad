"""Figures of finished runs: every system on every corpus, from the files of their folds, each beside its numbers."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speech_emotion.evaluation.figures import figure_style, save_figure
from speech_emotion.evaluation.figures_runs import (
    average_curve,
    confusion_figure,
    learning_curves_figure,
    reliability_figure,
    ua_figure,
)
from speech_emotion.evaluation.intervals import speaker_bootstrap
from speech_emotion.files import write_csv

from .report import Folders, Report, told
from .score_store import FoldScores
from .score_table import SystemScores, truth_and_scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Panel, curve in it, key of an epoch in `about["curve"]`.
CURVES = (
    ("loss (nats)", "training", "train_loss"),
    ("loss (nats)", "validation", "validation_loss"),
    ("UA of the validation speakers", "validation", "validation_ua"),
)


def draw_results(
    results: Folders,
    output_dir: str | Path,
    condition: str | None = None,
    formats: Sequence[str] = (".png",),
) -> list[Path]:
    """Draw confusion matrices, reliability diagrams, learning curves, and the UA of all systems of a corpus."""
    with figure_style():  # before the work, not after it: figures need matplotlib
        pass
    report = Report()
    gathered = report.read(results, condition)
    if not gathered:
        what = f" of {condition}" if condition else ""
        raise FileNotFoundError(f"There are no results{what} in {told(results)}.")
    written: list[Path] = []
    for name, systems in gathered.items():
        complete = [system for system in systems if system.seeds]
        folder, title = Path(output_dir) / name, report.condition_title(name)
        for system in complete:
            written += _draw_system(system, title, folder / system.system, formats)
        if complete and len(set(complete[0].test.speakers)) > 1:  # of one speaker there is no interval
            written += _draw_ua(complete, title, folder, formats)
    return written


def training_runs(entries: Iterable[FoldScores]) -> dict[str, list[list[float]]]:
    """Collect the learning curves of trainings, those of an ensemble's members each by itself."""
    runs: dict[str, list[list[float]]] = {}
    for entry in entries:
        trainings: dict[object, list[dict[str, float]]] = {}
        for epoch in entry.about.get("curve") or []:
            if "epoch" in epoch:
                trainings.setdefault(epoch.get("member"), []).append(epoch)
        for epochs in trainings.values():
            epochs = sorted(epochs, key=lambda epoch: epoch["epoch"])
            for _, _, key in CURVES:
                values = [epoch.get(key) for epoch in epochs]
                if any(value is not None for value in values):
                    runs.setdefault(key, []).append([np.nan if value is None else value for value in values])
    return runs


def _draw_system(system: SystemScores, condition: str, folder: Path, formats: Sequence[str]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    seeds = len(system.seeds)
    title = f"{system.title}\n{condition}"  # two lines: titles of variants are long
    pooled = f"{title}, {len(system.planned_folds)} folds × {seeds} seed{'s' * (seeds > 1)}"
    counts = system.test.counts().sum(axis=0)  # (true, predicted)
    table = [[label, *row] for label, row in zip(system.labels, counts.tolist(), strict=True)]
    written = [write_csv(folder / "confusion.csv", ["true \\ predicted", *system.labels], table)]
    written += _save(confusion_figure(counts, system.labels, pooled), folder / "confusion", formats)
    reliability = reliability_figure(*truth_and_scores(system.test.table), title=pooled)
    written += _save(reliability, folder / "reliability", formats)
    runs = training_runs([part for seed in system.seeds for part in system.folds_of(seed)])
    if not runs:
        return written
    rows = [
        [key, epoch, f"{mean:.6f}", f"{deviation:.6f}", int(count)]
        for key, values in runs.items()
        for epoch, (mean, deviation, count) in enumerate(zip(*average_curve(values), strict=True), start=1)
    ]
    written.append(write_csv(folder / "curves.csv", ["curve", "epoch", "mean", "sd", "runs"], rows))
    panels: dict[str, dict[str, list[list[float]]]] = {}
    for panel, curve, key in CURVES:
        if key in runs:
            panels.setdefault(panel, {})[curve] = runs[key]
    caption = f"{title}, mean ± SD of {max(map(len, runs.values()))} trainings"
    return written + _save(learning_curves_figure(panels, caption), folder / "curves", formats)


def _draw_ua(systems: Sequence[SystemScores], condition: str, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Draw the UA of the systems of one corpus, the best first."""
    found = [(system, speaker_bootstrap(system.test.counts("speaker").sum(axis=0))) for system in systems]
    found.sort(key=lambda pair: -pair[1].value)
    values = np.array([[one.value, one.low, one.high] for _, one in found])  # (systems, 3)
    # A system that lacks seeds is not hidden, but must not pass for a whole one.
    titles = [
        f"{system.title} ({len(system.seeds)} of {len(system.planned_seeds)} seeds)"
        if system.missing
        else system.title
        for system, _ in found
    ]
    rows = [
        [system.system, system.title, *(f"{value:.6f}" for value in row), len(system.seeds)]
        for (system, _), row in zip(found, values, strict=True)
    ]
    title = f"{condition}: UA pooled over folds, mean over seeds, 95% interval over speakers"
    figure = ua_figure(titles, *values.T, chance=1 / len(systems[0].labels), title=title)
    return [
        write_csv(folder / "ua.csv", ["system", "title", "ua", "low", "high", "seeds"], rows),
        *_save(figure, folder / "ua", formats),
    ]


def _save(figure: "Figure", stem: Path, formats: Sequence[str]) -> list[Path]:
    return [save_figure(figure, stem.with_name(stem.name + ending)) for ending in formats]
