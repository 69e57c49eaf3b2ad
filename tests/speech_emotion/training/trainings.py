"""Builds small trainings, stops them at one moment, and compares what they leave."""

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from speech_emotion.inference.saved_model import load_saved
from speech_emotion.training import DataArguments, EmotionTask, ModelArguments, SERTrainingArguments
from speech_emotion.training.arguments import CTCDataArguments, CTCModelArguments
from speech_emotion.training.ctc_task import RecognitionTask
from speech_emotion.training.training_arguments import CTCTrainingArguments
from tests.subprocess_tools import PROJECT_ROOT, run_command

SMALL = "--preset paper --corpus polish --hidden_size 8 --dense_size 8 --use_cpu true"


def signal_at(event: str, step: int) -> TrainerCallback:
    """Make a callback that sends SIGTERM to this process at one moment of the training."""

    def send(self: TrainerCallback, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return type("SignalAt", (TrainerCallback,), {event: send})()


class EvaluationSteps(TrainerCallback):
    """Notes the steps that were evaluated."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.steps.append(state.global_step)


def words(corpus_dir: Path, cache_dir: Path, output_dir: Path, more: str = "", small: str = SMALL) -> list[str]:
    """Write the command line of a small training."""
    places = ["--data_dir", str(corpus_dir), "--cache_dir", str(cache_dir), "--output_dir", str(output_dir)]
    return [*shlex.split(small), *places, *shlex.split(more)]


def emotion_task(corpus_dir: Path, cache_dir: Path, **model: Any) -> EmotionTask:
    """Make a small model with dropout; the clips' first class is rare enough for UA to move."""
    data = DataArguments(corpus="polish", data_dir=str(corpus_dir), cache_dir=str(cache_dir))
    sizes = {"hidden_size": 8, "dense_size": 8, "dropout": 0.5, "attention_dropout": 0.2}
    return EmotionTask(data, ModelArguments(**sizes | model))


def recognition_task(corpus_dir: Path, cache_dir: Path) -> RecognitionTask:
    """Make a small recognizer with dropout, perturbation and SpecAugment."""
    data = CTCDataArguments(data_dir=str(corpus_dir), cache_dir=str(cache_dir), validation_speakers=2)
    return RecognitionTask(data, CTCModelArguments(hidden_size=16, dropout=0.3))


def arguments(folder: Path, kind: type = SERTrainingArguments, **changes: Any) -> SERTrainingArguments:
    """Make the arguments of a training of three epochs, all of whose checkpoints stay."""
    settings = {"output_dir": str(folder), "num_train_epochs": 3, "use_cpu": True, "save_total_limit": None}
    own = {"per_device_train_batch_size": 8, "early_stopping_patience": 9} if kind is CTCTrainingArguments else {}
    return kind(**settings | {"learning_rate": 3e-3} | own | changes)


def read_json(path: Path) -> Any:
    """Read a file of JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def scores_of(folder: Path) -> dict[str, dict[str, float]]:
    """Read a run's scores, by clip and emotion."""
    return {row["id"]: row["scores"] for row in read_rows(folder / "scores.jsonl")}


def assert_scored_as_measured(folder: Path, corpus_dir: Path, sizes: Iterable[int] = (1, 4), clips: int = 8) -> None:
    """Check that the model of a run gives the scores that the run wrote down, in batches of some sizes."""
    network, extractor = load_saved(str(folder))
    classifier, measured = network.as_pipeline(extractor), list(scores_of(folder).items())[:clips]
    for size in sizes:
        answers = classifier([str(corpus_dir / f"{clip}.wav") for clip, _ in measured], batch_size=size)
        for (clip, scores), answer in zip(measured, answers, strict=True):
            assert {one["label"]: one["score"] for one in answer} == pytest.approx(scores, abs=1e-5), clip


def in_two_processes(script: str, line: Sequence[str], environment: dict[str, str], folder: Path) -> None:
    """Let two processes train together, as torchrun starts them."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    run_command([*torchrun, PROJECT_ROOT / script, *line], env=environment, cwd=folder)


def last_checkpoint(folder: Path) -> Path:
    """Return the checkpoint of the highest step."""
    return max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))


def assert_equal_runs(one: Path, other: Path, metric: str) -> None:
    """Compare final weights, and of the last checkpoints weights, optimizer, position, patience and evaluations."""
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    one, other = last_checkpoint(one), last_checkpoint(other)
    assert one.name == other.name
    weights, others = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert weights.keys() == others.keys()
    assert all(torch.equal(tensor, others[name]) for name, tensor in weights.items())
    for file in ("optimizer.pt", "input_layer.pt"):
        if (one / file).is_file():
            states = [torch.load(path / file, weights_only=True) for path in (one, other)]
            assert _flat(states[0]) == _flat(states[1])
    states = [read_json(path / "trainer_state.json") for path in (one, other)]
    for key in ("global_step", "epoch", "best_metric", "best_global_step"):
        assert states[0][key] == states[1][key], key
    patience = [state["stateful_callbacks"]["EarlyStoppingCallback"] for state in states]
    assert patience[0] == patience[1]
    evaluations = [
        {entry["step"]: (entry["eval_loss"], entry[metric]) for entry in state["log_history"] if metric in entry}
        for state in states
    ]
    assert evaluations[0] == evaluations[1]


def _flat(state: Any) -> Any:
    """Give a state's tensors as lists, so that states compare by `==`."""
    if isinstance(state, torch.Tensor):
        return state.tolist()
    if isinstance(state, dict):
        return {name: _flat(value) for name, value in state.items()}
    return [_flat(value) for value in state] if isinstance(state, (list, tuple)) else state
