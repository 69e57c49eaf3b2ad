"""Figures of finished runs: every system on every corpus, from the files of their folds."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from reproduction.reading_order import condition_title
from speech_emotion.cross_validation.score_store import FoldScores, read_fold_scores
from speech_emotion.cross_validation.system_scores import SystemScores, gather_systems
from speech_emotion.evaluation.figures import figure_style, save_figure
from speech_emotion.evaluation.figures_runs import (
    average_curve,
    confusion_figure,
    learning_curves_figure,
    reliability_figure,
    ua_figure,
)
from speech_emotion.evaluation.intervals import Estimate, speaker_bootstrap
from speech_emotion.files import write_text

# Panel, curve in it, key of an epoch in `about["curve"]`.
CURVES = (
    ("loss (nats)", "training", "train_loss"),
    ("loss (nats)", "validation", "validation_loss"),
    ("UA of the validation speakers", "validation", "validation_ua"),
)


def draw_results(
    results: str | Path, output_dir: str | Path, corpus: str | None = None, formats: Sequence[str] = (".png",)
) -> list[Path]:
    """Draw confusion matrices, reliability diagrams, learning curves, and the UA of all systems of a corpus."""
    with figure_style():  # before the work, not after it: figures need matplotlib
        pass
    entries = read_fold_scores(results, condition=corpus)
    if not entries:
        raise FileNotFoundError(f"There are no results in {results}" + (f" for {corpus}." if corpus else "."))
    written: list[Path] = []
    for name in sorted({entry.corpus for entry in entries}):
        systems = [one for one in gather_systems([e for e in entries if e.corpus == name]) if one.seeds]
        folder = Path(output_dir) / name
        for system in systems:
            written += draw_system(system, folder / system.system, formats)
        if systems and len(set(systems[0].test.speakers)) > 1:  # of one speaker there is no interval
            written += draw_ua(systems, folder, formats)
    return written


def draw_system(system: SystemScores, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Draw the figures of one system on one corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    clips, labels = system.test, system.labels
    title = f"{system.title}\n{condition_title(system.corpus)}"  # two lines: titles of variants are long
    seeds = f"{len(clips.seeds)} seed{'s' * (len(clips.seeds) > 1)}"
    pooled = f"{title}, {len(system.planned_folds)} folds × {seeds}"
    counts = clips.seed_counts().sum(axis=0)  # (true, predicted)
    truth = np.tile(clips.truth, len(clips.seeds))
    scores = clips.scores.reshape(-1, len(labels))  # (seeds × clips, classes)
    table = [[label, *row] for label, row in zip(labels, counts.tolist(), strict=True)]
    written = [_write_csv(folder / "confusion.csv", ["true \\ predicted", *labels], table)]
    written += _save(confusion_figure(counts, labels, pooled), folder / "confusion", formats)
    written += _save(reliability_figure(truth, scores, title=pooled), folder / "reliability", formats)
    runs = training_runs([part for seed in system.seeds for part in system.folds_of(seed)])
    if runs:
        written.append(_write_csv(folder / "curves.csv", ["curve", "epoch", "mean", "sd", "runs"], _curve_rows(runs)))
        panels: dict[str, dict[str, list[list[float]]]] = {}
        for panel, curve, key in CURVES:
            if key in runs:
                panels.setdefault(panel, {})[curve] = runs[key]
        number = max(map(len, runs.values()))
        written += _save(
            learning_curves_figure(panels, f"{title}, mean ± SD of {number} trainings"), folder / "curves", formats
        )
    return written


def draw_ua(systems: Sequence[SystemScores], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Draw the UA of the systems of one corpus, the best first."""
    found: list[tuple[SystemScores, Estimate]] = [
        (system, speaker_bootstrap(system.test.speaker_counts()[1])) for system in systems
    ]
    found.sort(key=lambda pair: -pair[1].value)
    estimates = [estimate for _, estimate in found]
    # A system that lacks seeds is not hidden, but must not pass for a whole one.
    titles = [
        f"{system.title} ({len(system.seeds)} of {len(system.planned_seeds)} seeds)"
        if system.missing
        else system.title
        for system, _ in found
    ]
    values = np.array([[one.value, one.low, one.high] for one in estimates]).T  # (3, systems)
    rows = [
        [system.system, system.title, *(f"{value:.6f}" for value in column), len(system.seeds)]
        for (system, _), column in zip(found, values.T, strict=True)
    ]
    title = f"{condition_title(systems[0].corpus)}: UA pooled over folds, mean over seeds, 95% interval over speakers"
    chance = 1 / len(systems[0].labels)
    return [
        _write_csv(folder / "ua.csv", ["system", "title", "ua", "low", "high", "seeds"], rows),
        *_save(ua_figure(titles, *values, chance=chance, title=title), folder / "ua", formats),
    ]


def training_runs(entries: Iterable[FoldScores]) -> dict[str, list[list[float]]]:
    """Collect the learning curves of trainings.

    >>> curve = [{"epoch": 1, "train_loss": 1.2}, {"epoch": 2, "train_loss": 0.9}]
    >>> clips = {name: ["a"] for name in ("id", "split", "speaker", "sex", "sentence", "label")}
    >>> training_runs([FoldScores("c", "s", 0, 0, ["a"], clips, [[1.0]], {"curve": curve})])
    {'train_loss': [[1.2, 0.9]]}
    """
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


def _curve_rows(runs: dict[str, list[list[float]]]) -> list[list[object]]:
    rows: list[list[object]] = []
    for key, values in runs.items():
        for epoch, (mean, deviation, count) in enumerate(zip(*average_curve(values), strict=True), start=1):
            rows.append([key, epoch, f"{mean:.6f}", f"{deviation:.6f}", int(count)])
    return rows


def _save(figure: object, stem: Path, formats: Sequence[str]) -> list[Path]:
    return [save_figure(figure, stem.with_name(stem.name + ending)) for ending in formats]


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return write_text(path, text.getvalue())


__all__ = ["draw_results", "draw_system", "draw_ua", "training_runs"]
