"""Models of all speakers, trained as long as a validated run before them was best."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from speech_emotion.cli.train import main as train
from speech_emotion.inference.saved_model import load_saved
from speech_emotion.training import FinalTask, SERTrainingArguments, run_training
from speech_emotion.training.run_record import heard_speakers
from tests.hub.local_hub import LocalHub
from tests.speech_emotion.training.trainings import (
    arguments,
    emotion_task,
    in_two_processes,
    last_checkpoint,
    read_json,
    signal_at,
    words,
)
from tests.subprocess_tools import PROJECT_ROOT

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")
SPEAKERS = ["m1", "m2", "m3", "m4", "m5"]
MORE = "--num_train_epochs 4 --fold 1 --save_total_limit 9 --learning_rate 0.005"
Run = Callable[..., int]


@pytest.fixture(scope="module")
def run(large_polish_dir: Path, cache_dir: Path) -> Run:
    """Train in this process as a command line says; the exit code."""
    return lambda folder, more="": train(words(large_polish_dir, cache_dir, folder, f"{MORE} {more}"))


@pytest.fixture(scope="module")
def final(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("final") / "model"
    assert run(folder, "--final true") == 0
    return folder


def test_a_final_model_learns_from_everybody_as_long_as_validation_found_best(
    final: Path, large_polish_dir: Path
) -> None:
    results, validated = (read_json(folder / "results.json") for folder in (final, final / "validated"))
    assert results["train"]["speakers"] == SPEAKERS and results["train"]["clips"] == 240
    assert [results[part]["clips"] for part in ("validation", "test")] == [0, 0]
    assert validated["test"]["speakers"] == ["m2"] and results["validated"] == validated
    best = read_json(last_checkpoint(final / "validated") / "trainer_state.json")["best_global_step"]
    assert validated["kept_step"] == best == 9 * validated["kept_epoch"]  # 144 clips in batches of 16
    state = read_json(last_checkpoint(final) / "trainer_state.json")
    assert state["global_step"] == 15 * validated["kept_epoch"] and state["max_steps"] == 60  # 240 clips; 4 epochs
    assert read_json(final / "config.json")["temperature"] == validated["temperature"] != 1
    assert not (final / "scores.jsonl").exists() and not (final / "fold.jsonl").exists()
    network, extractor = load_saved(str(final))
    assert len(network.as_pipeline(extractor)(str(next(large_polish_dir.glob("*.wav"))))) == 3
    assert heard_speakers(str(final)) == {"Emotions in Polish speech": {"train": SPEAKERS, "validation": []}}


def test_its_card_says_that_nobody_was_left_to_test_it(final: Path) -> None:
    card = " ".join((final / "README.md").read_text().split())
    validated = read_json(final / "validated" / "results.json")
    assert "trained on all 240 clips, so nobody was left to test it" in card
    assert "on 144 of the clips: without m2 (test) and m3 (validation)" in card
    assert f"It ended after {validated['kept_epoch']:g} epochs, where that one was best." in card
    assert f"| test | {validated['test']['metrics']['wa']:.1%} |" in card
    assert "Training speakers: m1, m2, m3, m4, m5. -" in card
    assert "metrics" not in card.split("# model")[0]  # the Hub shows no figure as if it were this model's


def test_a_finished_run_can_be_named_and_gives_the_same(run: Run, final: Path, tmp_path: Path, capsys: Any) -> None:
    named = f"--final {shlex.quote(str(final / 'validated'))}"
    assert run(tmp_path / "model", named) == 0
    printed = capsys.readouterr().out
    assert "all speakers" in printed and "Nobody is left to test" in printed and "val. UA" not in printed
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == (final / "model.safetensors").read_bytes()
    assert not (tmp_path / "model" / "validated").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("--final {final}/validated --dropout 0.5", "dropout is 0.3 there and 0.5 here"),
        ("--final {final}/validated --labels fear anger", "labels is null there"),
        ("--final {final}/validated --win_length 800", "win_length is 400"),
        ("--final {final}", "is itself a final model"),
        ("--final {final}/validated/checkpoint-9", "has no results.json, so it is no finished run"),
        ("--final {final}/nothing", "does not exist (--final)"),
        ("--final true --resume_from_checkpoint {final}/checkpoint-15", "resume them with"),
    ],
)
def test_a_run_that_did_not_validate_this_is_refused(
    run: Run, final: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, told: str
) -> None:
    assert run(tmp_path / "model", more.format(final=shlex.quote(str(final)))) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "model" / "config.json").exists()


def test_checkpoints_in_the_way_are_told_of_before_anything_is_trained(run: Run, final: Path, capsys: Any) -> None:
    assert run(final / "validated", "--final true") == 1
    assert "holds checkpoints of another run" in capsys.readouterr().err
    assert not (final / "validated" / "validated").exists()


def test_a_schedule_in_steps_ends_at_the_same_step_and_stops_are_resumed(
    polish_dir: Path, cache_dir: Path, tmp_path: Path
) -> None:
    def task() -> FinalTask:
        plain = emotion_task(polish_dir, cache_dir)
        return FinalTask(replace(plain.data, final="true"), plain.model)

    def of(folder: Path, **more: Any) -> SERTrainingArguments:
        return arguments(folder, max_steps=10, load_best_model_at_end=False, **more)

    with pytest.raises(ValueError, match="without save=False"):
        run_training(task(), of(tmp_path / "none"), save=False)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run_training(task(), of(whole)).report.epochs == pytest.approx(10 / 6, abs=0.01)  # 90 clips
    # First in the run that is validated, of 4 steps an epoch, then in the final one, of 6.
    for event, step, more in (("on_step_begin", 5, {}), ("on_epoch_end", 6, {"resume_from_checkpoint": True})):
        result = run_training(task(), of(parts, **more), callbacks=[signal_at(event, step)])
        assert result.stopped and result.output_dir == parts
        assert (parts / "validated" / "results.json").exists() is bool(more)
    assert not run_training(task(), of(parts, resume_from_checkpoint=True)).stopped
    for one in ("model.safetensors", "validated/model.safetensors"):
        assert (whole / one).read_bytes() == (parts / one).read_bytes()


def test_two_processes_train_it_and_nothing_of_the_validated_run_is_pushed(
    polish_dir: Path, cache_dir: Path, local_hub: LocalHub, tmp_path: Path
) -> None:
    more = "--final true --num_train_epochs 1 --push_to_hub true --hub_model_id alice/final"
    env = local_hub.env(tmp_path / "home") | {"PYTHONPATH": str(PROJECT_ROOT)}
    in_two_processes("train.py", words(polish_dir, cache_dir, tmp_path / "final", more), env, tmp_path)
    commits = local_hub.commits("alice/final")
    assert [commit.title for commit in commits] == ["Training in progress, step 3", "End of training", "Model card"]
    assert not any("validated" in name or "scores" in name for commit in commits for name in commit.files)
    assert b"nobody was left to test it" in commits[-1].files["README.md"]
