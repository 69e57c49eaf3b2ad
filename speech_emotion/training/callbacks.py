"""What happens beside a training: a table for whoever watches, which epochs are told, a stop, the best weights."""

import math
import operator
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any, ClassVar

import torch
import torch.distributed
from torch import nn
from tqdm.auto import tqdm
from transformers import ProgressCallback, TrainerCallback
from transformers import TrainerControl as Control
from transformers import TrainerState as State
from transformers import TrainingArguments as Args

from .task import TableColumn

Logs = dict[str, float] | None

EXIT_CODE = 128 + signal.SIGTERM  # 143, what a shell reports for a process that SIGTERM ended


class EpochTableCallback(TrainerCallback):
    """Prints a line per evaluation on validation speakers, or, without such columns, per epoch.

    >>> EpochTableCallback([TableColumn("epoch", "epoch", "{:6.1f}"), TableColumn("loss", "loss", "{:6.3f}")]).header()
    ' epoch    loss'
    """

    def __init__(self, columns: Sequence[TableColumn]) -> None:
        self.columns = tuple(columns)
        self._loss: float | None = None
        self._started = False

    def header(self) -> str:
        """Return the titles of the columns."""
        return "  ".join(title.rjust(len(form.format(0))) for _, title, form in self.columns)

    def on_log(self, args: Args, state: State, control: Control, logs: Logs = None, **kwargs: Any) -> None:
        """Print a line when what the last column tells is logged."""
        logs = logs or {}
        self._loss = logs.get("loss", self._loss)
        if not state.is_world_process_zero or self.columns[-1].key not in logs:
            return
        values = {**logs, "loss": self._loss}
        line = "  ".join(
            form.format(values[key]) if values.get(key) is not None else "-".rjust(len(form.format(0)))
            for key, _, form in self.columns
        )
        with tqdm.external_write_mode():  # a bar makes room
            print(line if self._started else f"{self.header()}\n{line}", flush=True)
        self._started = True


class BarCallback(ProgressCallback):
    """Moves a bar while training; evaluations take a moment, and the table tells what is logged."""

    def on_prediction_step(self, args: Args, state: State, control: Control, **kwargs: Any) -> None:
        """Show no bar."""

    def on_log(self, args: Args, state: State, control: Control, logs: Logs = None, **kwargs: Any) -> None:
        """Print nothing."""


class StopSignalCallback(TrainerCallback):
    """Turns SIGTERM into one save without an evaluation, and a stop from which a resumption goes on exactly."""

    def __init__(self) -> None:
        self.stopped = False
        self._asked = False
        self._previous: Any = None
        self._limit: int | None = None

    def _raise_flag(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        signal.signal(signal.SIGTERM, self._previous)

    def _agreed(self, args: Args) -> bool:
        if args.world_size > 1:
            flag = torch.tensor(int(self._asked), device=args.device)
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
            self._asked = bool(flag.item())
        return self._asked

    def on_train_begin(self, args: Args, state: State, control: Control, **kwargs: Any) -> None:
        """Listen, if this is the main thread: Python delivers signals to no other."""
        self.stopped = self._asked = False
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._raise_flag)

    def on_step_end(self, args: Args, state: State, control: Control, **kwargs: Any) -> None:
        """Save and stop after this step, without an evaluation."""
        if self._agreed(args):
            self.stopped = True
            control.should_save, control.should_evaluate, control.should_training_stop = True, False, True

    def on_epoch_end(self, args: Args, state: State, control: Control, **kwargs: Any) -> None:
        """Keep the epoch's end, which Trainer passes through after a stop too, from evaluating and saving again."""
        if self.stopped:
            control.should_save = control.should_evaluate = control.should_log = False

    def on_save(self, args: Args, state: State, control: Control, **kwargs: Any) -> None:
        """Stop after a save that came between the signal and the next step, and keep the checkpoint."""
        if not self.stopped and self._agreed(args):
            self.stopped = control.should_training_stop = True
        # With a limit of 1 Trainer ends by removing all checkpoints but the best.
        if self.stopped and args.save_total_limit is not None:
            self._limit, args.save_total_limit = args.save_total_limit, None

    def on_train_end(self, args: Args, state: State, control: Control, **kwargs: Any) -> None:
        """Listen no more."""
        if self._limit is not None:
            args.save_total_limit, self._limit = self._limit, None
        self.leave()

    def leave(self) -> None:
        """Give SIGTERM back to who had it, also after an error: a process that is forked later could not be ended."""
        if self._previous is not None and not self._asked:
            signal.signal(signal.SIGTERM, self._previous)
        self._previous = None


class FewEpochs(TrainerCallback):
    """Evaluates, saves and prints about twenty of a training's epochs, evenly, and the last; not each of hundreds."""

    most: ClassVar[int] = 20

    def counts(self, state: State) -> bool:
        """Tell whether an epoch that has just ended is one of them."""
        every = math.ceil(state.num_train_epochs / self.most)
        return round(state.epoch) % every == 0 or state.global_step >= state.max_steps

    def on_epoch_end(self, args: Args, state: State, control: Control, **kwargs: Any) -> None:
        """Leave out what Trainer does after every epoch."""
        if not control.should_training_stop and not self.counts(state):
            control.should_evaluate = control.should_save = control.should_log = False


class BestWeights(TrainerCallback):
    """Keeps the weights of the epoch with the best validation metric, and stops when it gets no better."""

    def __init__(self, model: nn.Module, metric: str, patience: int = 0, greater_is_better: bool = True) -> None:
        self.model, self.metric, self.patience = model, f"eval_{metric.removeprefix('eval_')}", patience
        self.better = operator.gt if greater_is_better else operator.lt
        self.best: float | None = None
        self.best_epoch = self.epochs = 0
        self._weights: dict[str, torch.Tensor] = {}

    def on_evaluate(self, args: Args, state: State, control: Control, metrics: Logs = None, **kwargs: Any) -> None:
        """Keep the weights if they are better, else count."""
        value = (metrics or {})[self.metric]
        self.epochs += 1
        if self.best is None or self.better(value, self.best):
            self.best, self.best_epoch = value, self.epochs
            self._weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        elif self.patience and self.epochs - self.best_epoch >= self.patience:
            control.should_training_stop = True

    def restore(self) -> None:
        """Give the model the best epoch's weights."""
        if self.best is None:
            raise RuntimeError("No epoch was evaluated, so none is the best; train for at least one epoch.")
        self.model.load_state_dict(self._weights)
