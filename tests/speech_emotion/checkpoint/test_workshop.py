"""The model that comes along, trained in small: from several corpora to a folder, its measures and its card."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERForAudioClassification
from speech_emotion.checkpoint.assembly import assemble, halve
from speech_emotion.checkpoint.joint_clips import LABELS, SOUNDS
from speech_emotion.checkpoint.joint_training import JointRecipe, check_unheard
from speech_emotion.checkpoint.workshop import Workshop
from speech_emotion.training.run_record import heard_speakers
from tests.synthetic import write_polish, write_ravdess
from tests.synthetic_corpora import write_emodb

SETTINGS = {
    "hidden_size": 8, "dense_size": 8, "max_steps": 6, "per_device_train_batch_size": 8, "variants": 1,
    "statistics_head": True, "label_smoothing": 0.1, "early_stopping_patience": 0, "load_best_model_at_end": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("workshop")
    write_ravdess(folder / "data" / "ravdess", actors=range(1, 5), repetitions=(1,))
    write_polish(folder / "data" / "polish", speakers=range(1, 4))
    write_emodb(folder / "data" / "emodb")
    how: dict[str, Any] = {"data_dir": str(folder / "data"), "cache_dir": str(folder / "cache")}
    recipe = JointRecipe(SETTINGS)
    return Workshop(
        folder / "work", ["ravdess", "polish"], ["emodb"], [0, 1], 2, **how, recipe=recipe, sounds_of_kind=2
    )


@pytest.fixture(scope="module")
def made(workshop: Workshop) -> tuple[Path, dict[str, Any]]:
    return workshop.folder / "emotions", assemble(workshop, workshop.folder / "emotions")


def test_clips_are_of_the_labels_and_compared_with_those_that_their_corpus_has(workshop: Workshop) -> None:
    clips = workshop.clips
    polish = clips.of("polish")
    present = {label for label in workshop.rows("polish")["label"] if label in LABELS}
    assert {LABELS[index] for index in clips.truth[polish]} == present
    allowed = {LABELS[index] for index in np.flatnonzero(clips.allowed[polish[0]])}
    assert allowed == present | {"no_speech"}
    assert clips.allowed[clips.of(SOUNDS)].all()
    assert "calm" not in {name.rpartition("/")[2] for name in clips.ids}
    part = clips.part(clips.of("polish")[:3])
    assert part[1]["class_mask"].tolist() == clips.allowed[polish[1]].tolist()
    np.testing.assert_array_equal(
        part[2]["input_features"], clips.features[int(clips.positions[polish[2]])]["input_features"]
    )


def test_small_corpora_are_repeated_and_learned_from_in_variants(workshop: Workshop) -> None:
    learned = workshop.clips.part(workshop.everybody, learned=True)
    counts = np.unique(np.array(learned.ids), return_counts=True)[1]
    assert counts.min() == 1 and counts.max() > 1  # sounds once, clips of rare emotions often
    assert len(learned.variants) == 2  # the last of them short parts
    clip = learned[len(learned)]  # the variant of the first
    assert clip["labels"] == learned[0]["labels"]
    assert not np.array_equal(clip["input_features"], learned[0]["input_features"])


def test_nobody_is_learned_from_and_scored(workshop: Workshop) -> None:
    names = [training.name for training in workshop.trainings()]
    assert len(names) == len(set(names)) == 2 + 2 * 2 + 2 * 2
    for training in workshop.trainings():
        for part in training.scored.values():
            check_unheard(workshop.clips.part(training.learned), part)
    folds = workshop.speaker_folds()
    speech = np.flatnonzero(workshop.clips.places != SOUNDS)
    assert sorted(np.concatenate(folds).tolist()) == speech.tolist()
    with pytest.raises(ValueError, match="is learned from and scored"):
        check_unheard(workshop.clips.part(folds[0]), workshop.clips.part(folds[0][-1:]))


def test_the_folder_scores_as_the_workshop_did(workshop: Workshop, made: tuple[Path, dict[str, Any]]) -> None:
    folder, measures = made
    network = SERForAudioClassification.from_pretrained(folder)
    assert network.config.temperature == measures["temperature"]
    assert [network.config.id2label[index] for index in range(len(LABELS))] == list(LABELS)
    assert not list(folder.glob("*.py"))
    emodb = workshop.others.part(workshop.others.of("emodb"))
    logits = workshop.recipe.logits(network, emodb)
    stored = workshop.logits(next(workshop.trainings()))["emodb"]
    np.testing.assert_allclose(logits, stored, atol=1e-5)
    sound = workshop.rows("emodb")[0]["audio"]
    scores = network.as_pipeline(SERFeatureExtractor.from_pretrained(folder))(sound["path"])
    position = emodb.ids.index(f"emodb/{workshop.rows('emodb')[0]['id']}")
    expected = torch.from_numpy(stored[position] / measures["temperature"]).softmax(dim=0)
    assert scores[0]["score"] == pytest.approx(expected.max().item(), abs=1e-5)


def test_what_was_measured_is_told(made: tuple[Path, dict[str, Any]]) -> None:
    folder, measures = made
    assert [row["corpus"] for row in measures["speakers"]] == ["ravdess", "polish"]
    assert [row["corpus"] for row in measures["left_out"]] == ["ravdess", "polish"]
    (stranger,) = measures["strangers"]
    assert stranger["corpus"] == "emodb" and len(stranger["ua_four"]) == 2 and stranger["adapted"]["clips"] == 36
    assert len(measures["sounds"]) > 3 and len(measures["robustness"]) > 5
    heard = heard_speakers(str(folder))
    assert len(heard) == 2 and all(part["train"] for part in heard.values())
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "emodb, never heard" in card and "polish, left out" in card and "cc-by-nc-sa-4.0" in card
    assert json.loads((folder / "results.json").read_text(encoding="utf-8"))["measures"] == json.loads(
        json.dumps(measures)
    )


def test_what_is_computed_is_found_again_unless_it_is_of_something_else(
    workshop: Workshop, made: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(workshop, "tell", told.append)
    assert workshop.measure()["temperature"] == made[1]["temperature"] and not told
    monkeypatch.setitem(workshop.recipe.settings, "max_steps", 7)
    workshop.logits(list(workshop.trainings())[-1])
    assert len(told) == 1


def test_a_training_gives_the_same_bits_again(workshop: Workshop, tmp_path: Path) -> None:
    one, other = (workshop.recipe.train(workshop.clips, workshop.everybody, 3, tmp_path / "t") for _ in range(2))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_weights_that_half_precision_would_change_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    (tmp_path / "config.json").write_text("{}")
    save_file({"weight": np.array([1.0, 0.5], np.float32)}, tmp_path / "model.safetensors")
    halve(tmp_path)
    assert load_file(tmp_path / "model.safetensors")["weight"].dtype == np.float16
    save_file({"weight": np.array([0.1], np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="weight is no half-precision number"):
        halve(tmp_path)
