"""How long the features of the compared systems take, which the hours in the tables leave out."""

import statistics
from functools import partial

import numpy as np

from benchmarks.measuring import audio_seconds, load_clips, seconds_of, section, table, take_turns, threads
from feature_extraction import SERFeatureExtractor
from speech_emotion.cross_validation.systems import get_system

CLIPS, BATCH = 32, 16
ROUNDS = 3
CORPORA = {"EmoDB": 535, "RAVDESS": 1440, "ASED": 2474}
SYSTEMS = {
    "Model-1: log-mel, Δ, ΔΔ": "model-1",
    "Model-2: the small DeepSpeech": "model-2",
    "Model-3: both": "model-3",
    "openSMILE ComParE 2016": "opensmile-compare-svm",
    "openSMILE eGeMAPS": "opensmile-egemaps-svm",
}


def extract(extractor: SERFeatureExtractor, clips: list[np.ndarray]) -> None:
    """Make the features of all clips, in batches as the feature cache does."""
    for first in range(0, len(clips), BATCH):
        extractor.extract(clips[first : first + BATCH])


def main() -> str:
    """Return the section of RESULTS.md; openSMILE's rows are missing where it is not installed."""
    clips, source = load_clips(CLIPS)
    contenders = {}
    for title, name in SYSTEMS.items():
        try:
            extractor = get_system(name).make_extractor()
            extractor.extract(clips[:2])
        except ModuleNotFoundError as error:
            print(f"{title} is left out: {error}")
        else:
            contenders[title] = partial(seconds_of, partial(extract, extractor, clips))
    with threads(1):
        times = take_turns(contenders, ROUNDS)
    rows = []
    for title, measured in times.items():
        clip = statistics.median(measured) / CLIPS
        rows.append([title, f"{1000 * clip:.1f}", *(f"{clip * number / 60:.1f}" for number in CORPORA.values())])
    text = (
        f"{CLIPS} {source} clips of {audio_seconds(clips) / CLIPS:.1f} s on average in batches of {BATCH}, one "
        f"thread; medians of {ROUNDS} rounds in which all take turns. Minutes: a corpus's number of clips times that, "
        "once for all its folds, seeds and systems with the same features; the hours in the tables of `results/` "
        "leave this out."
    )
    columns = ["features", "ms a clip", *(f"{name}, min" for name in CORPORA)]
    return section("Features of whole corpora", text, table(columns, rows))
