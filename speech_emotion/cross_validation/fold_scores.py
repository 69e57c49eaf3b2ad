"""What a system gave on one fold with one seed: every clip's scores, in one Parquet file."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CLIP_COLUMNS = ("id", "split", "speaker", "sex", "sentence", "label")
SCORE_PREFIX = "score_"
NAME = "seed-{seed}_fold-{fold}.parquet"
FACTS, DIGEST = b"ser", b"ser-sha256"  # entries of the file's metadata


@dataclass(frozen=True)
class FoldScores:
    """Scores of the validation and test clips of one fold.

    >>> clips = {name: [None] for name in CLIP_COLUMNS} | {"id": ["a"], "split": ["test"], "label": ["fear"]}
    >>> scores = FoldScores("polish", "model-1", 0, 2, ["anger", "fear"], clips, [[0.2, 0.8]])
    >>> scores.select("test").predictions.tolist(), scores.file_name
    ([1], 'seed-0_fold-2.parquet')
    """

    corpus: str  # name of the corpus, or of a part of it, such as `ased-common`
    system: str  # name of the system
    seed: int  # seed of the training
    fold: int  # number of the fold, from 0
    labels: list[str]  # emotions in the order of the classes
    clips: dict[str, list[Any]]
    scores: np.ndarray  # probability of each emotion, (clips, classes), float16
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        scores = np.asarray(self.scores, dtype=np.float16).reshape(-1, len(self.labels))  # (clips, classes)
        object.__setattr__(self, "scores", scores)
        where = f"{self.corpus}, {self.system}, seed {self.seed}, fold {self.fold}"
        sizes = {name: len(self.clips[name]) for name in CLIP_COLUMNS}
        if set(sizes.values()) != {len(scores)}:
            raise ValueError(f"{where}: {len(scores)} clips have scores, but the columns have {sizes}.")
        if not np.isfinite(scores).all() or (np.abs(scores.sum(axis=1, dtype=np.float64) - 1) > 0.01).any():
            raise ValueError(f"{where}: the scores of a clip must be finite and sum to 1.")
        unknown = sorted(set(self.clips["label"]) - set(self.labels))
        if unknown:
            raise ValueError(f"{where}: the labels {', '.join(unknown)} are none of {', '.join(self.labels)}.")

    @property
    def truth(self) -> np.ndarray:
        """True class of each clip, (clips,)."""
        index = {label: number for number, label in enumerate(self.labels)}
        return np.array([index[label] for label in self.clips["label"]], dtype=np.int64)

    @property
    def predictions(self) -> np.ndarray:
        """Class with the highest score, (clips,); of equal ones the first."""
        return self.scores.argmax(axis=1)

    @property
    def file_name(self) -> str:
        """Name of its file."""
        return NAME.format(seed=self.seed, fold=self.fold)

    def select(self, split: str) -> "FoldScores":
        """Return the part of one split, `"validation"` or `"test"`."""
        kept = [index for index, name in enumerate(self.clips["split"]) if name == split]
        clips = {name: [values[index] for index in kept] for name, values in self.clips.items()}
        return FoldScores(
            self.corpus, self.system, self.seed, self.fold, self.labels, clips, self.scores[kept], self.about
        )

    def save(self, results: str | Path) -> Path:
        """Write `<results>/<corpus>/<system>/seed-S_fold-K.parquet`, whole or not at all."""
        path = Path(results) / self.corpus / self.system / self.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        columns: dict[str, pa.Array] = {name: pa.array(self.clips[name], pa.string()) for name in CLIP_COLUMNS}
        for number, label in enumerate(self.labels):
            columns[SCORE_PREFIX + label] = pa.array(self.scores[:, number], pa.float16())
        names = ("corpus", "system", "seed", "fold", "labels", "about")
        facts = json.dumps({name: getattr(self, name) for name in names}, ensure_ascii=False).encode()
        digest = _digest(facts, self.clips, self.scores)
        table = pa.table(columns).replace_schema_metadata({FACTS: facts, DIGEST: digest})
        partial = path.with_name(f".{path.name}.partial")
        pq.write_table(table, partial, compression="zstd")
        partial.replace(path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> "FoldScores":
        """Read a file that `save` wrote."""
        content = Path(path).read_bytes()  # an error of the system is raised as it is; what follows is of the content
        try:
            # Without Arrow's threads: one that is alive when a program ends can abort it (issue 34314 of
            # apache/arrow). `pq.read_table` starts one whatever it is asked.
            table = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(use_threads=False)
            written = table.schema.metadata[FACTS]
            facts = json.loads(written)
            clips = {name: table[name].to_pylist() for name in CLIP_COLUMNS}
            scores = np.stack([table[SCORE_PREFIX + label].to_numpy() for label in facts["labels"]], axis=1)
            # Most damage leaves Parquet readable. Files of the first versions have no digest.
            if table.schema.metadata.get(DIGEST) not in (None, _digest(written, clips, scores)):
                raise ValueError("its content is not what was written")
            return cls(clips=clips, scores=scores, **facts)
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} holds no scores of a fold: {error}. Remove it; it is computed again.") from error


def _digest(facts: bytes, clips: Mapping[str, Sequence[Any]], scores: np.ndarray) -> bytes:
    """SHA-256 of all that a file holds."""
    columns = json.dumps([clips[name] for name in CLIP_COLUMNS], ensure_ascii=False).encode()
    scores = np.ascontiguousarray(scores, dtype="<f2").tobytes()
    return hashlib.sha256(b"\0".join([facts, columns, scores])).hexdigest().encode()


def read_fold_scores(results: str | Path, corpus: str | None = None, system: str | None = None) -> list[FoldScores]:
    """Read the results of finished folds."""
    paths = Path(results).glob(f"{corpus or '*'}/{system or '*'}/seed-*_fold-*.parquet")
    found = [FoldScores.load(path) for path in paths]
    return sorted(found, key=lambda entry: (entry.corpus, entry.system, entry.seed, entry.fold))


__all__ = ["FoldScores", "read_fold_scores"]
