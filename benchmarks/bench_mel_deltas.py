"""Throughput and memory of log-mel + delta + delta-delta against librosa, on one thread.

Speed: one child process holds both contenders and lets them take turns over the same clips, so that whatever else the
machine does meets both. Memory: a child process for each contender, whose peak is taken less what its imports need.
Every child is limited to one thread before it imports anything.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

CLIPS = 64
BATCH = 16
REPETITIONS = 15
SAMPLING_RATE = 16_000
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")}

Extract = Callable[[Sequence[np.ndarray]], object]


def load_clips() -> tuple[list[np.ndarray], str]:
    """Clips (samples,) at 16 kHz, and what they are: RAVDESS where SER_DATA_DIR has it, else synthetic."""
    folder = os.environ.get("SER_DATA_DIR")
    paths = sorted(Path(folder, "ravdess").glob("Actor_*/03-01-*")) if folder else []
    if len(paths) >= CLIPS:
        from feature_extraction import load_audio

        return [load_audio(path) for path in paths[:: len(paths) // CLIPS][:CLIPS]], "RAVDESS"
    rng = np.random.default_rng(0)
    # RAVDESS lasts 3.7 s on average, 2.9 s to 5.3 s
    seconds = np.clip(rng.normal(3.7, 0.34, CLIPS), 2.9, 5.3)
    return [speech_like(rng, int(length * SAMPLING_RATE)) for length in seconds], "synthetic"


def speech_like(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Harmonics of a gliding pitch under a syllable rhythm, on noise: (samples,) float32."""
    seconds = np.arange(samples) / SAMPLING_RATE
    pitch = rng.uniform(90, 250) * (1 + 0.2 * np.sin(2 * np.pi * rng.uniform(0.2, 0.6) * seconds))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLING_RATE
    voice = sum(np.sin(n * phase) / n**1.5 for n in range(1, 25))
    rhythm = np.clip(np.sin(2 * np.pi * rng.uniform(3, 5) * seconds), 0, None)
    return (0.1 * rhythm * voice + 0.002 * rng.standard_normal(samples)).astype(np.float32)


def make_librosa() -> Extract:
    import librosa

    def extract(clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        # One by one: librosa has no batches of unequal length.
        features = []
        for clip in clips:
            powers = librosa.feature.melspectrogram(
                y=clip, sr=SAMPLING_RATE, n_fft=2048, hop_length=400, win_length=400, n_mels=128
            )
            energies = librosa.power_to_db(powers, ref=1, amin=1e-10, top_db=None)
            deltas = [librosa.feature.delta(energies, width=9, order=order, mode="nearest") for order in (1, 2)]
            features.append(np.concatenate([energies, *deltas]))
        return features

    return extract


def make_ours() -> Extract:
    import torch

    from feature_extraction import SERFeatureExtractor

    torch.set_num_threads(1)
    return SERFeatureExtractor().extract


def time_over(extract: Extract, clips: list[np.ndarray], batch: int) -> float:
    """Seconds that all clips take, in batches."""
    start = time.perf_counter()
    for first in range(0, len(clips), batch):
        extract(clips[first : first + batch])
    return time.perf_counter() - start


def measure_speed() -> dict[str, object]:
    clips, kind = load_clips()
    contenders = {"librosa": (make_librosa(), 1), "single": (make_ours(), 1), "batch": (make_ours(), BATCH)}
    for extract, batch in contenders.values():
        time_over(extract, clips[:BATCH], batch)  # compiles, fills caches
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(REPETITIONS):
        for name, (extract, batch) in contenders.items():
            seconds[name].append(time_over(extract, clips, batch))
    return {"kind": kind, "audio": sum(map(len, clips)) / SAMPLING_RATE, "seconds": seconds}


def measure_memory(name: str) -> float:
    """Peak memory in MB beyond imports, clips and a first call."""
    extract, batch = (make_librosa(), 1) if name == "librosa" else (make_ours(), BATCH if name == "batch" else 1)
    clips, _ = load_clips()
    extract([clips[0][:4000]])
    before = peak_megabytes()
    time_over(extract, clips, batch)
    return peak_megabytes() - before


def peak_megabytes() -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def in_child(task: str) -> object:
    root = Path(__file__).parents[1]
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "benchmarks.bench_mel_deltas", "--child", task]
    child = subprocess.run(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(child.stdout.splitlines()[-1])


def main() -> str:
    """Measure, and return the section of RESULTS.md."""
    speed = in_child("speed")
    names = {
        "librosa": "librosa, clip by clip",
        "single": "`SERFeatureExtractor.extract`, clip by clip",
        "batch": f"`SERFeatureExtractor.extract`, batches of {BATCH}",
    }
    rows = []
    for key, label in names.items():
        seconds, reference = speed["seconds"][key], speed["seconds"]["librosa"]
        middle = statistics.median(seconds)
        ratios = sorted(slow / fast for slow, fast in zip(reference, seconds, strict=True))
        spread = f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})" if key != "librosa" else "1"
        rows.append(
            f"| {label} | {1000 * middle / CLIPS:.2f} ms | {CLIPS / middle:.0f} | {middle / speed['audio']:.1e} "
            f"| {spread} | {in_child(key):.1f} MB |"
        )
    return (
        "## Log-mel, delta and delta-delta against librosa\n\n"
        f"{CLIPS} {speed['kind']} clips, {speed['audio'] / CLIPS:.1f} s each on average, one thread. Medians of "
        f"{REPETITIONS} rounds in which the three take turns; the ratio is taken within each round (least to greatest "
        "in brackets). Memory is the peak beyond imports, clips and a first call, each in a process of its own. "
        "Repeat with `python -m benchmarks.bench_mel_deltas`.\n\n"
        "| | per clip | clips per second | real-time factor | times librosa | peak memory |\n"
        "| --- | --- | --- | --- | --- | --- |\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", choices=["speed", "librosa", "single", "batch"], help=argparse.SUPPRESS)
    task = parser.parse_args().child
    if task is None:
        print(main())
    else:
        print(json.dumps(measure_speed() if task == "speed" else measure_memory(task)))
