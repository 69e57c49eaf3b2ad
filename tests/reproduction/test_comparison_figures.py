"""The figures of planned comparisons, computed a second time, clip by clip."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from reproduction.report import PaperReport
from tests.speech_emotion.cross_validation.recomputed import (
    SEEDS,
    clips_of,
    quick_ua,
    read_figures,
    resamples,
    ua,
    write_scores,
)


def test_planned_comparisons(tmp_path: Path) -> None:
    results = write_scores(tmp_path / "results")
    PaperReport().write(results, tmp_path)
    figures = read_figures(tmp_path / "claims.csv")
    p_values = {}
    for name, pair in {
        "3, over acoustic": ("model-3", "model-1"),
        "3, over linguistic": ("model-3", "model-2"),
    }.items():
        systems = [clips_of(results, system) for system in pair]
        speakers = sorted(set(systems[0][0]["speaker"]))

        def told(column: str, name: str = name) -> float:
            return float(figures["comparisons", name, column])

        means = [np.mean([ua(clips) for clips in seeds]) for seeds in systems]
        assert told("difference") == pytest.approx(means[0] - means[1], rel=1e-4)
        by_speaker = [
            [np.mean([ua(clips[clips["speaker"] == speaker]) for clips in seeds]) for speaker in speakers]
            for seeds in systems
        ]
        gaps = np.subtract(*by_speaker).round(12)
        assert told("speaker_mean") == pytest.approx(gaps.mean(), rel=1e-4)
        ranks = stats.rankdata(np.abs(gaps)) * (gaps != 0)
        sums = [abs((ranks * signs).sum()) for signs in itertools.product((-1, 1), repeat=len(gaps))]
        p_values[name] = np.mean(np.array(sums) >= abs((ranks * np.sign(gaps)).sum()) - 1e-9)
        assert told("wilcoxon") == pytest.approx(p_values[name], rel=1e-4)
        right = [np.mean([clips["truth"] == clips["guess"] for clips in seeds], axis=0) for seeds in systems]
        weights = right[0] - right[1]
        random = np.random.default_rng(0).choice([-1, 1], (20_000, len(weights)))
        mcnemar = np.mean(np.abs(random @ np.abs(weights)) >= abs(weights.sum()) - 1e-9)
        assert told("mcnemar") == pytest.approx(mcnemar, abs=0.012)
        arrays = [[clips[["truth", "guess"]].to_numpy() for clips in seeds] for seeds in systems]
        drawn = [
            np.subtract(*(np.mean([quick_ua(*clips[rows].T) for clips in seeds]) for seeds in arrays))
            for rows in resamples(systems[0][0], 2000, seed=7)
        ]
        assert [told("ci_low"), told("ci_high")] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.008)
        assert figures["comparisons", name, "seeds"] == ", ".join(str(len(SEEDS[system])) for system in pair)
    # Fourteen differences are planned on the acted corpora, of which these two were run: the others count with p = 1.
    small, large = sorted(p_values, key=p_values.get)
    expected = {small: min(1, 14 * p_values[small])}
    expected[large] = max(expected[small], min(1, 13 * p_values[large]))
    for name, p in expected.items():
        assert float(figures["comparisons", name, "holm"]) == pytest.approx(p, rel=1e-4)
