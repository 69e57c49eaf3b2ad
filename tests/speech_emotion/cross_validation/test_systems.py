"""Systems by name, and the control with permuted labels: what it changes, what it leaves, that it falls to chance."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speech_emotion.cross_validation.plan import Plan, check_heeded
from speech_emotion.cross_validation.system import ClipFeatures, FoldOutcome, FoldTask, System
from speech_emotion.cross_validation.system_names import GRAMMAR, SYSTEM_TITLES, system_title
from speech_emotion.cross_validation.systems import PermutedSystem, get_system
from speech_emotion.training import parse_arguments
from speech_emotion.training.arguments import PRESETS
from speech_emotion.training.splits import ClipSplit
from tests.speech_emotion.cross_validation.compared_problems import make_task


class NearestMean(System):
    """The class whose training clips' mean is nearest."""

    def __init__(self) -> None:
        super().__init__("nearest", "Nearest mean")
        self.tasks: list[FoldTask] = []

    def make_extractor(self) -> ClipFeatures:
        raise NotImplementedError

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


@pytest.fixture
def task(tmp_path: Path) -> FoldTask:
    return make_task(tmp_path, feature_size=6)


def test_labels_of_training_and_validation_are_permuted_and_nothing_else(task: FoldTask) -> None:
    inner = NearestMean()
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


def test_each_fold_is_permuted_anew_and_a_seed_permutes_it_always_alike(task: FoldTask) -> None:
    inner, tested = NearestMean(), task.splits.test
    others = [f"not {speaker}" for speaker in tested.speakers]
    other = ClipSplit(tested.features, tested.positions, tested.ids, others, tested.labels)
    for test, seed in ((tested, 0), (tested, 0), (tested, 1), (other, 0)):
        PermutedSystem(inner).fit(replace(task, splits=replace(task.splits, test=test), seed=seed))
    first, again, *anew = (seen.splits.train for seen in inner.tasks)
    assert first.labels == again.labels
    assert all(part.ids == first.ids and part.labels != first.labels for part in anew)


def test_a_system_that_learns_falls_to_chance(task: FoldTask) -> None:
    def accuracy(outcome: FoldOutcome) -> float:
        return float((outcome.test.argmax(axis=1) == task.splits.test.labels).mean())

    assert accuracy(NearestMean().fit(task)) == 1
    control = PermutedSystem(NearestMean())
    found = [accuracy(control.fit(replace(task, seed=seed))) for seed in range(100)]
    # A single control names three groups by accident: it is right on none of them, or one, or all.
    assert np.std(found) > 0.1
    assert np.mean(found) == pytest.approx(1 / 3, abs=0.1)


def test_systems_by_name() -> None:
    system = get_system("model-3-late-ensemble")
    assert (system.name, system.title) == (
        "model-3-late-ensemble", "Model-3 (late fusion), downsampling + ensembling",
    )  # fmt: skip
    assert (system.model.fusion, system.model.streams, system.imbalance) == ("late", ["mel", "deepspeech"], "ensemble")
    assert system_title("model-1-average-best") == "Model-1 (acoustic), average of 3 networks, best recipe"
    assert system_title("mine", {"mine": "My own"}) == "My own" and system_title("mine") == "mine"
    assert get_system("model-1-class-weights").model.class_weights == "balanced"
    assert get_system("model-1", {"dropout": 0.5}).settings()["model"]["dropout"] == 0.5
    assert len(SYSTEM_TITLES) == (4 + 2 * 3) * 6 * 4 + 3 + 2
    with pytest.raises(ValueError, match="'model-4'") as error:
        get_system("model-4")
    assert GRAMMAR in str(error.value)


def test_a_name_can_say_the_encoder_and_then_nothing_else_does() -> None:
    system = get_system("model-3-late-whisper-oversampling", {"dropout": 0.5}, encoder="you/words")
    assert system.title == "Model-3 (late fusion), Whisper base, oversampling"
    assert (system.model.streams, system.model.encoder) == (["mel", "encoder"], "whisper-base")
    assert (system.model.encoder_layer, system.model.fusion, system.imbalance) == (
        [2, 3, 4, 5],
        "late",
        "oversampling",
    )
    assert system.heeds == ("--set",)
    assert {name: system.overrides[name] for name in PRESETS["layers"]} == PRESETS["layers"]
    full, small = get_system("model-2-armspeech"), get_system("model-2")
    assert (full.model.encoder_layer, full.model.encoder) == (5, "armspeech")
    settings, others = full.settings(), small.settings()
    assert settings["model"].pop("streams") == ["encoder"] and others["model"].pop("streams") == ["deepspeech"]
    assert settings == others  # of the paper's models only the ear is another
    with pytest.raises(ValueError, match="'model-1-whisper'"):
        get_system("model-1-whisper")


def test_the_recommended_recipe_is_that_of_train_py_on_what_the_name_says() -> None:
    system = get_system("model-2-whisper-recommended")
    task, _ = parse_arguments(["--corpus", "polish", "--use_cpu", "true"])
    assert replace(system.model, preset="recommended") == task.model
    assert system.variants == get_system("model-2-whisper-recommended-permuted").variants == 3
    acoustic = get_system("model-1-recommended").model
    assert (acoustic.streams, acoustic.encoder, acoustic.front) == (["mel"], None, "speech")


@pytest.mark.parametrize("name", ["model-1", "model-1-ensemble", "model-1-best"])
def test_every_system_has_a_control_by_name(name: str) -> None:
    system, plain = get_system(f"{name}-permuted"), get_system(name)
    assert isinstance(system, PermutedSystem) and system.name == f"{name}-permuted"
    assert system.title == system_title(system.name) == f"{plain.title}, labels permuted (control)"
    assert system.settings() | {"system": 0} == {
        "kind": "label-permutation",
        "anew_for": "each seed and fold",
        "system": 0,
    }
    assert system.settings()["system"] == plain.settings() and system.heeds == plain.heeds
    json.dumps(system.settings())
    assert get_system(system.name, {"dropout": 0.5}).settings()["system"]["model"]["dropout"] == 0.5
    for unknown in ("model-4-permuted", f"{name}-permuted-permuted"):
        with pytest.raises(ValueError, match=f"'{unknown}'"):
            get_system(unknown)


def test_options_that_no_system_heeds_are_refused_and_others_told(recwarn: pytest.WarningsRecorder) -> None:
    neural, deaf, own_encoder = get_system("model-1"), NearestMean(), NearestMean()
    own_encoder.heeds = ("--encoder",)

    def check(*systems: System, **said: Any) -> None:
        plan = Plan((), tuple(map(str, range(len(systems)))), (0,), **said)
        check_heeded(plan, dict(zip(plan.systems, systems, strict=True)))

    check(deaf)
    check(own_encoder, encoder="words")
    check(neural, overrides={"max_steps": 3}, encoder="words")
    assert not recwarn.list
    with pytest.raises(ValueError, match=r"--set .*0, 1 would not"):
        check(deaf, own_encoder, overrides={"max_steps": 3})
    with pytest.raises(ValueError, match=r"--encoder .*0 would not"):
        check(deaf, encoder="words")
    with pytest.warns(UserWarning, match=r"--set .*not heeded by 1"):
        check(neural, deaf, overrides={"max_steps": 3})
