"""Small folds whose classes a network can tell apart, without a corpus on disk."""

from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np

from speech_emotion.cross_validation.system import FoldTask
from speech_emotion.training.splits import ClipSplit, Splits

LABELS = ["anger", "neutral", "sadness"]
WORDS = {"anger": "geh sofort weg", "neutral": "heute ist Montag", "sadness": "ich möchte schlafen"}


def make_task(
    folder: Path,
    feature_size: int,
    frames: tuple[int, int] = (20, 40),
    clips: Sequence[int] = (36, 12, 12),
    transcripts: Sequence[str | None] | None = None,
    noise: float = 1.0,
) -> FoldTask:
    """Make a fold of noise that is louder in a third of the features, one for each class; clips differ in length."""
    random = np.random.default_rng(0)
    features, rows = [], []
    for split, count in enumerate(clips):
        for number in range(count):
            label = number % len(LABELS)
            length = int(random.integers(frames[0], frames[1] + 1))
            clip = noise * random.standard_normal((length, feature_size))
            clip[:, slice(*(feature_size * np.array([label, label + 1]) // len(LABELS)))] += 1.5
            features.append((3.0 + 2.0 * clip).astype(np.float32))
            transcript = WORDS[LABELS[label]] if transcripts is None else transcripts[label]
            texts = {"transcript": transcript, "language": "de"}
            rows.append({"id": f"{split}-{number}", "speaker": f"s{split}", "label": LABELS[label], **texts})
    cache = datasets.Dataset.from_dict(
        {"input_features": [clip.reshape(-1) for clip in features], "num_frames": [len(clip) for clip in features]}
    ).with_format("numpy")

    def part(start: int, count: int) -> ClipSplit:
        chosen = rows[start : start + count]
        ids, speakers, labels = ([row[name] for row in chosen] for name in ("id", "speaker", "label"))
        return ClipSplit(cache, range(start, start + count), ids, speakers, [LABELS.index(label) for label in labels])

    starts = np.cumsum([0, *clips[:-1]]).tolist()
    splits = Splits(*(part(start, count) for start, count in zip(starts, clips, strict=True)))
    return FoldTask(datasets.Dataset.from_list(rows), splits, LABELS, 0, folder)
