"""How long the features of the compared systems take, which the hours in the tables leave out."""

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from feature_extraction import SERFeatureExtractor
from speech_emotion.cross_validation.registry import get_system

from .bench_mel_deltas import load_clips

CLIPS, BATCH = 32, 16
REPETITIONS = 3
CORPORA = {"EmoDB": 535, "RAVDESS": 1440, "ASED": 2474}
SYSTEMS = {
    "Model-1: log-mel, Δ, ΔΔ": "model-1",
    "Model-2: the small DeepSpeech": "model-2",
    "Model-3: both": "model-3",
    "openSMILE ComParE 2016": "opensmile-compare-svm",
    "openSMILE eGeMAPS": "opensmile-egemaps-svm",
}

Extract = Callable[[Sequence[np.ndarray]], object]


def seconds_per_clip(extract: Extract, clips: Sequence[np.ndarray]) -> float:
    """Seconds that a clip takes, in batches as the feature cache makes them."""
    start = time.perf_counter()
    for first in range(0, len(clips), BATCH):
        extract(clips[first : first + BATCH])
    return (time.perf_counter() - start) / len(clips)


def main() -> str:
    """Measure, and return the section of RESULTS.md; openSMILE's rows are missing where it is not installed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    clips, source = load_clips()
    clips = clips[:: len(clips) // CLIPS][:CLIPS]
    extractors: dict[str, SERFeatureExtractor] = {}
    for title, name in SYSTEMS.items():
        try:
            extractors[title] = get_system(name).make_extractor()
            extractors[title].extract(clips[:2])
        except ModuleNotFoundError as error:
            extractors.pop(title, None)
            print(f"{title} is left out: {error}")
    times: dict[str, list[float]] = {title: [] for title in extractors}
    for _ in range(REPETITIONS):
        for title, extractor in extractors.items():
            times[title].append(seconds_per_clip(extractor.extract, clips))
    torch.set_num_threads(before)
    rows = []
    for title, measured in times.items():
        clip = statistics.median(measured)
        rows.append(
            f"| {title} | {1000 * clip:.1f} | {' | '.join(f'{clip * n / 60:.1f}' for n in CORPORA.values())} |"
        )
    seconds = sum(map(len, clips)) / CLIPS / 16_000
    return (
        "## Features of whole corpora\n\n"
        f"{CLIPS} {source} clips of {seconds:.1f} s on average in batches of {BATCH}, one thread; medians of "
        f"{REPETITIONS} rounds in which all take turns. Minutes: a corpus's number of clips times that, once for all "
        "its folds, seeds and systems with the same features; the hours in the tables of `results/` leave this out. "
        "Repeat with `python -m benchmarks.bench_corpus_features`.\n\n"
        f"| features | ms a clip | {' | '.join(f'{name}, min' for name in CORPORA)} |\n"
        "| --- | --- | --- | --- | --- |\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    print(main())
