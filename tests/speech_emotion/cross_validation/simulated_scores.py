"""Score files as a cross-validation leaves them, of systems whose quality is known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speech_emotion.cross_validation.score_store import CLIP_COLUMNS, FoldScores

LABELS = ["anger", "fear", "neutral"]
FOLDS = 3


def fold_scores(
    system: str = "model-1",
    seed: int = 0,
    fold: int = 0,
    corpus: str = "toy",
    quality: float = 1.0,
    speakers: int = 6,
    clips: int = 9,
    labels: Sequence[str] = LABELS,
    about: dict[str, Any] | None = None,
) -> FoldScores:
    """Scores of one fold: speakers by turns in the test split; the logit of the true class is raised by `quality`."""
    random = np.random.default_rng([seed, fold, sum(map(ord, corpus + system))])
    columns: dict[str, list[Any]] = {name: [] for name in CLIP_COLUMNS}
    scores = []
    for speaker in range(speakers):
        split = {fold: "test", (fold + 1) % FOLDS: "validation"}.get(speaker % FOLDS)
        for clip in range(clips if split else 0):
            logits = random.normal(size=len(labels))
            logits[clip % len(labels)] += quality
            scores.append(np.exp(logits) / np.exp(logits).sum())
            values = (f"s{speaker}_{clip}", split, f"s{speaker}", "fm"[speaker % 2], None, labels[clip % len(labels)])
            for name, value in zip(CLIP_COLUMNS, values, strict=True):
                columns[name].append(value)
    facts = {"seconds": 36.0, "settings": {"system": system, "fold": f"clips of fold {fold}"}} | (about or {})
    return FoldScores(corpus, system, seed, fold, list(labels), columns, np.array(scores), facts)


def all_folds(system: str = "model-1", seeds: Sequence[int] = (0, 1), **options: Any) -> list[FoldScores]:
    """Scores of every fold and seed."""
    return [fold_scores(system, seed, fold, **options) for seed in seeds for fold in range(FOLDS)]


def save_all(entries: Sequence[FoldScores], results: Path) -> Path:
    """Write score files."""
    for entry in entries:
        entry.save(results)
    return results
