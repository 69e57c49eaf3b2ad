"""Small folds whose classes a network can tell apart, without a corpus on disk."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from speech_emotion.cross_validation.system import FoldTask
from speech_emotion.training.clip_split import ClipSplit
from speech_emotion.training.splits import Splits

LABELS = ["anger", "neutral", "sadness"]
WORDS = {"anger": "geh sofort weg", "neutral": "heute ist Montag", "sadness": "ich möchte schlafen"}


def make_task(
    folder: Path,
    feature_size: int,
    frames: tuple[int, int] = (20, 40),
    clips: Sequence[int] = (36, 12, 12),
    transcripts: Sequence[str | None] | None = None,
    seed: int = 0,
    noise: float = 1.0,
) -> FoldTask:
    """Make a fold of noise that is louder in a third of the features, one for each class; clips differ in length."""
    random = np.random.default_rng(0)
    features: list[np.ndarray] = []
    rows: list[dict[str, Any]] = []
    for split, count in enumerate(clips):
        for number in range(count):
            label = number % len(LABELS)
            length = int(random.integers(frames[0], frames[1] + 1))
            clip = noise * random.standard_normal((length, feature_size))
            band = feature_size * np.array([label, label + 1]) // len(LABELS)
            clip[:, slice(*band)] += 1.5
            features.append((3.0 + 2.0 * clip).astype(np.float32))
            rows.append(
                {
                    "id": f"{split}-{number}",
                    "speaker": f"s{split}",
                    "label": LABELS[label],
                    "transcript": WORDS[LABELS[label]] if transcripts is None else transcripts[label],
                    "language": "de",
                }
            )
    cache = datasets.Dataset.from_dict(
        {"input_features": [clip.reshape(-1) for clip in features], "num_frames": [len(clip) for clip in features]}
    ).with_format("numpy")
    ends = np.cumsum([0, *clips])
    parts = []
    for start, end in pairwise(ends):
        chosen = rows[start:end]
        parts.append(
            ClipSplit(
                cache,
                range(start, end),
                [row["id"] for row in chosen],
                [row["speaker"] for row in chosen],
                [LABELS.index(row["label"]) for row in chosen],
            )
        )
    return FoldTask(datasets.Dataset.from_list(rows), Splits(*parts), LABELS, seed, folder)
