"""Models for use after adapting to a speaker: in training, too, each is normalized by their own statistics."""

from pathlib import Path

import numpy as np
import pytest
import torch

from modeling_ser.feature_statistics import FEWEST_CLIPS
from speech_emotion.cli.predict import load_classifier
from speech_emotion.cli.train import main as train
from speech_emotion.training.splits import ClipSplit
from tests.speech_emotion.training.trainings import arguments, emotion_task, read_rows, words

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")


class Features(list):
    """Cached features of clips, as a split reads them."""

    def __getitem__(self, key: int | str) -> object:
        return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)


def clips_of(*speakers: str, features: int = 3) -> ClipSplit:
    rng = np.random.default_rng(0)
    rows = Features(
        {"input_features": (rng.normal(ord(speaker), 1 + index, (5, features))).ravel(), "num_frames": 5}
        for index, speaker in enumerate(speakers)
    )
    labels = [index % 2 for index in range(len(speakers))]
    return ClipSplit(rows, range(len(speakers)), [str(index) for index in range(len(speakers))], speakers, labels)


def test_scores_are_those_of_a_pipeline_adapted_to_the_speaker(
    polish_dir: Path, cache_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert train(words(polish_dir, cache_dir, folder, "--num_train_epochs 2 --by_speaker")) == 0
    assert "classifier.adapt(" in (folder / "README.md").read_text(encoding="utf-8")
    classifier = load_classifier(str(folder))
    lines = read_rows(folder / "scores.jsonl")
    for split in ("validation", "test"):  # each of one speaker
        found = {line["id"]: line["scores"] for line in lines if line["split"] == split}
        files = [str(polish_dir / f"{clip}.wav") for clip in found]
        adapted = classifier.adapt(files, check=False)
        for files_at_once in (1, 4):
            for scores, result in zip(found.values(), adapted(files, batch_size=files_at_once), strict=True):
                assert {one["label"]: one["score"] for one in result} == pytest.approx(scores, abs=1e-5)
        plain = [{one["label"]: one["score"] for one in result} for result in classifier(files)]
        assert plain != [pytest.approx(scores, abs=1e-3) for scores in found.values()]


def test_speakers_come_to_one_mean_and_deviation() -> None:
    speakers = [*"a" * 2000, *"b" * 2000]  # so many that the former statistics hardly count
    clips = clips_of(*speakers)
    clips.normalize_speakers(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 4.0]))
    frames = np.stack([clips[index]["input_features"].reshape(-1, 3) for index in range(len(clips))])
    for own in np.split(frames, 2):
        np.testing.assert_allclose(own.mean(axis=(0, 1)), [1, 2, 3], atol=0.05)
        np.testing.assert_allclose(own.std(axis=(0, 1)), [1, 2, 4], rtol=0.01)


def test_speakers_with_few_clips_or_one_emotion_are_refused(polish_dir: Path, cache_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"'b' has 2 clips, too few .*: {FEWEST_CLIPS} are needed"):
        clips_of(*"a" * 8, *"b" * 2).normalize_speakers(torch.zeros(3), torch.ones(3))
    task = emotion_task(polish_dir, cache_dir, by_speaker=True)
    task.prepare(arguments(tmp_path))
    train_clips = task.splits.train
    lone = train_clips.speakers[0]
    train_clips.labels = [
        0 if speaker == lone else label
        for speaker, label in zip(train_clips.speakers, train_clips.labels, strict=True)
    ]
    with pytest.raises(ValueError, match=f"training clips of {lone} are of one emotion"):
        task.make_network()
