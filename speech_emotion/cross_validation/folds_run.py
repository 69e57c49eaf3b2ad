"""Systems × corpora × seeds × folds: computed once each, in any order, by any number of processes."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import datasets
import torch
from accelerate.utils import broadcast_object_list

from speech_emotion.progress import quiet_unless_terminal
from speech_emotion.training.launch import check_launch

from .fold_plan import Plan
from .fold_progress import FoldProgress
from .fold_runner import FoldRunner
from .neural_arguments import training_arguments
from .score_store import FoldKey
from .worker_pool import run_here, run_workers


class Stopped(KeyboardInterrupt):
    """SIGTERM or SIGINT asked the command to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


@dataclass(frozen=True)
class CrossValidation:
    """What a cross-validation left."""

    keys: list[FoldKey]  # all folds of the plan
    computed: list[FoldKey]  # those computed by this call
    first: bool = True  # whether this is the process that writes, among those launched together


def cross_validate(plan: Plan, workers: int = 1, threads: int | None = None) -> CrossValidation:
    """Fit every system on every fold of every condition with every seed, but for those that are finished."""
    launch = training_arguments(plan.overrides, device=plan.device)
    check_launch(launch)
    if workers < 1:
        raise ValueError(f"--workers must be at least 1, not {workers}.")
    if launch.world_size > 1 and workers > 1:
        raise RuntimeError(
            f"{launch.world_size} processes were launched to train each fold together, and each would start "
            f"{workers} workers. Leave --workers at 1, or start python cross_validate.py without a launcher."
        )
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes of the launcher on this machine
    threads = threads or max(1, (os.cpu_count() or 1) // (workers * local))
    first = launch.process_index == 0
    quiet_unless_terminal()
    if not first:
        datasets.disable_progress_bars()
    with _signals():
        runner = FoldRunner(plan, quiet=not first)
        with launch.main_process_first(local=False, desc="corpora and features"):
            keys = runner.keys()
            # Refuses results of other settings before anything is computed.
            pending = [key for key in keys if plan.overwrite or runner.finished(key) is None]
            for condition, system in dict.fromkeys((key.condition, key.system) for key in pending):
                runner.features(condition, system)
                runner.recordings(condition)  # the workers then find them hashed
        # Another command that finished a fold meanwhile would leave the processes with different lists, and each would
        # wait for the others in a fold of its own.
        (pending,) = broadcast_object_list([pending])
        if first and len(pending) < len(keys):
            print(f"{len(keys) - len(pending)} of {len(keys)} folds are finished in {plan.results}.", flush=True)
        with FoldProgress(len(pending), quiet=not first) as progress:
            if workers > 1 and len(pending) > 1:
                del runner  # its features are mapped by the workers anew
                run_workers(plan, pending, workers, threads, progress)
            elif pending:
                torch.set_num_threads(threads)
                run_here(runner, pending, progress)
    return CrossValidation(keys, pending, first)


@contextmanager
def _signals() -> Iterator[None]:
    """Turn SIGTERM and SIGINT into `Stopped`, so that workers are ended and temporary folders removed."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():  # Python delivers signals to no other
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


__all__ = ["CrossValidation", "Stopped", "cross_validate"]
