"""Folds computed side by side, each by one of several processes."""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

import torch

from speech_emotion.progress import plain_warnings, quiet_unless_terminal

from .fold_plan import FoldReport, Plan
from .fold_runner import FoldRunner
from .score_store import FoldKey

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SECONDS_TO_STOP = 30.0
SECONDS_BETWEEN_LOOKS = 0.5  # at folds that another command is computing
DIED = "the worker died (exit code {code}); of a lack of memory, perhaps: take fewer --workers."


class FoldError(RuntimeError):
    """A fold that failed."""

    def __init__(self, key: FoldKey, message: str, trace: str = "") -> None:
        super().__init__(f"{key}: {message}")
        self.trace = trace


class Failure(NamedTuple):
    """What a worker tells of a fold that failed."""

    key: FoldKey
    message: str
    trace: str = ""


class Worker:
    """A process that computes one fold after another."""

    def __init__(self, plan: Plan, threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, plan, threads), daemon=True)
        with _environment(dict.fromkeys(THREAD_VARIABLES, str(threads))):
            self.process.start()
        theirs.close()
        self.key: FoldKey | None = None

    def give(self, key: FoldKey) -> None:
        """Let it compute a fold."""
        self.key = key
        with suppress(ConnectionError):  # of a worker that died meanwhile `answer` tells
            self.connection.send(key)

    def answer(self) -> FoldReport | Failure:
        """Return what came of its fold."""
        key, self.key = self.key, None
        try:
            return self.connection.recv()
        except (EOFError, ConnectionError):  # reset, where it died before it had read what it was given
            self.process.join()
            return Failure(key, DIED.format(code=self.process.exitcode))


def run_here(runner: FoldRunner, keys: Sequence[FoldKey], on_report: Callable[[FoldReport], None]) -> None:
    """Compute folds in this process."""
    pending = deque(keys)
    while pending:
        answer = _compute(runner, pending.popleft())
        if isinstance(answer, Failure):
            raise FoldError(*answer)
        if answer.busy:
            pending.append(answer.key)
        else:
            on_report(answer)


def run_workers(
    plan: Plan, keys: Sequence[FoldKey], workers: int, threads: int, on_report: Callable[[FoldReport], None]
) -> None:
    """Compute folds in several processes."""
    pending: deque[FoldKey] = deque(keys)
    failures: list[Failure] = []
    with _team(plan, min(workers, len(keys)), threads) as team:
        for worker in team:
            worker.give(pending.popleft())
        while at_work := {worker.connection: worker for worker in team if worker.key is not None}:
            for connection in wait(list(at_work)):
                worker = at_work[connection]
                answer = worker.answer()
                if isinstance(answer, Failure):
                    failures.append(answer)
                elif answer.busy:
                    pending.append(answer.key)
                else:
                    on_report(answer)
                if pending and not failures:
                    worker.give(pending.popleft())
            if not failures:  # a fold that another command gave up may find all others at rest
                for worker in team:
                    if pending and worker.key is None:
                        worker.give(pending.popleft())
    if failures:
        raise FoldError(*failures[0])


@contextmanager
def _team(plan: Plan, workers: int, threads: int) -> Iterator[list[Worker]]:
    team: list[Worker] = []
    try:
        for _ in range(workers):
            team.append(Worker(plan, threads))
        yield team
    finally:  # whether all is done, a fold failed or the command is to stop
        for worker in team:
            worker.process.terminate()
        until = time.monotonic() + SECONDS_TO_STOP
        for worker in team:
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.connection.close()


def _work(connection: Connection, plan: Plan, threads: int) -> None:
    """What runs in a worker, until it is terminated."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent says what follows
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that temporary folders are removed
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    plain_warnings()
    quiet_unless_terminal()
    runner = FoldRunner(plan, quiet=True)
    while True:
        connection.send(_compute(runner, connection.recv()))


def _end_with_parent() -> None:
    """End this process when its parent ends without a word, as by SIGKILL."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _compute(runner: FoldRunner, key: FoldKey) -> FoldReport | Failure:
    try:
        report = runner.run(key, runner.plan.overwrite)
    except Exception as error:
        return Failure(key, f"{type(error).__name__}: {error}", traceback.format_exc())
    if report.busy:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return report


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables that a new process is to find; its libraries read them when they are loaded."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


__all__ = ["FoldError", "run_here", "run_workers"]
