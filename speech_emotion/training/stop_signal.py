"""SIGTERM: one checkpoint, no evaluation, and a stop from which `--resume_from_checkpoint` goes on exactly."""

import signal
import threading
from types import FrameType
from typing import Any

import torch
import torch.distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

EXIT_CODE = 128 + signal.SIGTERM  # 143, what a shell reports for a process that SIGTERM ended


class StopSignalCallback(TrainerCallback):
    """Turns SIGTERM into one save and a stop.

    >>> StopSignalCallback().stopped
    False
    """

    def __init__(self) -> None:
        self.stopped = False
        self._asked = False
        self._previous: Any = None
        self._limit: int | None = None

    def _raise_flag(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        signal.signal(signal.SIGTERM, self._previous)

    def _agreed(self, args: TrainingArguments) -> bool:
        if args.world_size > 1:
            flag = torch.tensor(int(self._asked), device=args.device)
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
            self._asked = bool(flag.item())
        return self._asked

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Listen, if this is the main thread: Python delivers signals to no other."""
        self.stopped = self._asked = False
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._raise_flag)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save and stop after this step, without an evaluation."""
        if self._agreed(args):
            self.stopped = True
            control.should_save, control.should_evaluate, control.should_training_stop = True, False, True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Keep the epoch's end, which Trainer passes through after a stop too, from evaluating and saving again."""
        if self.stopped:
            control.should_save = control.should_evaluate = control.should_log = False

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop after a save that came between the signal and the next step, and keep the checkpoint."""
        if not self.stopped and self._agreed(args):
            self.stopped = control.should_training_stop = True
        if self.stopped:  # with a limit of 1 Trainer ends by removing all checkpoints but the best
            self._limit, args.save_total_limit = args.save_total_limit, None

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Listen no more."""
        if self.stopped:
            args.save_total_limit = self._limit
        if self._previous is not None and not self._asked:
            signal.signal(signal.SIGTERM, self._previous)
        self._previous = None
