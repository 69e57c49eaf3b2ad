"""Launches, folders, checkpoints, signals and the best weights: what a training does beside its steps."""

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import filelock
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import TrainerControl

from speech_emotion.training.callbacks import BestWeights, StopSignalCallback
from speech_emotion.training.launch import LOCK_NAME, check_launch, find_checkpoint, prepare_folder, sole_training
from speech_emotion.training.training_arguments import SERTrainingArguments


def launched(world_size: int = 1, n_gpu: int = 0) -> SimpleNamespace:
    return SimpleNamespace(world_size=world_size, n_gpu=n_gpu, save_total_limit=2)


def test_launches_that_train_together_pass() -> None:
    check_launch(launched(), {})
    check_launch(launched(2), {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"})
    check_launch(launched(2), {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true"})


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        (launched(), {"WORLD_SIZE": "2"}, r"each of them would train alone(.|\n)*--use_cpu true"),
        (launched(n_gpu=4), {}, r"DataParallel(.|\n)*--nproc_per_node 4"),
    ],
)
def test_silent_failures_stop_with_the_command_that_works(
    arguments: SimpleNamespace, environ: dict[str, str], message: str
) -> None:
    with pytest.raises(RuntimeError, match=message):
        check_launch(arguments, environ)


def test_two_trainings_cannot_share_a_folder(tmp_path: Path) -> None:
    args = SimpleNamespace(process_index=0, output_dir=str(tmp_path))
    other = filelock.FileLock(tmp_path / LOCK_NAME)
    with other, pytest.raises(RuntimeError, match="Another training is writing"), sole_training(args):
        pass
    with sole_training(args), pytest.raises(filelock.Timeout):
        other.acquire(timeout=0)


def write_checkpoints(run: Path, *names: int | str) -> Path:
    for name in names:
        folder = run / f"checkpoint-{name}"
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": name}))
        save_file({"weight": torch.zeros(9)}, folder / "model.safetensors")
        torch.save({"state": torch.zeros(9)}, folder / "optimizer.pt")
    return run


def test_only_whole_checkpoints_are_resumed(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path, None) is None
    with pytest.raises(FileNotFoundError, match="no whole checkpoint"):
        find_checkpoint(tmp_path, True)
    write_checkpoints(tmp_path, 9, 10, "best")  # the last a copy kept by hand
    (tmp_path / "checkpoint-11").mkdir()  # cut short before its last file
    assert find_checkpoint(tmp_path, True) == tmp_path / "checkpoint-10"
    with pytest.raises(FileNotFoundError, match="not a whole checkpoint"):
        find_checkpoint(tmp_path, str(tmp_path / "checkpoint-11"))
    with pytest.raises(FileExistsError, match="--resume_from_checkpoint true"):
        find_checkpoint(tmp_path, None)


@pytest.mark.parametrize("file", ["trainer_state.json", "model.safetensors", "optimizer.pt"])
@pytest.mark.parametrize("left", [0.0, 0.5, 0.99])
def test_a_cut_file_is_named_and_the_older_whole_checkpoint_is_taken(file: str, left: float, tmp_path: Path) -> None:
    write_checkpoints(tmp_path, 9, 10, 11)
    for step in (10, 11):
        cut = tmp_path / f"checkpoint-{step}" / file
        cut.write_bytes(cut.read_bytes()[: int(left * cut.stat().st_size)])
    with pytest.warns(UserWarning, match=rf"{file} is damaged, so checkpoint-1") as told:
        assert find_checkpoint(tmp_path, True) == tmp_path / "checkpoint-9"
    assert len(told) == 2
    with pytest.raises(ValueError, match=rf"checkpoint-11/{file} is damaged"):
        find_checkpoint(tmp_path, str(tmp_path / "checkpoint-11"))
    (tmp_path / "checkpoint-9" / "trainer_state.json").write_text("[]")
    with pytest.warns(UserWarning), pytest.raises(FileNotFoundError, match="no whole checkpoint"):
        find_checkpoint(tmp_path, True)


def test_a_run_goes_on_among_its_own_checkpoints_only(tmp_path: Path) -> None:
    one, other = write_checkpoints(tmp_path / "one", 9, 12), write_checkpoints(tmp_path / "other", 3)
    assert find_checkpoint(one, str(one / "checkpoint-12")) == one / "checkpoint-12"
    assert find_checkpoint(tmp_path / "new", str(one / "checkpoint-9")) == one / "checkpoint-9"
    for folder, later in ((one, 12), (other, 3)):
        with pytest.raises(FileExistsError, match=rf"holds checkpoint-{later}, which .*checkpoint-9 did not come to"):
            find_checkpoint(folder, str(one / "checkpoint-9"))
    places = {"overwrite_output_dir": True, "resume_from_checkpoint": str(one / "checkpoint-9"), "use_cpu": True}
    for run in (one, other):
        assert prepare_folder(run, SERTrainingArguments(output_dir=str(run), **places)) == one / "checkpoint-9"
    assert [path.name for path in one.iterdir()] == ["checkpoint-9"] and not list(other.iterdir())


def test_overwriting_removes_the_runs_checkpoints_alone(tmp_path: Path) -> None:
    write_checkpoints(tmp_path, 4, 12, "best")
    (tmp_path / "notes").mkdir()
    arguments = {"output_dir": str(tmp_path), "overwrite_output_dir": True, "use_cpu": True}
    resumed = SERTrainingArguments(**arguments, resume_from_checkpoint=True)
    assert prepare_folder(tmp_path, resumed) == tmp_path / "checkpoint-12"
    assert len(list(tmp_path.iterdir())) == 4
    assert prepare_folder(tmp_path, SERTrainingArguments(**arguments)) is None
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-best", "notes"}


def test_the_second_signal_acts_as_if_nobody_listened() -> None:
    received = []
    previous = signal.signal(signal.SIGTERM, lambda *_: received.append("default"))
    try:
        callback = StopSignalCallback()
        callback.on_train_begin(launched(), None, None)
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == []
        control = SimpleNamespace(should_save=False, should_evaluate=True, should_training_stop=False)
        callback.on_step_end(launched(), None, control)
        assert callback.stopped
        assert (control.should_save, control.should_evaluate, control.should_training_stop) == (True, False, True)
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == ["default"]
    finally:
        signal.signal(signal.SIGTERM, previous)


# The best weights ----------------------------------------------------------------------------------------------------


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
