"""Systems × corpora × seeds × folds: computed once each, in any order, by any number of processes."""

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from types import FrameType

import torch
from tqdm import tqdm

from speech_emotion.terminal import is_terminal, plain_messages, quiet_unless_terminal, say
from speech_emotion.training.launch import check_launch

from .fold_runner import FoldRunner
from .neural_system import training_arguments
from .plan import FoldReport, Plan, check_heeded
from .score_store import FoldKey, FoldScores

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SECONDS_TO_STOP = 30.0
SECONDS_BETWEEN_LOOKS = 0.5  # at folds that another command is computing
TERMINATED = 128 + signal.SIGTERM

OnReport = Callable[[FoldReport], None]


class Stopped(KeyboardInterrupt):
    """SIGTERM or SIGINT asked the command to stop."""

    def __init__(self, number: int) -> None:
        name = signal.Signals(number).name
        super().__init__(f"by {name}; the same command goes on with the folds that are not finished")
        self.exit_code = 128 + number


class FoldError(RuntimeError):
    """A fold that failed; `trace` says where, if it did so in Python."""

    def __init__(self, key: FoldKey, reason: str, trace: str = "") -> None:
        super().__init__(key, reason, trace)  # as it is made again when a worker sends it
        self.trace = trace

    def __str__(self) -> str:
        key, reason, _ = self.args
        return f"{key}: {reason}"


@contextmanager
def fold_progress(total: int) -> Iterator[OnReport]:
    """Tell of every finished fold, by a bar at a terminal and else in a line, with about how long the others take."""
    start, done = time.monotonic(), 0
    with tqdm(total=total, unit="fold", smoothing=0.1, disable=not is_terminal()) as bar:

        def tell(report: FoldReport) -> None:
            nonlocal done
            done += 1
            what = f"{report.key}: computed by another command"
            if report.seconds is not None:
                what = f"{report.key}: validation UA {100 * report.validation_ua:.1f} %, {report.seconds:.0f} s"
            if not bar.disable:
                bar.set_postfix_str(what)
                bar.update()
            else:
                left = total - done
                seconds = (time.monotonic() - start) / done * left
                rest = f"{left} of {total} left, about {duration(seconds)}" if left else f"all {total} done"
                say(f"{what}; {rest}")

        yield tell


def duration(seconds: float) -> str:
    """Write a time in the unit that suits it.

    >>> duration(42.3), duration(2300.0), duration(9000.0)
    ('42 s', '38 min', '2.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def cross_validate(plan: Plan, workers: int = 1, threads: int | None = None) -> list[FoldScores]:
    """Fit every system on every fold of every condition with every seed, but for those that are finished."""
    if (launched := os.environ.get("WORLD_SIZE", "1")) != "1":
        raise RuntimeError(
            f"A launcher started {launched} processes, and each would compute every fold. Start python "
            "cross_validate.py without one, with --workers; or several such commands, which share the folder."
        )
    check_launch(training_arguments(plan.overrides, device=plan.device))
    if workers < 1:
        raise ValueError(f"--workers must be at least 1, not {workers}.")
    threads = threads or max(1, (os.cpu_count() or 1) // workers)
    quiet_unless_terminal()
    with _signals():
        runner = FoldRunner(plan)
        check_heeded(plan, {name: runner.system(name) for name in plan.systems})
        keys = runner.keys()
        # Refuses results of other settings before anything is computed.
        finished = {} if plan.overwrite else {key: scores for key in keys if (scores := runner.finished(key))}
        pending = [key for key in keys if key not in finished]
        for condition, system in dict.fromkeys((key.condition, key.system) for key in pending):
            runner.features(condition, system)
            _ = runner.data(condition).recordings  # the workers then find them hashed
        if finished:
            say(f"{len(finished)} of {len(keys)} folds are finished in {plan.where}.")
        try:
            with fold_progress(len(pending)) as progress:
                if workers > 1 and len(pending) > 1:
                    del runner  # its features are mapped by the workers anew
                    run_workers(plan, pending, workers, threads, progress)
                elif pending:
                    torch.set_num_threads(threads)
                    run_here(runner, pending, progress)
        except FoldError as error:
            say(error.trace, error=True)  # whatever ended a fold, it may be a mistake of ours
            raise
    return [finished.get(key) or FoldScores.load(key.path(plan.results)) for key in keys]


def run_here(runner: FoldRunner, keys: Sequence[FoldKey], on_report: OnReport) -> None:
    """Compute folds in this process."""
    pending = deque(keys)
    while pending:
        report = _compute(runner, pending.popleft())
        if report.busy:
            pending.append(report.key)
        else:
            on_report(report)


def run_workers(plan: Plan, keys: Sequence[FoldKey], workers: int, threads: int, on_report: OnReport) -> None:
    """Compute folds in several processes; after one that failed, only those that are being computed are finished."""
    pending = deque(keys)
    at_work: dict[Connection, tuple[Worker, FoldKey]] = {}
    failure: FoldError | None = None
    with _team(plan, min(workers, len(keys)), threads) as team:
        resting = list(team)
        while at_work or (pending and failure is None):
            while pending and resting and failure is None:
                worker, key = resting.pop(), pending.popleft()
                worker.begin(key)
                at_work[worker.connection] = worker, key
            for connection in wait(list(at_work)):
                worker, key = at_work.pop(connection)
                try:
                    report = worker.answer(key)
                except FoldError as error:
                    failure = failure or error
                    continue
                resting.append(worker)
                if report.busy:
                    pending.append(key)
                else:
                    on_report(report)
    if failure is not None:
        raise failure


class Worker:
    """A process that computes one fold after another.

    The standard library's pool does not say which of its processes died, on which fold, or of what; and what ends a
    process just when it has answered, the pool's own code takes for another answer.
    """

    def __init__(self, plan: Plan, threads: int) -> None:
        spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self.connection, its_end = spawn.Pipe()
        self.process = spawn.Process(target=_work, args=(its_end, plan, threads))
        self.process.start()
        its_end.close()  # here: when the process ends, so does the connection

    def begin(self, key: FoldKey) -> None:
        """Have a fold computed; a process that has died meanwhile is found out by `answer`."""
        with suppress(BrokenPipeError):
            self.connection.send(key)

    def answer(self, key: FoldKey) -> FoldReport:
        """Return what came of a fold."""
        try:
            answer = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            raise FoldError(
                key,
                f"the worker died (exit code {self.process.exitcode}), perhaps of a lack of memory. The same command "
                "goes on; take fewer --workers.",
            ) from None
        if isinstance(answer, FoldError):
            raise answer
        return answer


@contextmanager
def _team(plan: Plan, workers: int, threads: int) -> Iterator[list[Worker]]:
    team: list[Worker] = []
    # Temporary files of workers lie in a folder of this process: a worker may be ended before it has removed its own.
    with tempfile.TemporaryDirectory(prefix="ser-fold-") as folder:
        try:
            with _environment(dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"TMPDIR": folder}):
                for _ in range(workers):
                    team.append(Worker(plan, threads))
            yield team
        finally:  # whether all is done, a fold failed or the command is to stop
            for worker in team:
                worker.process.terminate()
            until = time.monotonic() + SECONDS_TO_STOP
            for worker in team:
                worker.process.join(max(0.0, until - time.monotonic()))
                worker.process.kill()
                worker.process.join()
                worker.connection.close()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
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


def _work(connection: Connection, plan: Plan, threads: int) -> None:
    """Compute the folds that are asked for, in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent says what follows
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that no file stays half-written
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    plain_messages()
    quiet_unless_terminal()
    runner = FoldRunner(plan, quiet=True)
    while True:
        key = connection.recv()
        try:
            answer: FoldReport | FoldError = _compute(runner, key)
        except FoldError as error:
            answer = error
        connection.send(answer)


def _end_with_parent() -> None:
    """End this process when its parent ends without a word, as by SIGKILL."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _compute(runner: FoldRunner, key: FoldKey) -> FoldReport:
    try:
        report = runner.run(key)
    except Exception as error:
        raise FoldError(key, f"{type(error).__name__}: {error}", traceback.format_exc()) from error
    if report.busy:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return report


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
