"""Throughput and memory of log-mel + delta + delta-delta against librosa, on one thread.

Speed: one child process holds all contenders and lets them take turns over the same clips. Memory: a child process for
each contender, whose peak is taken less what its imports need.
"""

import re
import resource
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measuring import (
    SAMPLING_RATE,
    audio_seconds,
    in_child,
    load_clips,
    ratios,
    seconds_of,
    section,
    spread,
    table,
    take_turns,
)

BATCH = 16
ROUNDS = 15
NAMES = {
    "librosa": "librosa, clip by clip",
    "single": "`SERFeatureExtractor.extract`, clip by clip",
    "batch": f"`SERFeatureExtractor.extract`, batches of {BATCH}",
}

Extract = Callable[[Sequence[np.ndarray]], object]


def by_librosa(clips: Sequence[np.ndarray]) -> None:
    """Make features one by one: librosa has no batches of unequal length."""
    import librosa

    for clip in clips:
        powers = librosa.feature.melspectrogram(
            y=clip, sr=SAMPLING_RATE, n_fft=2048, hop_length=400, win_length=400, n_mels=128
        )
        energies = librosa.power_to_db(powers, ref=1, amin=1e-10, top_db=None)
        deltas = [librosa.feature.delta(energies, width=9, order=order, mode="nearest") for order in (1, 2)]
        np.concatenate([energies, *deltas])


def make(name: str) -> Extract:
    """The contender, which takes any number of clips."""
    if name == "librosa":
        return by_librosa
    import torch

    from feature_extraction import SERFeatureExtractor

    torch.set_num_threads(1)
    extractor, size = SERFeatureExtractor(), BATCH if name == "batch" else 1

    def extract(clips: Sequence[np.ndarray]) -> None:
        for first in range(0, len(clips), size):
            extractor.extract(clips[first : first + size])

    return extract


def measure_speed() -> dict[str, list[float]]:
    clips, _ = load_clips()
    return take_turns({name: partial(seconds_of, partial(make(name), clips)) for name in NAMES}, ROUNDS)


def measure_memory(name: str) -> float:
    """Peak memory in MB beyond imports, clips and a first call."""
    extract, (clips, _) = make(name), load_clips()
    extract([clips[0][:4000]])
    before = peak_megabytes()
    extract(clips)
    return peak_megabytes() - before


def peak_megabytes() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # `ru_maxrss` of Linux begins with what the parent process needed
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> str:
    clips, kind = load_clips()
    times, audio = in_child(measure_speed), audio_seconds(clips)
    rows = []
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        faster = "1" if name == "librosa" else spread(ratios(times["librosa"], seconds), 1)
        speeds = [f"{1000 * middle / len(clips):.2f} ms", f"{len(clips) / middle:.0f}", f"{middle / audio:.1e}"]
        rows.append([NAMES[name], *speeds, faster, f"{in_child(measure_memory, name):.1f} MB"])
    text = (
        f"{len(clips)} {kind} clips, {audio / len(clips):.1f} s each on average, one thread. Medians of {ROUNDS} "
        "rounds in which the three take turns; the ratio is taken within each round (least to greatest in brackets). "
        "Memory is the peak beyond imports, clips and a first call, each in a process of its own."
    )
    columns = ["", "per clip", "clips per second", "real-time factor", "times librosa", "peak memory"]
    return section("Log-mel, delta and delta-delta against librosa", text, table(columns, rows))
