"""The figures of planned comparisons, computed a second time, clip by clip."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from reproduction.report import PaperReport
from tests.speech_emotion.cross_validation.recomputed import SEEDS, pooled, quick, read_figures, write_scores


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scores(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def figures(results: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], str]:
    written = PaperReport().write(results, tmp_path_factory.mktemp("tables"))
    return read_figures(next(path for path in written if path.name == "claims.csv"))


def shares_right(results: Path, system: str) -> np.ndarray:
    return np.mean(
        [one["truth"] == one["guess"] for one in (pooled(results, system, s) for s in SEEDS[system])], axis=0
    )


def test_planned_comparisons(results: Path, figures: dict) -> None:
    p_values = {}
    for name, (first, second) in {
        "3, over acoustic": ("model-3", "model-1"),
        "3, over linguistic": ("model-3", "model-2"),
    }.items():
        ours, theirs = ([pooled(results, one, seed) for seed in SEEDS[one]] for one in (first, second))
        difference = np.mean([quick("ua", one["truth"], one["guess"]) for one in ours]) - np.mean(
            [quick("ua", one["truth"], one["guess"]) for one in theirs]
        )
        assert float(figures["comparisons", name, "difference"]) == pytest.approx(difference, rel=1e-4)
        speakers = np.unique(ours[0]["speaker"])
        by_speaker = [
            [
                np.mean([quick("ua", one["truth"][of], one["guess"][of]) for one in system])
                for of in (system[0]["speaker"] == speaker for speaker in speakers)
            ]
            for system in (ours, theirs)
        ]
        gaps = np.subtract(*by_speaker).round(12)
        ranks = stats.rankdata(np.abs(gaps)) * (gaps != 0)
        sums = [abs((ranks * signs).sum()) for signs in itertools.product((-1, 1), repeat=len(gaps))]
        p_values[name] = np.mean(np.array(sums) >= abs((ranks * np.sign(gaps)).sum()) - 1e-9)
        assert float(figures["comparisons", name, "wilcoxon"]) == pytest.approx(p_values[name], rel=1e-4)
        weights = shares_right(results, first) - shares_right(results, second)
        random = np.random.default_rng(0).choice([-1, 1], (20_000, len(weights)))
        mcnemar = np.mean(np.abs(random @ np.abs(weights)) >= abs(weights.sum()) - 1e-9)
        assert float(figures["comparisons", name, "mcnemar"]) == pytest.approx(mcnemar, abs=0.012)
        assert float(figures["comparisons", name, "speaker_mean"]) == pytest.approx(gaps.mean(), rel=1e-4)
        random, drawn = np.random.default_rng(7), []
        clips_of_speaker = [np.flatnonzero(ours[0]["speaker"] == speaker) for speaker in speakers]
        for _ in range(2000):
            clips = np.concatenate(
                [clips_of_speaker[one] for one in random.integers(len(speakers), size=len(speakers))]
            )
            means = [
                np.mean([quick("ua", one["truth"][clips], one["guess"][clips]) for one in system])
                for system in (ours, theirs)
            ]
            drawn.append(means[0] - means[1])
        ends = [float(figures["comparisons", name, f"ci_{end}"]) for end in ("low", "high")]
        assert ends == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.008)
        assert figures["comparisons", name, "seeds"] == f"{len(SEEDS[first])}, {len(SEEDS[second])}"
    # Fourteen differences are planned on the acted corpora, of which these two were run: the others count with p = 1.
    small, large = sorted(p_values, key=p_values.get)
    expected = {small: min(1, 14 * p_values[small])}
    expected[large] = max(expected[small], min(1, 13 * p_values[large]))
    for name, p in expected.items():
        assert float(figures["comparisons", name, "holm"]) == pytest.approx(p, rel=1e-4)
