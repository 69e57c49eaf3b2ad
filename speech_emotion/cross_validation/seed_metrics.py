"""Figures of a system, of all clips or of groups: means and spread over seeds, intervals, calibration of its folds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from speech_emotion.evaluation.calibration import (
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)
from speech_emotion.evaluation.intervals import speaker_bootstrap
from speech_emotion.evaluation.metrics import COUNT_METRICS, CountMetric, ua

from .score_table import PooledClips, truth_and_scores
from .system_scores import SystemScores


class MeanSD(NamedTuple):
    """A mean over seeds and the standard deviation of a single seed (ddof = 1); `None` for one seed."""

    mean: float
    sd: float | None


class Interval(NamedTuple):
    """Ends of a confidence interval."""

    low: float
    high: float


def mean_sd(values: Sequence[float] | np.ndarray) -> MeanSD:
    """Average over seeds.

    >>> mean_sd([0.5, 0.7]).sd, mean_sd([0.5]).sd
    (0.141421356237..., None)
    """
    values = np.asarray(values, dtype=np.float64)
    if not values.size:
        raise ValueError("There is no seed to average over.")
    return MeanSD(float(values.mean()), float(values.std(ddof=1)) if values.size > 1 else None)


def pooled_metrics(clips: PooledClips, column: str | None = None) -> dict[str, np.ndarray]:
    """Compute each metric of each seed over all test clips, (seeds,), or by a column, (seeds, values)."""
    counts = clips.counts(column)
    return {name: metric(counts) for name, metric in COUNT_METRICS.items()}


def speaker_interval(system: SystemScores, metric: CountMetric = ua) -> Interval | None:
    """Return the 95 % interval over speakers of a figure's mean over seeds; `None` for fewer than 2 known speakers."""
    if None in system.test.speakers or len(set(system.test.speakers)) < 2:
        return None
    estimate = speaker_bootstrap(system.test.counts("speaker").sum(axis=0), metric)
    return Interval(estimate.low, estimate.high)


@dataclass(frozen=True)
class FoldCalibration:
    """Calibration on the test clips of all folds, before and after the temperature."""

    temperatures: np.ndarray  # of each model, (seeds, folds)
    ece_before: np.ndarray  # expected calibration error, 15 bins, of each seed, (seeds,)
    ece_after: np.ndarray  # the same after the temperatures
    nll_before: np.ndarray  # mean negative log-likelihood in nats, (seeds,)
    nll_after: np.ndarray  # the same after the temperatures


def calibrate_folds(system: SystemScores) -> FoldCalibration | None:
    """Fit a temperature for each model on its validation clips and measure calibration on its test clips.

    `None` if a fold has no validation clips.
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
        errors = [expected_calibration_error(truth, scores) for scores in (before, after)]
        figures.append([*errors, *(negative_log_likelihood(truth, scores) for scores in (before, after))])
    temperatures = np.reshape(list(fitted.values()), (len(system.seeds), -1))
    return FoldCalibration(temperatures, *np.array(figures).T)
