"""openSMILE functionals and the support vector machine on them."""

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from dataset_scripts import load_corpus, speaker_folds
from speech_emotion.cross_validation.functionals_svm import (
    FUNCTIONALS,
    FunctionalsExtractor,
    FunctionalsSVM,
    decision_values,
    kernel_values,
)
from speech_emotion.cross_validation.system import FoldTask
from speech_emotion.cross_validation.systems import get_system
from speech_emotion.training.feature_cache import cache_features
from speech_emotion.training.splits import make_splits
from tests.speech_emotion.cross_validation.compared_problems import make_task
from tests.synthetic import speech_like, write_polish

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")


@pytest.fixture
def opensmile() -> None:
    pytest.importorskip("opensmile", reason="opensmile is an extra")


@pytest.mark.parametrize("feature_set", FUNCTIONALS)
def test_functionals_are_opensmiles_own(feature_set: str, opensmile: None) -> None:
    import opensmile as package

    extractor = FunctionalsExtractor(feature_set)
    voices = [speech_like("angry"), speech_like("sad", seconds=1.1)]
    output = extractor.extract(voices)
    assert output["input_features"].shape == (2, 1, extractor.feature_size)
    assert output["attention_mask"].tolist() == [[1], [1]]
    fresh = package.Smile(package.FeatureSet[feature_set], package.FeatureLevel.Functionals)
    for voice, row in zip(voices, output["input_features"], strict=True):
        table = fresh.process_signal(voice, 16000)
        assert len(fresh.feature_names) == extractor.feature_size
        np.testing.assert_array_equal(row[0].numpy(), table.to_numpy(dtype=np.float32)[0])


@pytest.mark.parametrize("feature_set", FUNCTIONALS)
def test_silence_and_the_shortest_clip_have_finite_functionals(feature_set: str, opensmile: None) -> None:
    extractor = FunctionalsExtractor(feature_set)
    silent = np.zeros(16000, np.float32)
    output = extractor.extract([silent, speech_like(seconds=0.06), silent[:960]])
    assert output["input_features"].isfinite().all()


def test_a_clip_shorter_than_a_frame_is_refused_by_name(tmp_path: Path, opensmile: None) -> None:
    root = write_polish(tmp_path / "polish", speakers=range(1, 4))
    short = next(iter(sorted(root.glob("*.wav"))))
    soundfile.write(short, speech_like(seconds=0.059), 16000)
    rows = load_corpus("polish", data_dir=root, cache_dir=tmp_path / "cache")
    with pytest.raises(ValueError, match=rf"Clip '{short.stem}' .*944 samples.*need 960"):
        cache_features(rows, FunctionalsExtractor("eGeMAPSv02"))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    extractor = get_system("opensmile-compare-svm").make_extractor()
    for use in (extractor.to_dict, lambda: extractor.extract([np.zeros(16000, np.float32)])):
        with pytest.raises(ModuleNotFoundError, match=r"research.*modeling-ser\[bench\]"):
            use()


def test_an_unknown_feature_set_is_refused() -> None:
    with pytest.raises(ValueError, match="'GeMAPS'; choose from ComParE_2016"):
        FunctionalsExtractor("GeMAPS")


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("num_labels", [2, 3, 5])
def test_the_highest_decision_value_is_the_machines_decision(kernel: str, num_labels: int) -> None:
    random = np.random.default_rng(0)
    train, other = random.standard_normal((80, 6)), random.standard_normal((200, 6))
    train = StandardScaler().fit_transform(train)
    labels = random.integers(0, num_labels, 80)
    machine = SVC(C=1.0, kernel="precomputed", decision_function_shape="ovr", break_ties=True)
    machine.fit(kernel_values(kernel, train, train), labels)
    values = decision_values(machine, kernel_values(kernel, other, train), num_labels)
    assert values.shape == (200, num_labels)
    reference = SVC(C=1.0, kernel=kernel, gamma="scale", break_ties=True).fit(train, labels)
    assert np.array_equal(values.argmax(axis=1), reference.predict(other))


def test_a_class_without_training_clips_is_never_decided_for() -> None:
    x = np.array([[-1.0], [1.0], [2.0]])
    machine = SVC(kernel="precomputed").fit(x @ x.T, [0, 2, 2])
    values = decision_values(machine, x @ x.T, 4)
    assert values.argmax(axis=1).tolist() == [0, 2, 2]
    assert (values[:, [1, 3]] < values[:, [0, 2]].min(axis=1, keepdims=True)).all()


@pytest.mark.parametrize("name", ["opensmile-compare-svm", "opensmile-egemaps-svm"])
def test_it_learns_and_says_how(name: str, tmp_path: Path) -> None:
    system = get_system(name)
    grids = {grid["kernel"]: tuple(grid["strengths"]) for grid in system.settings()["grids"]}
    assert grids == system.grids and list(grids) == (["linear"] if "compare" in name else ["linear", "rbf"])
    task = make_task(tmp_path, feature_size=60, frames=(1, 1))
    outcome = system.fit(task)
    truth = np.array(task.splits.test.labels)
    assert outcome.test.shape == (12, 3)
    np.testing.assert_allclose(outcome.test.sum(axis=1), 1.0)
    assert (outcome.test.argmax(axis=1) == truth).mean() > 0.9
    tried = [(kernel, strength) for kernel, strengths in system.grids.items() for strength in strengths]
    assert [(point["kernel"], point["C"]) for point in outcome.about["curve"]] == tried
    best = max(outcome.about["curve"], key=lambda point: point["validation_ua"])  # the first of equal ones
    assert (outcome.about["kernel"], outcome.about["C"]) == (best["kernel"], best["C"])
    json.dumps([outcome.about, system.settings()])
    again = system.fit(FoldTask(**vars(task) | {"seed": 7}))
    assert np.array_equal(again.test, outcome.test)


def test_only_training_clips_standardize_and_only_validation_clips_choose(tmp_path: Path) -> None:
    system = FunctionalsSVM("svm", "eGeMAPSv02", {"linear": (1e-3, 1e-1)})
    task = make_task(tmp_path, feature_size=8, frames=(1, 1), noise=3.0)
    outcome = system.fit(task)
    train, validation, test = (
        np.stack([clips[index]["input_features"] for index in range(len(clips))]) for _, clips in task.splits.items()
    )
    scaler = StandardScaler().fit(train.astype(np.float64))
    machine = SVC(
        C=outcome.about["C"], kernel="linear", class_weight="balanced", decision_function_shape="ovr", break_ties=True
    ).fit(scaler.transform(train), task.splits.train.labels)
    assert np.array_equal(outcome.test.argmax(axis=1), machine.predict(scaler.transform(test)))
    # A temperature is all that lies between scores and decision values.
    logs = np.log(outcome.validation) * outcome.about["temperature"]
    values = machine.decision_function(scaler.transform(validation))
    centered = [table - table.mean(axis=1, keepdims=True) for table in (logs, values)]
    np.testing.assert_allclose(*centered, atol=1e-7)


def test_a_functional_that_is_not_finite_is_refused_by_name(tmp_path: Path) -> None:
    task = make_task(tmp_path, feature_size=8, frames=(1, 1))
    cache = task.splits.train.features.to_dict()
    cache["input_features"][37][3] = float("nan")
    for _, clips in task.splits.items():
        clips.features = clips.features.from_dict(cache).with_format("numpy")
    with pytest.raises(ValueError, match=r"Clip '1-1': 1 of its 8 functionals are not finite"):
        get_system("opensmile-egemaps-svm").fit(task)


def test_from_sound_to_scores(tmp_path: Path, opensmile: None) -> None:
    rows = load_corpus("polish", data_dir=write_polish(tmp_path / "polish"), cache_dir=tmp_path / "cache")
    system = get_system("opensmile-egemaps-svm")
    features = cache_features(rows, system.make_extractor())
    assert set(features["num_frames"][:].tolist()) == {1}
    labels = sorted(set(rows["label"][:]))
    splits = make_splits(rows, features, speaker_folds(rows)[0], labels)
    outcome = system.fit(FoldTask(rows, splits, labels, 0, tmp_path))
    assert (outcome.test.argmax(axis=1) == splits.test.labels).mean() > 0.9
