"""A report's figures and the clips that they are of, read without this library, so that a test can recompute them."""

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from .simulated_scores import FOLDS, LABELS, all_folds, save_all

SEEDS = {"model-1": (0, 1, 2), "model-2": (0, 1, 2), "model-3": (0, 2)}
QUALITY = {"model-1": 0.9, "model-2": 1.6, "model-3": 1.0}


def write_scores(folder: Path) -> Path:
    """Three systems of unlike quality on twelve speakers; one has two of three seeds and a piece of the third."""
    entries = [
        entry
        for name, seeds in SEEDS.items()
        for entry in all_folds(name, seeds, corpus="ased", quality=QUALITY[name], speakers=12, clips=30)
    ]
    entries += all_folds("model-3", (1,), corpus="ased", quality=9.0, speakers=12, clips=30)[:2]  # must not count
    return save_all(entries, folder)


def read_figures(path: Path) -> dict[tuple[str, str, str], str]:
    """The values of a report's CSV file by table, row and column."""
    with path.open() as file:
        return {(row["table"], row["row"], row["column"]): row["value"] for row in csv.DictReader(file)}


def clips_of(results: Path, system: str, seed: int, split: str = "test") -> list[dict[str, np.ndarray]]:
    """Columns of the clips of each fold."""
    folds = []
    for fold in range(FOLDS):
        table = pq.read_table(results / "ased" / system / f"seed-{seed}_fold-{fold}.parquet")
        rows = [row for row in table.to_pylist() if row["split"] == split]
        scores = np.array([[row[f"score_{label}"] for label in LABELS] for row in rows], dtype=float)
        columns = {name: np.array([row[name] for row in rows]) for name in ("id", "speaker", "sex")}
        truth = np.array([LABELS.index(row["label"]) for row in rows])
        folds.append(columns | {"truth": truth, "scores": scores, "guess": scores.argmax(axis=1)})
    return folds


def pooled(results: Path, system: str, seed: int) -> dict[str, np.ndarray]:
    """Test clips of all folds, in the order of their ids."""
    folds = clips_of(results, system, seed)
    joined = {name: np.concatenate([fold[name] for fold in folds]) for name in folds[0]}
    order = joined["id"].argsort()
    return {name: values[order] for name, values in joined.items()}


def quick(metric: str, truth: np.ndarray, guess: np.ndarray) -> float:
    """WA or UA of some clips."""
    right = truth == guess
    return right.mean() if metric == "wa" else np.mean([right[truth == label].mean() for label in np.unique(truth)])
