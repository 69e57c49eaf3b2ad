"""The control with permuted labels: what it changes, what it leaves, and that it falls to chance."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_scripts import load_corpus
from reproduction.compared_features import SpectrogramExtractor
from reproduction.planned_comparisons import PLANNED
from reproduction.recomputing import commands
from speech_emotion.cross_validation.main import main
from speech_emotion.cross_validation.permuted_system import PermutedSystem
from speech_emotion.cross_validation.registry import get_system, list_systems
from speech_emotion.cross_validation.report import Report
from speech_emotion.cross_validation.score_store import FoldScores
from speech_emotion.cross_validation.score_table import gather_systems
from speech_emotion.cross_validation.system import FoldOutcome, FoldTask, System
from speech_emotion.cross_validation.tables import summary_table
from speech_emotion.cross_validation.titles import system_title
from speech_emotion.training.splits import ClipSplit
from tests.speech_emotion.compared_problems import make_task
from tests.speech_emotion.cross_validation.simulated_scores import all_folds
from tests.synthetic import write_polish


class NearestMean(System):
    """The class whose training clips' mean is nearest."""

    def __init__(self) -> None:
        super().__init__("nearest", "Nearest mean")
        self.tasks: list[FoldTask] = []

    def make_extractor(self) -> SpectrogramExtractor:
        return SpectrogramExtractor(win_length=640, hop_length=160, max_frequency=4000.0)

    def settings(self) -> dict[str, Any]:
        return {"kind": "nearest"}

    def fit(self, task: FoldTask) -> FoldOutcome:
        self.tasks.append(task)
        splits = task.splits
        train, labels = _means(splits.train), np.array(splits.train.labels)
        centers = np.stack([train[labels == label].mean(axis=0) for label in range(len(task.labels))])
        scores = []
        for part in (splits.validation, splits.test):
            near = np.exp(-np.linalg.norm(_means(part)[:, None] - centers, axis=2))  # (clips, classes)
            scores.append(near / near.sum(axis=1, keepdims=True))
        return FoldOutcome(*scores, {"epochs": 1})


def _means(clips: ClipSplit) -> np.ndarray:
    return np.stack([clips[index]["input_features"].reshape(-1, 6).mean(axis=0) for index in range(len(clips))])


def accuracy(outcome: FoldOutcome, task: FoldTask) -> float:
    return float((outcome.test.argmax(axis=1) == task.splits.test.labels).mean())


def test_labels_of_training_and_validation_are_permuted_and_nothing_else(tmp_path: Path) -> None:
    task, inner = make_task(tmp_path, feature_size=6), NearestMean()
    true = {name: list(part.labels) for name, part in task.splits.items()}
    PermutedSystem(inner).fit(task)
    (seen,) = inner.tasks
    assert (seen.rows, seen.labels, seen.seed, seen.folder) == (task.rows, task.labels, task.seed, task.folder)
    assert seen.splits.test is task.splits.test
    for name, part in seen.splits.items():
        original = dict(task.splits.items())[name]
        assert original.labels == true[name]  # the task itself is left as it was
        assert sorted(part.labels) == sorted(original.labels)
        assert (part.labels == original.labels) is (name == "test")
        assert (part.ids, part.speakers) == (original.ids, original.speakers)
        assert np.array_equal(part[1]["input_features"], original[1]["input_features"])


def test_each_fold_is_permuted_anew(tmp_path: Path) -> None:
    inner, task = NearestMean(), make_task(tmp_path, feature_size=6)
    tested = task.splits.test
    others = [f"not {speaker}" for speaker in tested.speakers]
    other = ClipSplit(tested.features, tested.positions, tested.ids, others, tested.labels)
    for test in (tested, other):
        PermutedSystem(inner).fit(replace(task, splits=replace(task.splits, test=test)))
    one, another = (seen.splits.train for seen in inner.tasks)
    assert one.ids == another.ids and one.labels != another.labels


def test_a_seed_permutes_a_fold_once_and_for_all(tmp_path: Path) -> None:
    inner, task = NearestMean(), make_task(tmp_path, feature_size=6)
    for seed in (0, 0, 1):
        PermutedSystem(inner).fit(replace(task, seed=seed))
    first, again, other = (seen.splits.train.labels for seen in inner.tasks)
    assert first == again != other


def test_a_system_that_learns_falls_to_chance(tmp_path: Path) -> None:
    task = make_task(tmp_path, feature_size=6)
    assert accuracy(NearestMean().fit(task), task) == 1
    control = PermutedSystem(NearestMean())
    found = [accuracy(control.fit(replace(task, seed=seed)), task) for seed in range(100)]
    # A single control names three groups by accident: it is right on none of them, or one, or all.
    assert np.std(found) > 0.1
    assert np.mean(found) == pytest.approx(1 / 3, abs=0.1)


def test_every_system_has_a_control_by_name() -> None:
    for name in ("model-1", "model-1-ensemble", "model-1-best", "satt-2017"):
        system, plain = get_system(f"{name}-permuted"), get_system(name)
        assert isinstance(system, PermutedSystem) and system.name == f"{name}-permuted"
        assert system.title == f"{plain.title}, labels permuted (control)"
        assert system.settings()["kind"] == "label-permutation"
        assert system.settings()["system"] == plain.settings()
        json.dumps(system.settings())
    assert get_system("model-1-permuted", {"dropout": 0.5}).settings()["system"]["model"]["dropout"] == 0.5
    for name in ("model-4-permuted", "model-1-permuted-permuted"):
        with pytest.raises(ValueError, match=f"There is no system '{name}'"):
            get_system(name)


def test_a_control_is_shown_and_not_compared() -> None:
    assert not any("permuted" in name for one in PLANNED for name in (one.first, one.second))
    assert not any("permuted" in name for name in list_systems())
    title = system_title("model-1-permuted")
    assert title == "Model-1 (acoustic), labels permuted (control)"
    scores = [*all_folds(), *all_folds("model-1-permuted", quality=0.0)]
    table = summary_table(gather_systems(scores))
    assert title in table.markdown() and "a control, not a competitor" in Report().note(table)
    assert "control" not in Report().note(summary_table(gather_systems(all_folds())))


def test_the_command_that_computes_a_control_has_its_settings() -> None:
    settings = get_system("model-1-permuted", {"hidden_size": 8}).settings()
    scores = all_folds("model-1-permuted", seeds=(0,), about={"settings": {"system": settings}})
    (command,) = commands(gather_systems(scores))
    assert command.endswith("--corpora toy --systems model-1-permuted --seeds 0 --set hidden_size=8")


@pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")
def test_the_command_runs_a_control_and_keeps_true_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, results = write_polish(tmp_path / "polish"), tmp_path / "results"
    command = f"--corpus polish --systems model-1-permuted --folds 0 --device cpu --threads 1 --results {results}"
    places = ["--data_dir", str(corpus), "--cache_dir", str(tmp_path / "cache")]
    assert main([*command.split(), *places, "--set", "hidden_size=8", "dense_size=8", "num_train_epochs=1"]) == 0
    assert "model-1-permuted" in capsys.readouterr().out
    scores = FoldScores.load(results / "polish" / "model-1-permuted" / "seed-0_fold-0.parquet")
    rows = load_corpus("polish", data_dir=corpus, cache_dir=tmp_path / "cache")
    truth = dict(zip(rows["id"], rows["label"], strict=True))
    assert scores.clips["label"] == [truth[clip] for clip in scores.clips["id"]]
