"""A report's figures and the clips that they are of, read without this library, so that a test can recompute them."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from .simulated_scores import FOLDS, LABELS, all_folds, save_all

SCORES = [f"score_{label}" for label in LABELS]
SEEDS = {"model-1": (0, 1, 2), "model-2": (0, 1, 2), "model-3": (0, 2)}
QUALITY = {"model-1": 0.9, "model-2": 1.6, "model-3": 1.0}


def write_scores(folder: Path) -> Path:
    """Three systems of unlike quality on twelve speakers; one has two of three seeds and a piece of the third."""
    options = {"corpus": "ased", "speakers": 12, "clips": 30}
    entries = [
        entry for name, seeds in SEEDS.items() for entry in all_folds(name, seeds, quality=QUALITY[name], **options)
    ]
    entries += all_folds("model-3", (1,), quality=9.0, **options)[:2]  # must not count
    return save_all(entries, folder)


def read_figures(path: Path) -> dict[tuple[str, str, str], str]:
    """The values of a report's CSV file by table, row and column."""
    with path.open() as file:
        return {(row["table"], row["row"], row["column"]): row["value"] for row in csv.DictReader(file)}


def clips_of(results: Path, system: str, split: str = "test") -> list[pd.DataFrame]:
    """The clips of all folds of each seed, in the order of their ids."""
    found = []
    for seed in SEEDS[system]:
        files = [results / "ased" / system / f"seed-{seed}_fold-{fold}.parquet" for fold in range(FOLDS)]
        folds = [pd.DataFrame(pq.read_table(file).to_pydict()).assign(fold=fold) for fold, file in enumerate(files)]
        clips = pd.concat(folds).query("split == @split").sort_values("id", ignore_index=True)
        scores = clips[SCORES].to_numpy(float)
        truth = clips["label"].map(LABELS.index).to_numpy()
        found.append(clips.assign(truth=truth, guess=scores.argmax(axis=1), confidence=scores.max(axis=1)))
    return found


def wa(clips: pd.DataFrame) -> float:
    """Accuracy."""
    return (clips["truth"] == clips["guess"]).mean()


def ua(clips: pd.DataFrame) -> float:
    """Mean recall of the classes that are there."""
    return quick_ua(clips["truth"].to_numpy(), clips["guess"].to_numpy())


def quick_ua(truth: np.ndarray, guess: np.ndarray) -> float:
    """The same of arrays, for many resamples."""
    return float(np.mean([(guess[truth == label] == label).mean() for label in np.unique(truth)]))


def resamples(clips: pd.DataFrame, number: int, seed: int) -> list[np.ndarray]:
    """Rows of as many speakers as there are, drawn one by one, with all their clips."""
    random = np.random.default_rng(seed)
    of_speaker = [np.flatnonzero(clips["speaker"] == speaker) for speaker in sorted(set(clips["speaker"]))]
    drawn = random.integers(len(of_speaker), size=(number, len(of_speaker)))
    return [np.concatenate([of_speaker[speaker] for speaker in row]) for row in drawn]
