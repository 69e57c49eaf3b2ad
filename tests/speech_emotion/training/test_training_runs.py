"""Whole trainings from the command line: one process and two, stopped and resumed, fine-tuned, used."""

import logging
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from speech_emotion.cli import demo
from speech_emotion.cli.main import main as ser
from speech_emotion.cli.train import main as train
from speech_emotion.evaluation.calibration import apply_temperature, calibration_metrics, fit_temperature
from speech_emotion.inference.saved_model import load_saved
from speech_emotion.training.run_record import heard_speakers
from tests.feature_extraction.small_encoders import small_model
from tests.speech_emotion.training.trainings import (
    assert_scored_as_measured,
    in_two_processes,
    read_json,
    read_rows,
    scores_of,
    words,
)
from tests.subprocess_tools import PROJECT_ROOT, run_command

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")
TITLE = "Emotions in Polish speech"
Run = Callable[..., int]


@pytest.fixture(scope="module")
def run(large_polish_dir: Path, cache_dir: Path) -> Run:
    """Train in this process as a command line says; the exit code."""
    return lambda folder, more="", corpus=large_polish_dir: train(words(corpus, cache_dir, folder, more))


@pytest.fixture(scope="module")
def finished(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "model"
    assert run(folder, "--num_train_epochs 3 --fold 1") == 0
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "model")


def test_a_run_leaves_model_card_fold_figures_and_scores(finished: Path) -> None:
    results = read_json(finished / "results.json")
    assert results["fold"] == "leave-one-speaker-out-m2"
    assert [results[part]["speakers"] for part in ("train", "validation", "test")] == [
        ["m1", "m4", "m5"],
        ["m3"],
        ["m2"],
    ]
    scores = read_rows(finished / "scores.jsonl")
    tested = [score for score in scores if score["split"] == "test"]
    assert len({score["id"] for score in tested}) == results["test"]["clips"] == 48
    assert sum(map(sum, results["test"]["confusion"])) == 48
    hits = sum(score["prediction"] == score["label"] for score in tested)
    assert results["test"]["metrics"]["wa"] == pytest.approx(hits / 48)
    assert all(sum(score["scores"].values()) == pytest.approx(1) for score in scores)
    assert {row["split"] for row in read_rows(finished / "fold.jsonl") if row["speaker"] == "m2"} == {"test"}
    card = (finished / "README.md").read_text()
    metrics = results["test"]["metrics"]
    assert f"| test | {metrics['wa']:.1%} | {metrics['ua']:.1%} | 33.3% | 48 | 1 |" in card
    assert "model-index" in card and "{{" not in card
    assert "](confusions.png)" in card and (finished / "confusions.png").is_file()
    assert not list(finished.rglob("*.bin"))
    # What is shared names no folder of the machine that trained.
    assert str(finished.parent) not in (finished / "results.json").read_text() + card


def test_the_temperature_is_fitted_on_the_validation_speakers_and_saved(finished: Path) -> None:
    results, config = read_json(finished / "results.json"), read_json(finished / "config.json")
    assert results["temperature"] == config["temperature"] != 1
    assert {read_json(path)["temperature"] for path in finished.glob("checkpoint-*/config.json")} == {1.0}
    for part in ("validation", "test"):
        rows = [row for row in read_rows(finished / "scores.jsonl") if row["split"] == part]
        truth = np.array([results["labels"].index(row["label"]) for row in rows])
        scores = np.array([[row["scores"][label] for label in results["labels"]] for row in rows])
        before = apply_temperature(scores, 1 / config["temperature"])  # the scores are the pipeline's
        assert results[part]["calibration"] == pytest.approx(
            calibration_metrics(truth, before, config["temperature"]), abs=1e-9
        )
        if part == "validation":
            assert fit_temperature(truth, before) == pytest.approx(config["temperature"], rel=1e-4)
    of = results["test"]["calibration"]
    card = " ".join((finished / "README.md").read_text().split())
    assert f"calibration error (15 bins) from {of['ece_before']:.1%} to {of['ece_after']:.1%}" in card
    assert f"the temperature {config['temperature']:.2f}, fitted on the validation speakers" in card


def test_half_precision_trains_on_a_fold_of_a_file_and_scores_in_float32(
    run: Run, finished: Path, large_polish_dir: Path, tmp_path: Path
) -> None:
    folder, file = tmp_path / "half", finished / "fold.jsonl"
    assert run(folder, f"--folds_file {shlex.quote(str(file))} --num_train_epochs 1 --bf16 true") == 0
    assert (folder / "fold.jsonl").read_text() == file.read_text()
    assert {row["split"] for row in read_rows(folder / "scores.jsonl")} == {"validation", "test"}
    network, _ = load_saved(str(folder))
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32}
    assert_scored_as_measured(folder, large_polish_dir)


def test_two_processes_train_as_one(
    run: Run, large_polish_dir: Path, cache_dir: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    more = (
        "--dropout 0 --attention_dropout 0 --max_steps 20 --logging_strategy steps --logging_steps 1 "
        "--class_weights balanced --per_device_eval_batch_size 20 --per_device_train_batch_size"
    )
    one, two = (tmp_path / name for name in ("one", "two"))
    assert run(one, f"{more} 16") == 0
    in_two_processes("train.py", words(large_polish_dir, cache_dir, two, f"{more} 8"), environment, tmp_path)
    results = [read_json(folder / "results.json") for folder in (one, two)]
    states = [read_json(folder / "checkpoint-20" / "trainer_state.json")["log_history"] for folder in (one, two)]
    losses, evaluations = ([[e[key] for e in state if key in e] for state in states] for key in ("loss", "eval_loss"))
    assert len(losses[0]) == 20
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert evaluations[0] == pytest.approx(evaluations[1], abs=1e-4)
    for split in ("validation", "test"):
        assert results[1][split]["clips"] == sum(map(sum, results[1][split]["confusion"])) == 48
        assert results[0][split]["confusion"] == results[1][split]["confusion"]


def test_sigterm_exits_143_and_the_run_can_be_resumed(
    run: Run, large_polish_dir: Path, cache_dir: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    # A stop comes when it comes; the epochs are many enough that the signal, sent at the first line of the table,
    # falls into one of them.
    more = "--num_train_epochs 6 --early_stopping_patience 0"
    parts = tmp_path / "parts"
    process = subprocess.Popen(
        [sys.executable, str(PROJECT_ROOT / "train.py"), *words(large_polish_dir, cache_dir, parts, more)],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.split()[:1] == ["1.0"]:
            process.send_signal(signal.SIGTERM)
            break
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 143, "".join(lines) + rest
    assert "--resume_from_checkpoint true" in rest
    assert not (parts / "results.json").exists() and not (parts / "README.md").exists()

    assert run(parts, more) == 1  # neither resumed nor overwritten by mistake
    assert run(parts, f"{more} --resume_from_checkpoint true") == 0
    assert read_json(parts / "results.json")["epochs"] == 6


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ("--fold 2", ['train.speakers is ["m1", "m4", "m5"]', 'validation.speakers is ["m3"]']),
        ("--fold 1 --labels neutral fear anger", ['labels is ["anger", "fear", "neutral"]']),
        ("--fold 1 --win_length 800", ["features is"]),
        ("--fold 1 --learning_rate 0.5", ["learning_rate is 0.001"]),
    ],
    ids=["fold", "labels", "features", "what a checkpoint brings back"],
)
def test_a_run_of_something_else_is_not_resumed(
    run: Run, copied: Path, other: str, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (copied / "results.json").read_bytes()
    assert run(copied, f"--num_train_epochs 4 {other} --resume_from_checkpoint true") == 1
    error = capsys.readouterr().err
    assert all(part in error for part in told)
    assert (copied / "results.json").read_bytes() == before
    assert read_json(copied / "run.json")["test"]["speakers"] == ["m2"]
    assert len(list(copied.glob("checkpoint-*/run.json"))) == len(list(copied.glob("checkpoint-*"))) > 0


def test_a_run_on_other_recordings_of_the_same_names_is_not_resumed(
    run: Run, copied: Path, large_polish_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = shutil.copytree(large_polish_dir, tmp_path / "polish")
    path = next(corpus.glob("m1*.wav"))
    samples, rate = soundfile.read(path, dtype="int16")
    samples[100] ^= 1
    soundfile.write(path, samples, rate)
    assert run(copied, "--num_train_epochs 4 --fold 1 --resume_from_checkpoint true", corpus) == 1
    assert "train.recordings" in capsys.readouterr().err


def test_a_resumption_with_other_settings_is_told_on_the_card(
    run: Run, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The run was copied, and so its best checkpoint is no longer where it was noted.
    more = "--num_train_epochs 4 --fold 1 --dropout 0.5 --resume_from_checkpoint true"
    assert run(copied, more) == 0
    stages = read_json(copied / "results.json")["stages"]
    assert [stage["settings"]["dropout"] for stage in stages] == [0.3, 0.5]
    card = " ".join((copied / "README.md").read_text().split())
    assert "dropout 0.5 instead of 0.3, num_train_epochs 4.0 instead of 3.0." in card
    for file in ("optimizer.pt", "run.json"):
        for path in copied.glob(f"checkpoint-*/{file}"):
            path.unlink()
        assert run(copied, more) == 1
        assert file in capsys.readouterr().err


def test_a_run_ended_by_early_stopping_stays_ended(run: Run, tmp_path: Path) -> None:
    more = "--num_train_epochs 30 --early_stopping_patience 1 --learning_rate 1e-9"
    left = []
    for again in ("", " --resume_from_checkpoint true"):
        assert run(tmp_path, more + again) == 0
        left.append((read_json(tmp_path / "results.json"), (tmp_path / "model.safetensors").read_bytes()))
    assert left[0] == left[1] and left[0][0]["epochs"] < 30


def test_a_launcher_that_would_train_in_one_process_is_stopped(
    large_polish_dir: Path, cache_dir: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    line = words(large_polish_dir, cache_dir, tmp_path / "model")
    done = run_command([*accelerate, PROJECT_ROOT / "train.py", *line], env=environment, cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert "starts a single process" in done.stderr + done.stdout
    assert not (tmp_path / "model" / "config.json").exists()


# Fine-tuning ---------------------------------------------------------------------------------------------------------


def test_fine_tuning_starts_from_a_saved_model_with_other_labels(run: Run, finished: Path, tmp_path: Path) -> None:
    model = f"--model_name_or_path {shlex.quote(str(finished))}"
    more = f"{model} --labels fear anger --fold 1 --num_train_epochs 1 --learning_rate 0 --dropout 0.5"
    assert run(tmp_path, more) == 0
    config, results = read_json(tmp_path / "config.json"), read_json(tmp_path / "results.json")
    assert config["id2label"] == {"0": "fear", "1": "anger"}
    assert (config["hidden_size"], config["dropout"]) == (8, 0.5)
    assert 1.0 != config["temperature"] != read_json(finished / "config.json")["temperature"]
    assert {read_json(path)["temperature"] for path in tmp_path.glob("checkpoint-*/config.json")} == {1.0}
    for name in ("hidden_size", "conv_kernel_size"):
        assert results["arguments"][name] == config[name]
    assert results["heard_before"] == {TITLE: {"train": ["m1", "m4", "m5"], "validation": ["m3"]}}
    # Nothing is learned: all is what was loaded, the last layer too, whose emotions stand in another order now.
    before, after = (load_file(folder / "model.safetensors") for folder in (finished, tmp_path))
    kept = [name for name in before if "running" not in name and not name.startswith("classifier.out_proj")]
    assert {"ser.feature_mean", "ser.feature_std", "ser.streams.0.conv1.conv.weight"} <= set(kept) < set(before)
    assert all(torch.equal(before[name], after[name]) for name in kept)
    for name in ("classifier.out_proj.weight", "classifier.out_proj.bias"):
        assert torch.equal(after[name], before[name][[1, 0]])  # of anger, fear, neutral


def test_fine_tuning_is_not_tested_on_those_whom_the_model_has_heard(
    run: Run, finished: Path, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = "--num_train_epochs 1 --fold 0 --model_name_or_path"
    assert run(tmp_path / "leak", f"{more} {shlex.quote(str(finished))}") == 1
    assert f"was trained with speaker(s) m1 of {TITLE}" in capsys.readouterr().err
    assert not (tmp_path / "leak" / "config.json").exists()
    (copied / "results.json").unlink()
    assert run(tmp_path / "tuned", f"{more} {shlex.quote(str(copied))}") == 0
    assert read_json(tmp_path / "tuned" / "results.json")["heard_before"] is None
    # Nor does a model tuned from that one know.
    assert heard_speakers(str(tmp_path / "tuned")) is None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--hidden_size 16", "hidden_size is 8 there and 16 here"),
        ("--hidden_size 128", "hidden_size is 8 there and 128 here"),  # the default
        ("--dynamic_range 60", "dynamic_range is 0.0 there and 60.0 here"),
        ("--encoder you/words", 'encoder is null there and "you/words" here'),
    ],
)
def test_fine_tuning_refuses_what_the_loaded_model_would_not_heed(
    run: Run, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, message: str
) -> None:
    start = f"--model_name_or_path {shlex.quote(str(finished))} --num_train_epochs 1 --fold 1 {more}"
    assert run(tmp_path / "tuned", start) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "tuned" / "config.json").exists()


def test_a_training_of_many_epochs_that_keeps_the_last_is_told_about_twenty_times(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    source = logging.getLogger("transformers.trainer_utils")
    source.warning_once.cache_clear()
    source.addHandler(caplog.handler)
    last = "--no_load_best_model_at_end --early_stopping_patience 0 --per_device_train_batch_size 72 --max_steps 45"
    assert run(tmp_path / "model", last) == 0
    source.removeHandler(caplog.handler)
    assert "mtime" not in caplog.text  # Trainer's doubts about checkpoints of the same second
    epochs = [*map(float, re.findall(r"^ +(\d+\.\d) .*%$", capsys.readouterr().out, re.M))]
    assert epochs[-1] == 22.5 and epochs[:-1] == [*range(2, 23, 2)]
    assert (tmp_path / "model" / "checkpoint-45").is_dir()


# ser -----------------------------------------------------------------------------------------------------------------


def test_predict_prints_a_table(finished: Path, large_polish_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = scores_of(finished)
    files = [str(large_polish_dir / f"{clip}.wav") for clip in list(expected)[::40]]
    assert ser(["predict", *files, "--model", str(finished)]) == 0
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "prediction", "score"]
    assert [line.split()[0] for line in lines] == files
    for line, scores in zip(lines, list(expected.values())[::40], strict=True):
        assert line.split()[1] == max(scores, key=scores.get)


def test_predict_skips_bad_files_only_if_asked(
    finished: Path, tmp_path: Path, large_polish_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(large_polish_dir / "m1.a_nie_1.wav", tmp_path / "good.wav")
    (tmp_path / "bad.wav").write_text("no audio at all")
    output = tmp_path / "scores.csv"
    (tmp_path / "empty").mkdir()
    assert ser(["predict", str(tmp_path / "empty"), "--model", str(finished)]) == 1
    assert "no audio file" in capsys.readouterr().err
    call = ["predict", str(tmp_path), "--model", str(finished), "--output", str(output)]
    for more, code, lines in ((["--strict"], 1, None), ([], 1, 2), (["--skip-bad"], 0, 2)):
        assert ser([*call, *more]) == code
        assert "bad.wav" in capsys.readouterr().err
        assert (len(output.read_text().splitlines()) if output.exists() else None) == lines


def test_the_demo_compares_models_and_classifies_an_unseen_speaker_in_a_fresh_process(
    large_polish_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in small_model("whisper"):
        part.save_pretrained(tmp_path / "tiny-whisper")

    def train_shortly(call: list[str]) -> int:
        short = ["--num_train_epochs", "6", "--cache_dir", str(tmp_path / "cache")]
        if "recommended" in call:
            short += ["--encoder", str(tmp_path / "tiny-whisper"), "--encoder_layer", "1", "2", "--variants", "0"]
            short += ["--max_steps", "-1"]
        return train([*call, *short])

    monkeypatch.setattr("speech_emotion.cli.train.main", train_shortly)
    line = ["demo", "--output_dir", str(tmp_path / "demo"), "--data_dir", str(large_polish_dir)]
    assert ser(line) == 0
    printed = capsys.readouterr().out
    compared = printed.split("The models on the unseen speaker m1")[1].splitlines()
    models = {words[0]: words[1:] for row in compared if (words := row.split()) and words[0] in demo.MODELS}
    assert list(models) == ["Model-1", "Model-2", "Model-3", "Recommended"]
    for name, (settings, _) in demo.MODELS.items():
        report = demo.read_report(tmp_path / "demo" / name.lower())
        assert settings.items() <= report.arguments.items()
        assert models[name][-1] == f"{100 * report.test.metrics['ua']:.1f}%"
    table = printed.split("fresh process")[1].splitlines()
    rows = [row.split() for row in table if row.startswith("m1.")]
    assert len(rows) == 12
    assert {row[1] for row in rows} == {"anger", "fear", "neutral"}
    scores = scores_of(tmp_path / "demo" / "recommended")
    for file, truth, prediction, sure, judged in rows:
        expected = scores[file.removesuffix(".wav")]
        assert prediction == max(expected, key=expected.get) and judged == (
            "right" if truth == prediction else "wrong"
        )
        assert float(sure.removesuffix("%")) == pytest.approx(100 * expected[prediction], abs=0.51)
    assert f"{sum(row[-1] == 'right' for row in rows)} of 12 are right; by chance it would be 4." in printed

    # A second time it does not train again, and says so; with another seed it does.
    def trained(call: Any) -> int:
        raise AssertionError("trained again")

    monkeypatch.setattr("speech_emotion.cli.train.main", trained)
    assert ser(line) == 0
    second = capsys.readouterr().out
    assert "--retrain" in second
    assert second.split("fresh process")[1] == printed.split("fresh process")[1]
    for change in (["--seed", "7"], ["--retrain"]):
        with pytest.raises(AssertionError, match="trained again"):
            ser([*line, *change])
