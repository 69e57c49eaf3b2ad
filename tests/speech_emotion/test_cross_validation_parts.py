"""Parts of the cross-validation: draws, best weights, mapped features, settings, systems by name."""

import json
import multiprocessing
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from torch import nn
from transformers import TrainerControl

from dataset_scripts import load_corpus, speaker_folds
from speech_emotion.cross_validation import neural_system, registry
from speech_emotion.cross_validation.condition_data import ConditionData
from speech_emotion.cross_validation.conditions import Condition
from speech_emotion.cross_validation.fold_plan import FoldReport, Plan
from speech_emotion.cross_validation.fold_results import differences, sole_computation
from speech_emotion.cross_validation.fold_runner import FoldRunner
from speech_emotion.cross_validation.fold_training import TrainedFold, subset
from speech_emotion.cross_validation.imbalance import oversample, undersample
from speech_emotion.cross_validation.main import get_parser, make_plan
from speech_emotion.cross_validation.mapped_features import MappedFeatures
from speech_emotion.cross_validation.neural_arguments import parse_overrides, training_arguments, training_record
from speech_emotion.cross_validation.neural_system import NUM_MEMBERS, NeuralSystem
from speech_emotion.cross_validation.score_store import FoldKey
from speech_emotion.cross_validation.system import FoldTask
from speech_emotion.cross_validation.worker_pool import Failure, Worker
from speech_emotion.training.callbacks import BestWeights
from speech_emotion.training.feature_cache import cache_features
from speech_emotion.training.splits import Splits, balanced_weights, feature_statistics, make_splits
from speech_emotion.training.training_arguments import SERTrainingArguments
from tests.subprocess_tools import PROJECT_ROOT
from tests.synthetic import write_polish

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")
LABELS = [0] * 50 + [1] * 20 + [2] * 7
SMALL = {"hidden_size": 8, "dense_size": 8, "num_train_epochs": 2}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    folder = write_polish(tmp_path_factory.mktemp("polish"), speakers=range(1, 4), repetitions=(1, 2))
    return load_corpus("polish", data_dir=folder, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def splits(rows: datasets.Dataset) -> Splits:
    features = MappedFeatures(cache_features(rows, NeuralSystem("model-1", "", ["mel"]).make_extractor()))
    return make_splits(rows, features, speaker_folds(rows)[0], ["anger", "fear", "neutral"])


def task(rows: datasets.Dataset, splits: Splits, folder: Path, seed: int = 3) -> FoldTask:
    return FoldTask(rows, splits, ["anger", "fear", "neutral"], seed, folder)


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
def test_there_must_be_clips(sample: object) -> None:
    with pytest.raises(ValueError, match="at least one clip"):
        sample([], 0)


def test_best_weights_choose_as_trainer_does() -> None:
    model = nn.Linear(1, 1, bias=False)
    best, control = BestWeights(model, "ua", patience=2), TrainerControl()
    stopped = []
    for epoch, ua in enumerate([0.2, 0.5, 0.5, 0.4], start=1):
        nn.init.constant_(model.weight, epoch)
        best.on_evaluate(None, None, control, metrics={"eval_ua": ua})
        stopped.append(control.should_training_stop)
    assert stopped == [False, False, False, True]  # the second 0.5 is no better; two evaluations without a better one
    best.restore()
    assert model.weight.item() == 2 and (best.best_epoch, best.epochs) == (2, 4)
    with pytest.raises(RuntimeError, match="at least one epoch"):
        BestWeights(model, "ua").restore()


@pytest.mark.parametrize("metric", ["loss", "eval_loss"])
def test_the_best_epoch_by_loss_has_the_least(metric: str) -> None:
    arguments = SERTrainingArguments(metric_for_best_model=metric, use_cpu=True)
    assert arguments.greater_is_better is False and SERTrainingArguments(use_cpu=True).greater_is_better is True
    best = BestWeights(nn.Linear(1, 1), metric, greater_is_better=arguments.greater_is_better)
    for loss in (1.2, 0.8, 0.9):
        best.on_evaluate(None, None, TrainerControl(), metrics={"eval_loss": loss})
    assert (best.best_epoch, best.best) == (2, 0.8)


def test_mapped_features_are_those_of_the_cache(rows: datasets.Dataset) -> None:
    cached = cache_features(rows, NeuralSystem("model-1", "", ["mel"]).make_extractor())
    for table in (cached, cached.select([5, 2])):
        mapped = MappedFeatures(table)
        assert len(mapped) == len(table) and mapped["id"] == list(table["id"][:])
        assert mapped["num_frames"].tolist() == table["num_frames"][:].tolist()
        for index in range(len(table)):
            assert np.array_equal(mapped[index]["input_features"], table[index]["input_features"])


def test_the_last_epoch_is_kept_where_the_best_is_not_asked_for(splits: Splits, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    task = FoldTask(datasets.Dataset.from_dict({}), splits, ["anger", "fear", "neutral"], 0, tmp_path)
    outcomes = {}
    for keep_best in (True, False):
        overrides = SMALL | {"num_train_epochs": 6, "learning_rate": 0.03, "load_best_model_at_end": keep_best}
        system = NeuralSystem("model-1", "", ["mel"], overrides=overrides)
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


@pytest.mark.parametrize("imbalance", ["none", "class-weights", "oversampling", "focal", "ensemble", "averaging"])
def test_every_way_of_meeting_imbalance(
    rows: datasets.Dataset, splits: Splits, tmp_path: Path, imbalance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    # Of the class 0 one clip is left, so that the classes differ in size.
    few = [index for index, label in enumerate(splits.train.labels) if label] + [
        index for index, label in enumerate(splits.train.labels) if not label
    ][:1]
    uneven = Splits(subset(splits.train, few), splits.validation, splits.test)
    seen = []
    original = NeuralSystem._train

    def watched(self: NeuralSystem, task: FoldTask, seed: int, normalized_by: object, learned: object) -> object:
        seen.append((seed, normalized_by, learned))
        return original(self, task, seed, normalized_by, learned)

    networks, real = [], neural_system.train_fold

    def recorded(network: torch.nn.Module, *args: Any, **kwargs: Any) -> TrainedFold:
        networks.append(network)
        return real(network, *args, **kwargs)

    monkeypatch.setattr(NeuralSystem, "_train", watched)
    monkeypatch.setattr(neural_system, "train_fold", recorded)
    system = NeuralSystem("x", "X", ["mel"], imbalance=imbalance, overrides=SMALL)
    outcome = system.fit(task(rows, uneven, tmp_path))
    assert outcome.validation.shape == (12, 3) and outcome.test.shape == (12, 3)
    assert np.allclose(outcome.test.sum(axis=1), 1)
    sizes = Counter(uneven.train.labels)
    assert len(seen) == (NUM_MEMBERS if imbalance in ("ensemble", "averaging") else 1)
    learned = [Counter(part.labels) for _, _, part in seen]
    expected = {"ensemble": min(sizes.values()), "oversampling": max(sizes.values())}.get(imbalance)
    for counts in learned:
        assert counts == (sizes if expected is None else dict.fromkeys(sizes, expected))
    weights = balanced_weights(uneven.train.labels, 3) if imbalance == "class-weights" else None
    for network in networks:
        assert network.config.loss == ("focal" if imbalance == "focal" else "cross_entropy")
        assert network.config.class_weights == weights
    for _, normalized_by, part in seen:
        assert normalized_by is (part if imbalance == "ensemble" else uneven.train)
    if imbalance in ("ensemble", "averaging"):
        assert len({seed for seed, _, _ in seen}) == NUM_MEMBERS
        assert len(outcome.about["best_epoch"]) == NUM_MEMBERS
    again = NeuralSystem("x", "X", ["mel"], imbalance=imbalance, overrides=SMALL).fit(task(rows, uneven, tmp_path))
    assert np.array_equal(again.test, outcome.test)
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_model_3_with_the_encoder_that_ships(rows: datasets.Dataset, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    condition = Condition("three-speakers", "polish")
    plan = Plan((condition,), ("model-3-late",), (0,), results=tmp_path, overrides=SMALL)
    runner = FoldRunner(plan)
    folds, labels = speaker_folds(rows), ["anger", "fear", "neutral"]
    runner._data[condition.name] = ConditionData(rows, rows, labels, folds)
    key = FoldKey(condition.name, "model-3-late", 0, 1)
    report = runner.run(key)
    scores = runner.finished(key)
    assert report.seconds is not None and 0 <= report.validation_ua <= 1
    assert scores.about["encoders"] == {"deepspeech": "deepspeech-small"}
    assert set(scores.about["settings"]["features"]["encoders"]["deepspeech"]) == {"layer", "size", "digest"}
    assert str(PROJECT_ROOT) not in json.dumps(scores.about)
    assert runner.run(key) == FoldReport(key)  # it is finished: nothing is computed


def test_subset_keeps_what_belongs_together(splits: Splits) -> None:
    part = subset(splits.train, [3, 3, 0])
    assert part.ids == [splits.train.ids[index] for index in (3, 3, 0)]
    assert np.array_equal(part[0]["input_features"], splits.train[3]["input_features"])
    mean, _ = feature_statistics((part[index]["input_features"] for index in range(3)), 384)
    assert torch.isfinite(mean).all()


def test_settings_are_read_with_their_types() -> None:
    found = parse_overrides(["dropout=0.1", "num_train_epochs=2", "pooling=functionals"])
    assert found == {"dropout": 0.1, "num_train_epochs": 2.0, "pooling": "functionals"}
    with pytest.raises(ValueError, match="'dropout' is no setting; write for example"):
        parse_overrides(["dropout"])


@pytest.mark.parametrize("word", ["streams=deepspeech", "fusion=late", "class_weights=none", "loss=focal"])
def test_what_a_systems_name_says_cannot_be_set(word: str) -> None:
    with pytest.raises(ValueError, match="belongs to the name of a system and cannot be set; choose model-"):
        parse_overrides([word])


@pytest.mark.filterwarnings("default:.*not heeded by")
def test_options_that_no_system_heeds_are_refused_and_others_told(recwarn: pytest.WarningsRecorder) -> None:
    def plan(*words: str) -> Plan:
        return make_plan(get_parser().parse_args(["--corpora", "emodb", *words]))

    with pytest.raises(ValueError, match="--set is for the paper's models; satt-2017, lee-2015 would not heed it"):
        plan("--systems", "satt-2017", "lee-2015", "--set", "max_steps=3")
    with pytest.raises(ValueError, match="--encoder is for the paper's models; satt-2017 would not heed it"):
        plan("--systems", "satt-2017", "--encoder", "words")
    assert not recwarn.list
    assert plan("--systems", "lakomkin-2017", "--encoder", "words").encoder == "words" and not recwarn.list
    assert plan("--systems", "model-1", "satt-2017", "--set", "max_steps=3").overrides == {"max_steps": 3}
    assert "--set is for the paper's models and not heeded by satt-2017." in str(recwarn.pop().message)


def test_the_number_of_processes_is_told_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "processes" not in training_record({})
    monkeypatch.setattr(
        "speech_emotion.training.training_arguments.SERTrainingArguments.world_size", property(lambda _: 2)
    )
    record = training_record({})
    assert (record["processes"], record["per_device_train_batch_size"]) == (2, 16)


def test_the_batch_is_shared_out_among_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "speech_emotion.training.training_arguments.SERTrainingArguments.world_size", property(lambda _: 2)
    )
    assert training_arguments({}).per_device_train_batch_size == 8
    with pytest.raises(ValueError, match="Batches of 5 clips cannot be shared out among 2 processes"):
        training_arguments({"per_device_train_batch_size": 5})


def test_systems_by_name() -> None:
    names = registry.list_systems()
    assert len(set(names)) == len(names) and "opensmile-compare-svm" in names
    system = registry.get_system("model-3-late-ensemble")
    assert (system.name, system.title) == (
        "model-3-late-ensemble", "Model-3 (late fusion), downsampling + ensembling",
    )  # fmt: skip
    assert (system.model.fusion, system.model.streams, system.imbalance) == ("late", ["mel", "deepspeech"], "ensemble")
    assert (
        registry.get_system("model-1-average-best").title == "Model-1 (acoustic), average of 3 networks, best recipe"
    )
    assert registry.get_system("model-1-class-weights").model.class_weights == "balanced"
    assert registry.get_system("model-1", {"dropout": 0.5}).settings()["model"]["dropout"] == 0.5
    with pytest.raises(ValueError, match="There is no system 'model-4'"):
        registry.get_system("model-4")


def test_a_shuffled_deepspeech_is_another_and_the_same_each_time() -> None:
    trained, control, again = (
        registry.get_system(name, {"hidden_size": 8}) for name in ("model-2", "model-2-shuffled", "model-2-shuffled")
    )
    assert control.title == "Model-2 (linguistic), DeepSpeech's weights shuffled (control)"
    entries = [system.make_extractor().to_dict()["encoders"]["deepspeech"] for system in (trained, control, again)]
    assert entries[1] == entries[2] and entries[1]["name_or_path"] == "deepspeech-small"
    assert entries[0]["digest"] != entries[1]["digest"] and entries[0]["size"] == entries[1]["size"]
    own = control.settings()
    assert own.pop("encoder_weights") == {"shuffled_with_seed": 0} and own == trained.settings()
    sound = [np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)]
    features = [system.make_extractor().extract(sound)["input_features"] for system in (trained, control)]
    assert not torch.allclose(*features, atol=0.1) and features[1].std() > 0.01
    with pytest.raises(ValueError, match="model-2-shuffled shuffles the DeepSpeech that comes with the library"):
        registry.get_system("model-2-shuffled", encoder="other")


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=absent)

    monkeypatch.setattr(registry.importlib, "import_module", missing)
    absent = "opensmile"
    with pytest.raises(ModuleNotFoundError, match=r"needs the package opensmile: pip install 'modeling-ser\[\w+\]'"):
        registry.get_system("opensmile-egemaps-svm")
    absent = "reproduction.systems_compared_satt"
    with pytest.raises(ModuleNotFoundError, match="satt-2017 is not part of this installation"):
        registry.get_system("satt-2017")


def test_a_fold_is_held_once(tmp_path: Path) -> None:
    one, other = FoldKey("emodb", "model-1", 0, 3), FoldKey("emodb", "model-1", 0, 4)
    with sole_computation(one, tmp_path) as mine, sole_computation(other, tmp_path) as another:
        assert mine and another
        with sole_computation(one, tmp_path) as twice:
            assert not twice
    with sole_computation(one, tmp_path) as again:
        assert again
    assert (tmp_path / ".locks" / ".gitignore").read_text() == "*\n"


def test_a_worker_that_died_is_told_of_whenever_it_died() -> None:
    ours, theirs = multiprocessing.Pipe()
    worker = Worker.__new__(Worker)
    worker.connection, worker.process = ours, SimpleNamespace(join=lambda: None, exitcode=-9)
    key = FoldKey("emodb", "model-1", 0, 3)
    worker.give(key)
    theirs.close()  # before it had read the fold: the connection is reset
    told = Failure(key, "the worker died (exit code -9); of a lack of memory, perhaps: take fewer --workers.")
    assert worker.answer() == told
    worker.give(key)  # and after its end the pipe is broken
    assert worker.answer() == told


def test_differences_name_what_differs() -> None:
    found, asked = {"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"b": 1, "c": [2]}, "e": None}
    assert list(differences(found, asked)) == ["a.c is [1] there and [2] here", "d is 2 there and null here"]
