"""The paper's models in a cross-validation: ways of meeting imbalance, settings, features, a fold with an encoder."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from dataset_scripts import load_corpus, speaker_folds
from speech_emotion.cross_validation import neural_system
from speech_emotion.cross_validation.condition_data import ConditionData, MappedFeatures
from speech_emotion.cross_validation.corpus_conditions import CorpusCondition
from speech_emotion.cross_validation.fold_runner import FoldRunner
from speech_emotion.cross_validation.neural_system import (
    NUM_MEMBERS,
    NeuralSystem,
    oversample,
    parse_overrides,
    subset,
    undersample,
)
from speech_emotion.cross_validation.plan import FoldReport, Plan
from speech_emotion.cross_validation.score_store import FoldKey
from speech_emotion.cross_validation.system import FoldTask
from speech_emotion.cross_validation.system_names import IMBALANCE, ModelName
from speech_emotion.training.emotion_task import EmotionTask
from speech_emotion.training.feature_cache import cache_features
from speech_emotion.training.splits import Splits, balanced_weights, make_splits
from speech_emotion.training.task import TrainingResult
from tests.subprocess_tools import PROJECT_ROOT
from tests.synthetic import write_polish

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")
EMOTIONS = ["anger", "fear", "neutral"]
LABELS = [0] * 50 + [1] * 20 + [2] * 7
SMALL = {"hidden_size": 8, "dense_size": 8, "num_train_epochs": 2}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    folder = write_polish(tmp_path_factory.mktemp("polish"), speakers=range(1, 4), repetitions=(1, 2))
    return load_corpus("polish", data_dir=folder, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def cached(rows: datasets.Dataset) -> datasets.Dataset:
    return cache_features(rows, NeuralSystem(ModelName("model-1")).make_extractor())


@pytest.fixture(scope="module")
def splits(rows: datasets.Dataset, cached: datasets.Dataset) -> Splits:
    return make_splits(rows, MappedFeatures(cached), speaker_folds(rows)[0], EMOTIONS)


def test_undersampling_draws_each_class_to_the_rarest_without_replacement() -> None:
    drawn = undersample(LABELS, seed=0)
    assert Counter(np.array(LABELS)[drawn].tolist()) == {0: 7, 1: 7, 2: 7}
    assert len(set(drawn.tolist())) == 21
    assert np.array_equal(drawn, undersample(LABELS, seed=0))
    members = [undersample(LABELS, (0, member)) for member in range(200)]
    assert not np.array_equal(members[0], members[1])
    times = np.bincount(np.concatenate(members), minlength=len(LABELS))
    assert (times[-7:] == 200).all()
    # Each of the 50 clips is drawn with probability 7 / 50: 28 ± 4.9 of 200 times.
    assert times[:50].min() > 10 and times[:50].max() < 50


def test_oversampling_repeats_every_clip_as_evenly_as_can_be() -> None:
    drawn = oversample(LABELS, seed=1)
    times = np.bincount(drawn)
    assert Counter(np.array(LABELS)[drawn].tolist()) == {0: 50, 1: 50, 2: 50}
    assert set(times[:50]) == {1} and set(times[50:70]) == {2, 3} and set(times[70:]) == {7, 8}
    assert np.array_equal(drawn, oversample(LABELS, seed=1)) and not np.array_equal(drawn, oversample(LABELS, seed=2))


@pytest.mark.parametrize("sample", [undersample, oversample])
def test_there_must_be_clips(sample: Any) -> None:
    with pytest.raises(ValueError, match="at least one clip"):
        sample([], 0)


def test_mapped_features_are_those_of_the_cache(cached: datasets.Dataset) -> None:
    for table in (cached, cached.select([5, 2])):
        mapped = MappedFeatures(table)
        assert len(mapped) == len(table) and mapped["id"] == list(table["id"][:])
        assert mapped["num_frames"].tolist() == table["num_frames"][:].tolist()
        for index in range(len(table)):
            assert np.array_equal(mapped[index]["input_features"], table[index]["input_features"])


def test_a_subset_keeps_what_belongs_together(splits: Splits) -> None:
    part = subset(splits.train, [3, 3, 0])
    assert part.ids == [splits.train.ids[index] for index in (3, 3, 0)]
    assert np.array_equal(part[0]["input_features"], splits.train[3]["input_features"])


def test_the_last_epoch_is_kept_where_the_best_is_not_asked_for(splits: Splits, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    task = FoldTask(datasets.Dataset.from_dict({}), splits, EMOTIONS, 0, tmp_path)
    outcomes = {}
    for keep_best in (True, False):
        overrides = SMALL | {"num_train_epochs": 6, "learning_rate": 0.03, "load_best_model_at_end": keep_best}
        system = NeuralSystem(ModelName("model-1"), overrides)
        assert system.settings()["training"]["load_best_model_at_end"] is keep_best
        outcomes[keep_best] = system.fit(task)
    curve = outcomes[True].about["curve"]
    assert curve == outcomes[False].about["curve"]  # the training is the same, and only the choice differs
    uas = [point["validation_ua"] for point in curve]
    assert outcomes[True].about["best_epoch"] == 1 + int(np.argmax(uas)) < 6  # else this test would show nothing
    assert outcomes[False].about["best_epoch"] == 6
    truth = np.array(splits.validation.labels)
    for keep_best, epoch in ((True, int(np.argmax(uas))), (False, 5)):
        guesses = outcomes[keep_best].validation.argmax(axis=1)
        recalls = [(guesses[truth == label] == label).mean() for label in np.unique(truth)]
        assert np.mean(recalls) == pytest.approx(uas[epoch])


@pytest.mark.parametrize("imbalance", IMBALANCE)
def test_every_way_of_meeting_imbalance(
    rows: datasets.Dataset, splits: Splits, tmp_path: Path, imbalance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    # Of the class 0 one clip is left, so that the classes differ in size.
    few = [index for index, label in enumerate(splits.train.labels) if label] + [splits.train.labels.index(0)]
    train = subset(splits.train, few)
    task = FoldTask(rows, Splits(train, splits.validation, splits.test), EMOTIONS, 3, tmp_path)
    seen, run_training = [], neural_system.run_training

    def watched(emotions: EmotionTask, training: Any, save: bool) -> TrainingResult:
        result = run_training(emotions, training, save)
        seen.append((training.seed, emotions, result.network.config))
        return result

    monkeypatch.setattr(neural_system, "run_training", watched)
    outcome = NeuralSystem(ModelName("model-1", imbalance), SMALL).fit(task)
    assert outcome.validation.shape == (12, 3) and outcome.test.shape == (12, 3)
    assert np.allclose(outcome.test.sum(axis=1), 1)
    sizes = Counter(train.labels)
    several = imbalance in ("ensemble", "averaging")
    assert len({seed for seed, _, _ in seen}) == len(seen) == (NUM_MEMBERS if several else 1)
    if several:
        assert len(outcome.about["best_epoch"]) == NUM_MEMBERS
    clips = {"ensemble": min(sizes.values()), "oversampling": max(sizes.values())}.get(imbalance)
    for _, emotions, config in seen:
        assert Counter(emotions.train.labels) == (sizes if clips is None else dict.fromkeys(sizes, clips))
        assert emotions.normalized_by is (emotions.train if imbalance == "ensemble" else train)
        assert config.loss == ("focal" if imbalance == "focal" else "cross_entropy")
        assert config.class_weights == (balanced_weights(train.labels, 3) if imbalance == "class-weights" else None)
    again = NeuralSystem(ModelName("model-1", imbalance), SMALL).fit(task)
    assert np.array_equal(again.test, outcome.test)
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_model_3_with_the_encoder_that_ships(rows: datasets.Dataset, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    condition = CorpusCondition("three-speakers", "polish")
    runner = FoldRunner(Plan((condition,), ("model-3-late",), (0,), results=tmp_path, overrides=SMALL))
    runner._data[condition.name] = ConditionData(rows, rows, EMOTIONS, speaker_folds(rows))
    key = FoldKey(condition.name, "model-3-late", 0, 1)
    report = runner.run(key)
    scores = runner.finished(key)
    assert report.seconds is not None and 0 <= report.validation_ua <= 1
    assert scores.about["encoders"] == {"deepspeech": "deepspeech-small"}
    assert set(scores.about["settings"]["features"]["encoders"]["deepspeech"]) == {"layer", "size", "digest"}
    assert str(PROJECT_ROOT) not in json.dumps(scores.about)
    assert runner.run(key) == FoldReport(key)  # it is finished: nothing is computed


def test_settings_are_read_with_their_types() -> None:
    found = parse_overrides(["dropout=0.1", "num_train_epochs=2", "pooling=functionals"])
    assert found == {"dropout": 0.1, "num_train_epochs": 2.0, "pooling": "functionals"}


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("dropout", "'dropout' is no setting"),
        ("epochs=3", "'epochs'"),
        ("seed=3", "seed is decided"),
        ("hidden_size=big", "hidden_size"),
        *((f"{name}=x", f"{name} belongs to the name") for name in ("streams", "fusion", "class_weights", "loss")),
    ],
)
def test_what_cannot_be_set_is_said(word: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse_overrides([word])
