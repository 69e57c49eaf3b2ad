"""The clips, folds and recordings of a condition, read from its corpus, and features of the corpus."""

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import datasets
import numpy as np
from datasets.fingerprint import Hasher

from dataset_scripts import Fold, check_classes, check_disjoint, load_corpus, speaker_folds
from dataset_scripts.audio_leaks import recording_digest
from modeling_ser.feature_statistics import FeatureStatistics
from speech_emotion.training.splits import keep_labels, one_clip

from .corpus_conditions import CorpusCondition

# Part of the fingerprint of hashed recordings: raise it when `recording_digest` hashes otherwise.
DIGEST_VERSION = 2
CLIPS_PER_BATCH = 100


@dataclass(frozen=True)
class ConditionData:
    """A condition, read."""

    corpus: datasets.Dataset  # all clips of the corpus: features are made of these, once for every part
    rows: datasets.Dataset  # the condition's clips
    labels: list[str]  # its emotions, in the order of the classes
    folds: list[Fold]  # its folds

    @cached_property
    def recordings(self) -> dict[str, str | None]:
        """The hash of every clip of the corpus, of its samples or its file; found in the cache of `datasets`."""
        hashed = self.corpus.select_columns(["id", "audio", "file"]).map(
            _hash_clips,
            batched=True,
            batch_size=CLIPS_PER_BATCH,
            remove_columns=["audio", "file"],
            features=datasets.Features({"id": datasets.Value("string"), "recording": datasets.Value("string")}),
            new_fingerprint=Hasher.hash([self.corpus._fingerprint, "recordings", DIGEST_VERSION]),
            desc="Hashing recordings",
        )
        return dict(zip(hashed["id"][:], hashed["recording"][:], strict=True))


def read_condition(
    condition: CorpusCondition, data_dir: str | Path | None = None, cache_dir: str | Path | None = None
) -> ConditionData:
    """Read the clips of a condition and make its folds."""
    if data_dir is not None and (Path(data_dir) / condition.corpus).is_dir():
        data_dir = Path(data_dir) / condition.corpus
    corpus = load_corpus(condition.corpus, data_dir=data_dir, config=condition.config, cache_dir=cache_dir)
    if condition.divide is not None:
        rows, labels = keep_labels(corpus, condition.labels)
        return ConditionData(corpus, rows, labels, given_folds(condition, rows))
    if condition.select is None:
        rows, labels = keep_labels(corpus, condition.labels)
        return ConditionData(corpus, rows, labels, speaker_folds(rows, condition.scheme, condition.num_folds))
    # Divided on the whole corpus: the parts then train and test the same speakers, and differ by their clips only.
    whole = speaker_folds(corpus, condition.scheme, condition.num_folds)
    kept = condition.select(corpus, whole)
    rows = corpus.select(np.flatnonzero([clip in kept for clip in corpus["id"][:]]))
    rows, labels = keep_labels(rows, condition.labels)
    kept = set(rows["id"][:])
    folds = []
    for fold in whole:
        splits = {name: tuple(clip for clip in ids if clip in kept) for name, ids in fold.splits.items()}
        fold = Fold(**splits, name=fold.name)
        folds.append(fold)
        check_disjoint(fold, rows)
        check_classes(fold, rows)
    return ConditionData(corpus, rows, labels, folds)


def given_folds(condition: CorpusCondition, rows: datasets.Dataset) -> list[Fold]:
    """Divide clips as somebody else did, and assert that speakers are shared where the condition says so, only."""
    folds = condition.divide(rows)
    speaker_of = dict(zip(*(rows[name][:] for name in ("id", "speaker")), strict=True))
    sharing = 0
    for fold in folds:
        check_disjoint(fold, rows, shares_speakers=condition.shares_speakers)
        check_classes(fold, rows)
        trained, tested = ({speaker_of[clip] for clip in ids} for ids in (fold.train, fold.test))
        sharing += not trained.isdisjoint(tested)
    if condition.shares_speakers and not sharing:
        raise ValueError(f"{condition.name} says that its folds share speakers, and none does. Let it say what is so.")
    return folds


def fold_digest(fold: Fold, data: ConditionData) -> str:
    """Return what identifies a fold: a hash over its clips, their splits, speakers and labels."""
    columns = [data.rows[name][:] for name in ("id", "speaker", "label")]
    known = {clip: (speaker, label) for clip, speaker, label in zip(*columns, strict=True)}
    lines = ["\t".join((split, clip, *known[clip])) for split, ids in fold.splits.items() for clip in sorted(ids)]
    return _digest(lines)


def audio_digest(fold: Fold, recordings: Mapping[str, str | None]) -> str:
    """Return a hash over the recordings of a fold: others under the same names are another fold.

    >>> fold = Fold(train=("a",), validation=("b",), test=("c",))
    >>> audio_digest(fold, {"a": "1f", "b": "2e", "c": None})
    'c18c4faff9ed4abc'
    """
    clips = sorted(itertools.chain.from_iterable(fold.splits.values()))
    return _digest(f"{clip}\t{recordings[clip] or ''}" for clip in clips)


def _hash_clips(batch: Mapping[str, list[Any]]) -> dict[str, list[str | None]]:
    recordings = []
    for clip, audio, file in zip(batch["id"], batch["audio"], batch["file"], strict=True):
        try:
            recordings.append(recording_digest(audio))
        except (ValueError, OSError) as error:
            raise type(error)(f"Clip {clip!r} ({file}): {error}") from error
    return {"recording": recordings}


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


class MappedFeatures:
    """Features of a corpus as `make_splits` and `ClipSplit` read them, each clip a view into the mapped cache."""

    def __init__(self, features: datasets.Dataset) -> None:
        plain = features.with_format(None)
        if plain._indices is not None:  # a selection: its rows are not those of the file
            plain = plain.flatten_indices()
        self._columns: dict[str, Any] = {
            "id": plain["id"][:],
            "num_frames": np.array(plain["num_frames"][:]),
            "recording": plain["recording"][:],
        }
        self._clips: list[np.ndarray] = []
        self._statistics: dict[int, FeatureStatistics] = {}
        for chunk in plain.data.column("input_features").chunks:
            values = chunk.values.to_numpy(zero_copy_only=True)  # of all clips of the chunk, one after another
            bounds = chunk.offsets.to_numpy()
            self._clips += [values[start:end] for start, end in pairwise(bounds)]

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, key: int | str) -> Any:
        return self._columns[key] if isinstance(key, str) else {"input_features": self._clips[key]}

    def statistics(self, position: int, feature_size: int) -> FeatureStatistics:
        """Take the statistics of a clip's features, once."""
        if position not in self._statistics:
            self._statistics[position] = one_clip(self._clips[position], feature_size)
        return self._statistics[position]

    def with_format(self, kind: str | None = None) -> Self:
        """Return itself: the columns are plain values already."""
        return self
