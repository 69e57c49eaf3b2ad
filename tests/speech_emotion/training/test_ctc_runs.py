"""Whole DeepSpeech trainings from the command line: figures, card, half precision, two processes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from feature_extraction import DeepSpeechFeatureExtractor
from speech_emotion.cli.train import main_deepspeech as train
from speech_emotion.evaluation.error_rates import error_rates
from tests.speech_emotion.training.spelled_speech import SPEAKERS
from tests.speech_emotion.training.trainings import in_two_processes, read_json, read_rows, words
from tests.synthetic import write_polish

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")

SMALL = (
    "--hidden_size 64 --dropout 0 --tempo 0 --gain 0 --time_masks 0 --feature_masks 0 --validation_speakers 2 "
    "--per_device_train_batch_size 4 --learning_rate 3e-3 --warmup_steps 0.3 --use_cpu true"
)
Run = Callable[..., int]


@pytest.fixture(scope="module")
def run(spelled_dir: Path, cache_dir: Path) -> Run:
    """Train in this process as a command line says; the exit code."""
    return lambda folder, more="", corpus=spelled_dir, cache=cache_dir: train(
        words(corpus, cache, folder, more, SMALL)
    )


@pytest.fixture(scope="module")
def finished(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "model"
    assert run(folder, "--num_train_epochs 30 --half true --evaluate_test true") == 0
    return folder


def test_it_learns_and_the_figures_are_those_of_the_transcripts(finished: Path) -> None:
    results, rows = read_json(finished / "results.json"), read_rows(finished / "transcripts.jsonl")
    assert results["curve"][0]["eval_cer"] > 0.9
    assert results["test"]["errors"]["all"]["cer"] < 0.25
    for split in ("validation", "test"):
        for group, errors in results[split]["errors"].items():
            members = [row for row in rows if row["split"] == split and group in (row["group"], "all")]
            rates = error_rates([row["reference"] for row in members], [row["hypothesis"] for row in members])
            assert (errors["clips"], errors["cer"], errors["wer"]) == (len(members), rates.cer, rates.wer)
            assert errors["speakers"] == len({row["speaker"] for row in members})
        assert set(results[split]["errors"]) == {"adults", "children", "all"}
    assert results["best_epoch"] == min(results["curve"], key=lambda entry: entry["eval_cer"])["epoch"]


def test_no_speaker_is_in_two_splits_and_the_test_is_the_official_half(finished: Path) -> None:
    members: dict[str, set[str]] = {}
    for row in read_rows(finished / "fold.jsonl"):
        members.setdefault(row["split"], set()).add(row["speaker"])
    assert members["test"] == {name for name, (half, *_) in SPEAKERS.items() if half == "test"}
    assert not members["train"] & members["validation"]
    assert len(members["train"] | members["validation"]) == 8


def test_the_card_is_filled_and_names_no_folder_of_this_machine(finished: Path) -> None:
    card, results = (finished / "README.md").read_text(), (finished / "results.json").read_text()
    errors = read_json(finished / "results.json")["test"]["errors"]["children"]
    assert f"| test | children | 1 | 6 | {errors['cer']:.1%} | {errors['wer']:.1%} |" in card
    for fact in ("float16", "pipeline_tag: automatic-speech-recognition", "config: children", "(kept)"):
        assert fact in card
    assert "{{" not in card and "{%" not in card
    assert str(finished.parent) not in card + results
    assert {tensor.dtype for tensor in load_file(finished / "model.safetensors").values()} == {torch.float16}


def test_the_test_half_is_not_decoded_unless_asked_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, sources = DeepSpeechFeatureExtractor.load_audio, []

    def note(self: DeepSpeechFeatureExtractor, source: Any) -> Any:
        sources.append(str(source["path"]))
        return load(self, source)

    monkeypatch.setattr(DeepSpeechFeatureExtractor, "load_audio", note)
    assert run(tmp_path / "run", "--num_train_epochs 1", cache=tmp_path / "cache") == 0
    assert len(sources) == 48
    assert not [source for source in sources if "SPEAKER0009" in source or "SPEAKER0010" in source]
    assert read_json(tmp_path / "run" / "results.json")["test"] is None
    assert {tensor.dtype for tensor in load_file(tmp_path / "run" / "model.safetensors").values()} == {torch.float32}


def test_a_file_that_is_no_audio_is_skipped_only_if_asked(
    run: Run, spelled_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = shutil.copytree(spelled_dir, tmp_path / "speechocean762")
    bad = min(corpus.rglob("*.WAV"))
    bad.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert run(tmp_path / "run", "--num_train_epochs 1", corpus) == 1
    assert bad.name in capsys.readouterr().err
    assert run(tmp_path / "run", "--num_train_epochs 1 --skip_bad true", corpus) == 0


def test_two_processes_train_as_one(
    run: Run, spelled_dir: Path, cache_dir: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    more = (
        "--max_steps 4 --logging_strategy steps --logging_steps 1 --evaluate_test true --per_device_eval_batch_size 5"
    )
    # Four full batches: the fifth, of 4 clips, would be filled up among two processes.
    one, two = (tmp_path / name for name in ("one", "two"))
    assert run(one, f"{more} --per_device_train_batch_size 8") == 0
    in_two_processes("train_deepspeech.py", words(spelled_dir, cache_dir, two, more, SMALL), environment, tmp_path)
    states = [read_json(folder / "checkpoint-4" / "trainer_state.json")["log_history"] for folder in (one, two)]
    losses = [[entry["loss"] for entry in state if "loss" in entry] for state in states]
    assert len(losses[0]) == 4
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    results = [read_json(folder / "results.json") for folder in (one, two)]
    for split in ("validation", "test"):
        # Adam divides a gradient by its own size: where one nearly vanishes, rounding alone moves the weight.
        assert results[1][split]["loss"] == pytest.approx(results[0][split]["loss"], rel=1e-2)
        assert results[1][split]["errors"]["all"]["clips"] == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [("--corpus polish", "polish"), ("--validation_speakers 8", "8 of 8"), ("--tempo 1.5", "tempo must lie")],
)
def test_settings_that_do_not_fit_end_the_run(
    change: str, message: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = {"corpus": write_polish(tmp_path / "polish", repetitions=(1,))} if "polish" in change else {}
    assert run(tmp_path / "run", change, **corpus) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.json").exists()
