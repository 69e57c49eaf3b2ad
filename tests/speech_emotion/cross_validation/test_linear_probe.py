"""The linear probe on the layers of an encoder."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from speech_emotion.cross_validation.linear_probe import STRENGTHS, LinearProbe, clip_statistics
from speech_emotion.cross_validation.system import FoldTask
from speech_emotion.cross_validation.systems import get_system
from speech_emotion.training.splits import ClipSplit
from tests.speech_emotion.cross_validation.compared_problems import make_task

SIZE = 60


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> LinearProbe:
    """A probe of features that are there already."""
    system = get_system("whisper-probe")
    monkeypatch.setattr(system, "make_extractor", lambda: type("Features", (), {"feature_size": SIZE}))
    return system


@pytest.fixture
def task(tmp_path: Path) -> FoldTask:
    return make_task(tmp_path, feature_size=SIZE, noise=4.0)


def test_it_reads_what_model_2_with_the_same_encoder_reads() -> None:
    for encoder, layers in (("whisper", [2, 3, 4, 5]), ("armspeech", 5)):
        probe, model = get_system(f"{encoder}-probe").model, get_system(f"model-2-{encoder}").model
        for name in ("streams", "encoder", "encoder_layer", "win_length", "dynamic_range", "clip_normalization"):
            assert getattr(probe, name) == getattr(model, name)
        assert probe.encoder_layer == layers
    probe, model = get_system("deepspeech-probe"), get_system("model-2")
    assert probe.make_extractor() is model.make_extractor()  # and so its features are found in the same cache


def test_which_options_it_heeds() -> None:
    assert get_system("whisper-probe", {"dropout": 0.1}, "you/words").heeds == ()
    assert get_system("whisper-probe", {"encoder_layer": [0, 6]}).model.encoder_layer == [0, 6]
    free = get_system("deepspeech-probe", {"encoder_layer": [3]}, "you/words")
    assert (free.heeds, free.model.encoder, free.model.encoder_layer) == (("--set", "--encoder"), "you/words", 3)


def test_statistics_are_means_and_deviations_of_each_clip(task: FoldTask) -> None:
    clips = task.splits.test
    for index, row in enumerate(clip_statistics(clips, SIZE)):
        frames = clips[index]["input_features"].reshape(-1, SIZE).astype(np.float64)
        np.testing.assert_allclose(row, np.concatenate([frames.mean(axis=0), frames.std(axis=0)]), rtol=1e-12)


def test_it_is_a_logistic_regression_whose_strength_the_validation_clips_choose(
    probe: LinearProbe, task: FoldTask
) -> None:
    outcome = probe.fit(task)
    assert [point["C"] for point in outcome.about["curve"]] == list(STRENGTHS)
    best = min(outcome.about["curve"], key=lambda point: point["validation_nll"])
    assert outcome.about["C"] == best["C"]
    train, test = (clip_statistics(part, SIZE) for part in (task.splits.train, task.splits.test))
    assert len(train) < train.shape[1]  # as along the axes of the clips, so with all features
    scaler = StandardScaler().fit(train)
    regression = LogisticRegression(C=best["C"], class_weight="balanced", tol=1e-8, max_iter=10_000)
    regression.fit(scaler.transform(train), task.splits.train.labels)
    np.testing.assert_allclose(outcome.test, regression.predict_proba(scaler.transform(test)), atol=2e-3)
    json.dumps([outcome.about, probe.settings()])
    assert np.array_equal(probe.fit(replace(task, seed=7)).test, outcome.test)


def test_nothing_is_learned_from_test_clips(probe: LinearProbe, task: FoldTask) -> None:
    test = task.splits.test
    half = ClipSplit(test.features, test.positions[:6], test.ids[:6], test.speakers[:6], test.labels[:6])
    alone = probe.fit(replace(task, splits=replace(task.splits, test=half)))
    np.testing.assert_allclose(alone.test, probe.fit(task).test[:6], rtol=1e-9)


def test_a_class_without_training_clips_has_no_probability(probe: LinearProbe, task: FoldTask) -> None:
    outcome = probe.fit(replace(task, labels=[*task.labels, "surprise"]))
    assert outcome.test.shape == (12, 4) and (outcome.test[:, 3] == 0).all()
    np.testing.assert_allclose(outcome.test.sum(axis=1), 1.0)
