"""The clips and folds of a condition, read from the corpus."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np

from dataset_scripts import Fold, check_classes, check_disjoint, load_corpus, speaker_folds
from reproduction.condition_parts import part_of_corpus, restrict_fold
from speech_emotion.training.splits import keep_labels

from .conditions import Condition


@dataclass(frozen=True)
class ConditionData:
    """A condition, read."""

    corpus: datasets.Dataset  # all clips of the corpus: features are made of these, once for every part
    rows: datasets.Dataset  # the condition's clips
    labels: list[str]  # its emotions, in the order of the classes
    folds: list[Fold]  # its folds


def read_condition(
    condition: Condition, data_dir: str | Path | None = None, cache_dir: str | Path | None = None
) -> ConditionData:
    """Read the clips of a condition and make its folds."""
    if data_dir is not None and (Path(data_dir) / condition.corpus).is_dir():
        data_dir = Path(data_dir) / condition.corpus
    corpus = load_corpus(condition.corpus, data_dir=data_dir, config=condition.config, cache_dir=cache_dir)
    if condition.part is None:
        rows, labels = keep_labels(corpus, condition.labels)
        return ConditionData(corpus, rows, labels, speaker_folds(rows, condition.scheme, condition.num_folds))
    # Divided on the whole corpus: the parts then train and test the same speakers, and differ by their clips only.
    whole = speaker_folds(corpus, condition.scheme, condition.num_folds)
    kept = part_of_corpus(corpus, whole, condition.part)
    rows = corpus.select(np.flatnonzero([clip in kept for clip in corpus["id"][:]]))
    rows, labels = keep_labels(rows, condition.labels)
    folds = [restrict_fold(fold, rows["id"][:]) for fold in whole]
    for fold in folds:
        check_disjoint(fold, rows)
        check_classes(fold, rows)
    return ConditionData(corpus, rows, labels, folds)


def fold_digest(fold: Fold, data: ConditionData) -> str:
    """Return what identifies a fold: a hash over its clips, their splits, speakers and labels."""
    columns = [data.rows[name][:] for name in ("id", "speaker", "label")]
    known = {clip: (speaker, label) for clip, speaker, label in zip(*columns, strict=True)}
    lines = ["\t".join((split, clip, *known[clip])) for split, ids in fold.splits.items() for clip in sorted(ids)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


__all__ = ["ConditionData", "fold_digest", "read_condition"]
