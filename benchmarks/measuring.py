"""What the measurements share: turns, threads, processes of their own, clips to measure with, and Markdown."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tests.synthetic import speech_like

T = TypeVar("T")
ROOT = Path(__file__).parents[1]
SAMPLING_RATE = 16_000
CLIPS = 64


def take_turns(contenders: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Let the contenders work in turn, so that whatever else the machine does meets all; a first round is not counted.

    >>> take_turns({"one": lambda: 1, "two": lambda: 2}, rounds=3)
    {'one': [1, 1, 1], 'two': [2, 2, 2]}
    """
    found: dict[str, list[T]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, work in contenders.items():
            result = work()
            if turn:
                found[name].append(result)
    return found


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds on the clock."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Compute on so many threads of torch's."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    yield
    torch.set_num_threads(before)


def in_child(function: Callable, *args: Any) -> Any:
    """Call a function of a module here in a process of its own, limited to one thread before it imports anything."""
    module = function.__module__
    code = f"import json, {module} as module; print(json.dumps(module.{function.__name__}(*{args!r})))"
    limits = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")}
    environment = {**os.environ, **limits, "PYTHONPATH": str(ROOT)}
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(child.stdout.splitlines()[-1])


def load_clips(number: int = CLIPS) -> tuple[list[np.ndarray], str]:
    """Clips (samples,) at 16 kHz, and what they are: RAVDESS where SER_DATA_DIR has it, else synthetic."""
    folder = os.environ.get("SER_DATA_DIR")
    paths = sorted(Path(folder, "ravdess").glob("Actor_*/03-01-*")) if folder else []
    if len(paths) >= CLIPS:
        from feature_extraction import load_audio

        clips, kind = [load_audio(path) for path in paths[:: len(paths) // CLIPS][:CLIPS]], "RAVDESS"
    else:
        # RAVDESS lasts 3.7 s on average, 2.9 s to 5.3 s
        seconds, kind = np.random.default_rng(0).normal(3.7, 0.34, CLIPS).clip(2.9, 5.3), "synthetic"
        clips = [speech_like(seconds=length, seed=index) for index, length in enumerate(seconds)]
    return clips[:: CLIPS // number][:number], kind


def audio_seconds(clips: Sequence[np.ndarray]) -> float:
    """How long the clips last together."""
    return sum(map(len, clips)) / SAMPLING_RATE


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Ratios within each round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: Sequence[float], digits: int) -> str:
    """Median, and least to greatest in brackets.

    >>> spread([1.0, 3.0, 2.0], digits=1)
    '2.0 (1.0 to 3.0)'
    """
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table.

    >>> print(table(["", "ms"], [["ours", 3]]))
    |  | ms |
    | --- | --- |
    | ours | 3 |
    """
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def section(title: str, *parts: str) -> str:
    """A section of RESULTS.md."""
    return "\n\n".join([f"## {title}", *parts])
