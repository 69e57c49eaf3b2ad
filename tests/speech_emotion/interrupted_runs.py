"""Stops trainings at one moment, and compares what they leave."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import TrainerCallback


class SignalAt(TrainerCallback):
    """Sends SIGTERM to this process at one moment of the training."""

    def __init__(self, event: str, step: int) -> None:
        self.event, self.step = event, step

    def __getattribute__(self, name: str) -> Any:
        event = object.__getattribute__(self, "event") if name.startswith("on_") else None
        if event != name:
            return super().__getattribute__(name)

        def send(args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == self.step:
                os.kill(os.getpid(), signal.SIGTERM)

        return send


class EvaluationSteps(TrainerCallback):
    """Notes the steps that were evaluated."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.steps.append(state.global_step)


def last_checkpoint(folder: Path) -> Path:
    """Return the checkpoint of the highest step."""
    return max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))


def assert_equal_checkpoints(one: Path, other: Path, metric: str) -> None:
    """Compare weights, optimizer, position, patience and evaluations, bit for bit."""
    assert one.name == other.name
    weights, others = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        assert torch.equal(tensor, others[name]), name
    optimizer = [torch.load(path / "optimizer.pt", weights_only=True)["state"] for path in (one, other)]
    for moments, other_moments in zip(optimizer[0].values(), optimizer[1].values(), strict=True):
        assert all(torch.equal(value, other_moments[key]) for key, value in moments.items())
    states = [json.loads((path / "trainer_state.json").read_text()) for path in (one, other)]
    for key in ("global_step", "epoch", "best_metric", "best_global_step"):
        assert states[0][key] == states[1][key], key
    patience = [state["stateful_callbacks"]["EarlyStoppingCallback"] for state in states]
    assert patience[0] == patience[1]
    evaluations = [
        {entry["step"]: (entry["eval_loss"], entry[metric]) for entry in state["log_history"] if metric in entry}
        for state in states
    ]
    assert evaluations[0] == evaluations[1]
