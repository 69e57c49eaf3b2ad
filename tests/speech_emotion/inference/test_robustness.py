"""Robustness of saved models: what is changed, what is counted, and the command."""

from pathlib import Path

import numpy as np
import pytest
import torch

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERConfig, SERForAudioClassification, SERPipeline
from speech_emotion.cli.main import main as ser
from speech_emotion.inference.robustness import CHANGES, measure_robustness
from speech_emotion.training import run_training
from tests.modeling_ser.small_pipeline import write_clips
from tests.speech_emotion.training.trainings import arguments, emotion_task, read_json
from tests.synthetic import write_polish

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")
LABELS = ["anger", "fear", "neutral"]


def speech(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    samples = generator.standard_normal(12000) * (1.2 - np.cos(np.arange(12000) / 500))
    return (0.05 * np.convolve(samples, generator.standard_normal(16) / 4, "same")).astype(np.float32)


def classifier(front: str) -> SERPipeline:
    torch.manual_seed(0)
    extractor = SERFeatureExtractor(front=front)
    config = SERConfig(hidden_size=8, dense_size=8, id2label=dict(enumerate(LABELS)))
    return SERForAudioClassification(config).eval().as_pipeline(extractor)


def test_changes_are_measured_against_the_clips_themselves() -> None:
    clips = [speech(seed) for seed in range(6)]
    pipeline = classifier("speech")
    said = [scores[0]["label"] for scores in pipeline([{"array": clip, "sampling_rate": 16000} for clip in clips])]
    effects = {effect.change: effect for effect in measure_robustness(pipeline, clips, said)}
    assert list(effects) == list(CHANGES)
    assert (effects["none"].flipped, effects["none"].wa) == (0.0, 1.0)
    for name in ("12 dB quieter", "1 s of digital silence at both ends"):  # which the front takes away
        assert (effects[name].flipped, effects[name].wa) == (0.0, 1.0)
    for effect in effects.values():
        assert effect.flipped == pytest.approx(1 - effect.wa)
    again = {effect.change: effect for effect in measure_robustness(pipeline, clips, batch_size=2)}
    assert {name: one.flipped for name, one in again.items()} == {name: one.flipped for name, one in effects.items()}
    assert again["noise, 15 dB"].ua is None


def test_what_cannot_be_measured_is_refused() -> None:
    pipeline = classifier("none")
    with pytest.raises(ValueError, match="no clips"):
        next(measure_robustness(pipeline, []))
    with pytest.raises(ValueError, match="'joy' is none of the model's: anger"):
        next(measure_robustness(pipeline, [speech(0)], ["joy"]))


def test_the_command_measures_a_run_by_its_own_test_clips_and_by_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    polish_dir, cache_dir = write_polish(tmp_path / "polish"), tmp_path / "cache"
    task = emotion_task(polish_dir, cache_dir, front="speech")
    run_training(task, arguments(tmp_path / "run", num_train_epochs=1))
    capsys.readouterr()
    places = ["--data_dir", str(polish_dir), "--cache_dir", str(cache_dir)]
    assert ser(["robustness", "--model", str(tmp_path / "run"), *places]) == 0
    lines = capsys.readouterr().out.splitlines()
    ua = read_json(tmp_path / "run" / "results.json")["test"]["metrics"]["ua"]
    assert lines[0] == f"{len(task.splits.test)} clips"
    (plain,) = [line for line in lines if line.startswith("none")]
    assert plain.split()[1:3] == ["0.0", f"{100 * ua:.1f}"]
    (tmp_path / "clips").mkdir()
    write_clips(tmp_path / "clips")
    assert ser(["robustness", str(tmp_path / "clips"), "--model", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert "MP3, lowest rate" in told and f"{task.rows.info.description.split('. ')[0]} (4)" in told
    (tmp_path / "run" / "results.json").unlink()
    assert ser(["robustness", str(tmp_path / "clips"), "--model", str(tmp_path / "run")]) == 0
    assert "not known" in capsys.readouterr().out
    (tmp_path / "run" / "fold.jsonl").unlink()
    assert ser(["robustness", "--model", str(tmp_path / "run"), *places]) == 1
    assert "has no fold.jsonl" in capsys.readouterr().err


def test_the_model_that_comes_along_is_measured_by_files_and_says_whom_it_has_heard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ser(["robustness"]) == 1
    assert "Name files" in capsys.readouterr().err
    write_clips(tmp_path)
    assert ser(["robustness", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert all(f"{title} (" in told.out for title in ("EmoDB", "RAVDESS", "nEMO")) and "telephone" in told.out
    assert "no commercial use" in told.err
