"""DeepSpeech at its real size against the original runtimes, and against the machine's own matrix products.

The model has the released architecture and random weights; the same ones are written as .pb for libdeepspeech and as
int8 .tflite for libstt. Every contender has a process of its own, bound to as many cores as it may use, and all take
turns within each round, so that whatever else the machine does meets all of them. The runtimes' wheels are fetched
into a temporary folder and their hashes checked; where one cannot be had, its rows say so.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.deepspeech_model_files import frozen_graph, lite_model, random_weights
from benchmarks.deepspeech_native import RUNTIMES, RuntimeMissing
from benchmarks.measuring import ROOT, audio_seconds, load_clips, ratios, section, spread, table, take_turns
from speech_emotion.evaluation.error_rates import edit_distance

CLIPS = 8
BATCH = 8
HIDDEN = 2048
ROUNDS = 3
FRAMES_PER_SECOND = 50
LAYER, TEXT = "layer 5", "transcription"
OURS = [(LAYER, 1), (LAYER, BATCH), (TEXT, 1), (TEXT, BATCH)]

Measured = dict[tuple[str, str, int], list[dict[str, object]]]


class Worker:
    """A contender's process, for clips and models in a folder; the libraries are those of an original runtime."""

    def __init__(self, name: str, folder: Path, threads: int, libraries: Sequence[Path] = ()) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-m", "benchmarks.deepspeech_worker", name, str(folder), str(threads)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, *map(str, libraries)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._answer()

    def ask(self, task: str, batch: int) -> dict[str, object]:
        self.process.stdin.write(json.dumps([task, batch]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _answer(self) -> dict[str, object]:
        for line in self.process.stdout:
            if line.startswith(("{", '"')):  # a runtime may print what it likes
                return json.loads(line)
        said = self.log.read_text(errors="replace").strip().splitlines()
        raise RuntimeError(f"The process of {self.name!r} ended: {said[-1] if said else 'without a word'}")


def prepare(folder: Path) -> tuple[float, str]:
    """Write clips and models; return the clips' seconds and what they are."""
    clips, kind = load_clips()
    clips = [np.clip(np.round(clip * 32768), -32768, 32767).astype(np.int16) for clip in clips[:CLIPS]]
    np.savez(folder / "clips.npz", **{f"clip_{index}": clip for index, clip in enumerate(clips)})
    weights = random_weights(HIDDEN)
    (folder / "model.pb").write_bytes(frozen_graph(weights))
    (folder / "model.tflite").write_bytes(lite_model(weights))
    return audio_seconds(clips), kind


def fetch(folder: Path) -> tuple[dict[str, list[Path]], dict[str, str]]:
    """Libraries of the runtimes that can be had, and for the others why not."""
    libraries, missing = {}, {}
    for name, runtime in RUNTIMES.items():
        try:
            libraries[name] = runtime.fetch(folder)
        except RuntimeMissing as error:
            missing[name] = str(error)
    return libraries, missing


def measure(folder: Path, threads: int, libraries: dict[str, list[Path]], missing: dict[str, str]) -> Measured:
    """Let the contenders take turns; a runtime that does not start is named in `missing`."""
    workers = {"ours": Worker("ours", folder, threads)}
    for name, paths in libraries.items():
        if name not in missing:
            try:
                workers[name] = Worker(name, folder, threads, paths)
            except RuntimeError as error:
                missing[name] = str(error)
    turns = [("ours", task, batch) for task, batch in OURS]
    turns += [(name, TEXT, 1) for name in workers if name != "ours"]
    turns += [("ours", "peak", batch) for batch in (1, BATCH)]
    try:
        return take_turns({turn: partial(workers[turn[0]].ask, *turn[1:]) for turn in turns}, ROUNDS)
    finally:
        for worker in workers.values():
            worker.close()


def column(measured: Measured, turn: tuple[str, str, int], key: str = "seconds") -> list[float]:
    return [float(answer[key]) for answer in measured[turn]]


def speed_rows(measured: Measured, threads: int, audio: float, missing: dict[str, str]) -> list[list[object]]:
    """How long each contender takes, and how many times faster than the original runtimes ours is."""
    natives = {name: (name, TEXT, 1) for name in RUNTIMES}
    rows = []
    for task, batch in OURS:
        turn = ("ours", task, batch)
        own = column(measured, turn)
        faster = [
            spread(ratios(column(measured, native), own), 2) if native in measured else "-"
            for native in natives.values()
        ]
        label = f"ours, {task}, " + ("clip by clip" if batch == 1 else f"batches of {batch}")
        rows.append([threads, label, *cost(measured, turn, audio), *faster])
    for name, turn in natives.items():
        costs = cost(measured, turn, audio) if turn in measured else [f"missing: {missing[name]}", ""]
        rows.append([threads, RUNTIMES[name].title, *costs, "", ""])
    return rows


def cost(measured: Measured, turn: tuple[str, str, int], audio: float) -> list[str]:
    clock = [seconds / audio for seconds in column(measured, turn)]
    return [spread(clock, 3), f"{statistics.median(column(measured, turn, 'cpu')) / audio:.3f}"]


def part_rows(measured: Measured, threads: int, audio: float) -> list[list[object]]:
    """Where the time goes, and how near the dense layers come to bare matrix products."""
    rows = []
    for batch in (1, BATCH):
        answers, peaks = measured["ours", LAYER, batch], measured["ours", "peak", batch]
        cells: list[object] = [threads, batch]
        for part in answers[0]["parts"]:
            seconds = [answer["parts"][part] / audio for answer in answers]
            shares = [answer["parts"][part] / sum(answer["parts"].values()) for answer in answers]
            cells.append(f"{1000 * statistics.median(seconds):.1f} ms, {statistics.median(shares):.0%}")
        rates = [answer["dense"] / (answer["parts"]["layers 1-3"] + answer["parts"]["layer 5"]) for answer in answers]
        cells.append(spread(rates, 0))
        for kind in ("same", "square"):
            peak = [float(answer[kind]) for answer in peaks]
            share = statistics.median(ratios(rates, peak))
            cells.append(f"{share:.0%} of {statistics.median(peak):.0f}")
        steps = column(measured, ("ours", "peak", batch), "step")
        rows.append([*cells, f"{1000 * FRAMES_PER_SECOND * statistics.median(steps):.0f} ms"])
    return rows


def agreement(measured: Measured) -> list[str]:
    """Whether the contenders compute the same: how much of our transcripts is in the runtimes'."""
    ours = measured["ours", TEXT, 1][-1]["texts"]
    letters, found = sum(map(len, ours)), []
    for name, runtime in RUNTIMES.items():
        if (name, TEXT, 1) in measured:
            theirs = measured[name, TEXT, 1][-1]["texts"]
            errors = sum(edit_distance(one, other) for one, other in zip(ours, theirs, strict=True))
            found.append(f"{runtime.title} {1 - errors / letters:.0%} of {letters}")
    return found


def main() -> str:
    # The temporary folder holds 300 MB and must go whatever ends the run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    speeds, parts, agreed = [], [], []
    with tempfile.TemporaryDirectory(prefix="bench-deepspeech-") as name:
        folder = Path(name)
        audio, kind = prepare(folder)
        libraries, missing = fetch(folder)
        for threads in (1, 2):
            if threads > (os.cpu_count() or 1):
                continue
            measured = measure(folder, threads, libraries, missing)
            speeds += speed_rows(measured, threads, audio, missing)
            parts += part_rows(measured, threads, audio)
            agreed = agreed or agreement(measured)
    same = f" Letters on which the transcripts agree with ours: {', '.join(agreed)}." if agreed else ""
    text = (
        f"{HIDDEN} units, random weights, release 0.9's features; {CLIPS} {kind} clips of {audio / CLIPS:.1f} s on "
        f"average. Medians of {ROUNDS} rounds in which all take turns, ratios taken within each round (least to "
        "greatest in brackets). Every process is bound to as many cores as it may use threads; libstt starts four "
        "threads whatever it is given. The original runtimes have no batches and give no layer but the last: what is "
        "set against all of ours is their transcription, one clip after another, with a beam of one and no scorer."
        f"{same}"
    )
    columns = ["threads", "", "seconds per second of audio", "processor seconds"]
    speed = table([*columns, *(f"times {runtime.title}" for runtime in RUNTIMES.values())], speeds)
    where = (
        "Where the time of layer-5 extraction goes, per second of audio, and the rate of the dense layers (1, 2, 3 "
        "and 5, with their clipping) as a share of what `torch.mm` alone reaches in the same round, with as many rows "
        f"and {HIDDEN} × {HIDDEN} weights, and with a square of 3072. Last, what the products with the LSTM's "
        "recurrent weights take alone, by `torch.mm`, one per frame: a single clip waits there for its weights "
        f"({16 * HIDDEN**2 / 1e6:.0f} MB per frame) to come from memory."
    )
    columns = ["threads", "batch", "front end", "layers 1-3", "LSTM", "layer 5", "dense, Gflop/s", "same size"]
    times = table([*columns, "square", "recurrent products"], parts)
    return section("DeepSpeech against the original runtimes", text, speed, where, times)
