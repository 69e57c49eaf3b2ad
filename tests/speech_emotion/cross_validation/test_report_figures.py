"""Every figure of a report, computed a second time: clip by clip from the Parquet files, by other libraries."""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import optimize
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score, log_loss, recall_score

from speech_emotion.cross_validation.report import Report

from .recomputed import SCORES, SEEDS, clips_of, quick_ua, read_figures, resamples, ua, wa, write_scores
from .simulated_scores import FOLDS, LABELS

METRICS = {
    "wa": accuracy_score,
    "ua": balanced_accuracy_score,
    "macro_f1": lambda truth, guesses: f1_score(truth, guesses, average="macro"),
    "weighted_f1": lambda truth, guesses: f1_score(truth, guesses, average="weighted"),
}
Figures = dict[tuple[str, str, str], str]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scores(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def figures(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Figures:
    return read_figures(Report().write(results, tmp_path_factory.mktemp("tables"))[1])


def assert_mean_sd(figures: Figures, table: str, row: str, column: str, values: Iterable[float]) -> None:
    values = list(values)
    assert float(figures[table, row, f"{column}_mean"]) == pytest.approx(np.mean(values), rel=1e-5)
    assert float(figures[table, row, f"{column}_sd"]) == pytest.approx(np.std(values, ddof=1), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("system", list(SEEDS))
@pytest.mark.parametrize("name", list(METRICS))
def test_wa_ua_and_f1(results: Path, figures: Figures, system: str, name: str) -> None:
    def metric(clips: pd.DataFrame) -> float:
        return METRICS[name](clips["truth"], clips["guess"])

    seeds = clips_of(results, system)
    by_fold = np.array([[metric(clips[clips["fold"] == fold]) for fold in range(FOLDS)] for clips in seeds])
    assert_mean_sd(figures, "summary" if name in ("wa", "ua") else "averages", system, name, map(metric, seeds))
    assert_mean_sd(figures, "averages", system, f"{name}_folds", by_fold.mean(axis=1))
    for fold in range(FOLDS):
        assert_mean_sd(figures, f"folds-{name.replace('_', '-')}", str(fold), system, by_fold[:, fold])
    whole = len(seeds) == 3
    assert figures["summary", system, "seeds"] == ("3 of 3" if whole else "2 of 3")
    assert figures["summary", system, "folds"] == ("9 of 9" if whole else "8 of 9")


def test_intervals_over_speakers(results: Path, figures: Figures) -> None:
    # So far from the code's way of one product: the clips of the speakers drawn are joined, for each seed.
    seeds = [clips[["truth", "guess"]].to_numpy() for clips in clips_of(results, "model-1")]
    rows = resamples(clips_of(results, "model-1")[0], 3000, seed=123)
    for name, metric in (("wa", lambda truth, guess: (truth == guess).mean()), ("ua", quick_ua)):
        drawn = [np.mean([metric(*clips[chosen].T) for clips in seeds]) for chosen in rows]
        ends = [float(figures["summary", "model-1", f"{name}_ci_{end}"]) for end in ("low", "high")]
        assert ends == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.006)


def test_recall_speakers_and_sexes(results: Path, figures: Figures) -> None:
    seeds = clips_of(results, "model-2")
    recalls = np.array([recall_score(clips["truth"], clips["guess"], average=None) for clips in seeds])
    for number, label in enumerate(LABELS):
        assert_mean_sd(figures, "recall", "model-2", label, recalls[:, number])
    for sex in ("f", "m"):
        assert_mean_sd(figures, "sexes", "model-2", sex, [ua(clips[clips["sex"] == sex]) for clips in seeds])
    for speaker in set(seeds[0]["speaker"]):
        mean = np.mean([ua(clips[clips["speaker"] == speaker]) for clips in seeds])
        assert float(figures["speakers", speaker, "model-2"]) == pytest.approx(mean, rel=1e-5)
        assert figures["speakers", speaker, "clips"] == str((seeds[0]["speaker"] == speaker).sum())


def calibration_error(truth: np.ndarray, scores: np.ndarray) -> float:
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == truth
    bins = np.ceil(confidence * 15).clip(1, 15)
    return sum(
        (bins == one).mean() * abs(right[bins == one].mean() - confidence[bins == one].mean()) for one in set(bins)
    )


def sharpened(clips: pd.DataFrame, temperature: float) -> np.ndarray:
    powers = clips[SCORES].to_numpy(float) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def best_temperature(clips: pd.DataFrame) -> float:
    def loss(temperature: np.ndarray) -> float:
        scores, classes = sharpened(clips, float(temperature[0])), range(len(LABELS))
        evenly = -np.log(scores).sum(axis=1).mean() / len(LABELS)
        return (len(clips) * log_loss(clips["truth"], scores, labels=classes) + 2 * evenly) / (len(clips) + 2)

    return float(optimize.brute(loss, [slice(0.1, 5, 0.05)], finish=optimize.fmin)[0])


def test_calibration_with_each_folds_own_temperature(results: Path, figures: Figures) -> None:
    found: dict[str, list[float]] = {name: [] for name in ("ece_before", "ece_after", "nll_after", "temperature")}
    splits = [clips_of(results, "model-1", split) for split in ("test", "validation")]
    for tests, validations in zip(*splits, strict=True):
        fitted = [best_temperature(validations[validations["fold"] == fold]) for fold in range(FOLDS)]
        tests = tests.sort_values("fold", kind="stable")
        after = np.concatenate([sharpened(tests[tests["fold"] == fold], fitted[fold]) for fold in range(FOLDS)])
        truth = tests["truth"].to_numpy()
        found["ece_before"].append(calibration_error(truth, sharpened(tests, 1)))
        found["ece_after"].append(calibration_error(truth, after))
        found["nll_after"].append(log_loss(truth, after, labels=range(len(LABELS))))
        found["temperature"].append(np.mean(fitted))
    tolerances = {"ece_after": 2e-3, "temperature": 1e-3}  # a clip may fall into another bin
    for name, values in found.items():
        value = float(figures["calibration", "model-1", f"{name}_mean"])
        assert value == pytest.approx(np.mean(values), abs=tolerances.get(name, 1e-5))


def test_confusions(results: Path, figures: Figures) -> None:
    counts = sum(confusion_matrix(clips["truth"], clips["guess"]) for clips in clips_of(results, "model-2"))
    assert (counts != counts.T).any()  # else rows and columns could be confused
    for true, predicted in itertools.product(range(len(LABELS)), repeat=2):
        key = "confusion-model-2", LABELS[true]
        assert figures[*key, f"{LABELS[predicted]}_count"] == str(counts[true, predicted])
        share = counts[true, predicted] / counts[true].sum()
        assert float(figures[*key, f"{LABELS[predicted]}_share"]) == pytest.approx(share, rel=1e-5)


def test_abstention(results: Path, figures: Figures) -> None:
    seeds = clips_of(results, "model-1")
    least = [clips["confidence"].nlargest(int(np.ceil(0.7 * len(clips)))).min() for clips in seeds]
    answered = [clips[clips["confidence"] >= one] for clips, one in zip(seeds, least, strict=True)]
    for name, metric in (("wa", wa), ("ua", ua)):
        assert_mean_sd(figures, "abstention", "model-1", f"{name}_70", map(metric, answered))


def test_reliability(results: Path, figures: Figures) -> None:
    clips = pd.concat(clips_of(results, "model-1"))
    told = 0
    for low, high in itertools.pairwise(np.linspace(0, 1, 16)):
        inside = clips[(clips["confidence"] > low) & (clips["confidence"] <= (np.inf if high == 1 else high))]
        if len(inside):
            key = "reliability", f"{100 * low:.1f} to {100 * high:.1f}"
            assert figures[*key, "model-1_count"] == str(len(inside))
            assert float(figures[*key, "model-1_share"]) == pytest.approx(wa(inside), rel=1e-5, abs=1e-9)
            told += len(inside)
    assert told == len(clips)


def test_chance_is_that_of_labels_permuted_within_speakers(results: Path, figures: Figures) -> None:
    random, by_chance = np.random.default_rng(5), []
    for clips in clips_of(results, "model-1"):
        guess, truth = clips["guess"].to_numpy(), clips["truth"].to_numpy()
        of_speaker = [np.flatnonzero(clips["speaker"] == speaker) for speaker in set(clips["speaker"])]
        for _ in range(300):
            permuted = truth.copy()
            for chosen in of_speaker:
                permuted[chosen] = random.permutation(truth[chosen])
            by_chance.append(quick_ua(permuted, guess))
    assert float(figures["chance", "model-1", "ua_chance_mean"]) == pytest.approx(np.mean(by_chance), abs=0.005)
    assert float(figures["chance", "model-1", "p"]) <= 0.001


def test_what_a_file_says_of_its_fold_is_readable_without_this_library(results: Path) -> None:
    table = pq.read_table(results / "ased" / "model-1" / "seed-0_fold-0.parquet")
    facts = json.loads(table.schema.metadata[b"ser"])
    assert (facts["corpus"], facts["system"], facts["seed"], facts["fold"]) == ("ased", "model-1", 0, 0)
