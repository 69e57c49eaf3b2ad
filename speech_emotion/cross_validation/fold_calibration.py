"""Calibration in a cross-validation: each fold's temperature comes from its own validation clips."""

from dataclasses import dataclass

import numpy as np

from speech_emotion.evaluation.calibration import (
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)

from .score_store import FoldScores
from .system_scores import SystemScores


@dataclass(frozen=True)
class FoldCalibration:
    """Calibration on the test clips of all folds, before and after the temperature."""

    temperatures: np.ndarray  # of each model, (seeds, folds)
    ece_before: np.ndarray  # expected calibration error, 15 bins, of each seed, (seeds,)
    ece_after: np.ndarray  # the same after the temperatures
    nll_before: np.ndarray  # mean negative log-likelihood in nats, (seeds,)
    nll_after: np.ndarray  # the same after the temperatures


def calibrate_folds(system: SystemScores) -> FoldCalibration | None:
    """Fit a temperature for each model of a cross-validation and measure calibration on its test clips."""
    temperatures, figures = [], []
    for seed in system.seeds:
        pairs = [(fold.select("validation"), fold.select("test")) for fold in system.folds_of(seed)]
        if not all(len(validation.scores) for validation, _ in pairs):
            return None
        fitted = [fit_temperature(validation.truth, validation.scores) for validation, _ in pairs]
        temperatures.append(fitted)
        truth = np.concatenate([test.truth for _, test in pairs])
        before = np.concatenate([_scaled(test, 1.0) for _, test in pairs])
        after = np.concatenate([_scaled(test, t) for (_, test), t in zip(pairs, fitted, strict=True)])
        figures.append(
            [
                expected_calibration_error(truth, before),
                expected_calibration_error(truth, after),
                negative_log_likelihood(truth, before),
                negative_log_likelihood(truth, after),
            ]
        )
    return FoldCalibration(np.array(temperatures), *np.array(figures).T)


def _scaled(test: FoldScores, temperature: float) -> np.ndarray:
    """Scores after a temperature, (clips, classes); at 1 only what float16 rounded from their sum is mended."""
    return apply_temperature(test.scores, temperature)


__all__ = ["FoldCalibration", "calibrate_folds"]
