"""Scores of finished folds on disk: a Parquet file per fold while a comparison runs, one per condition once packed."""

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speech_emotion.files import write_bytes, write_jsonl, write_together

CLIP_COLUMNS = ("id", "split", "speaker", "sex", "sentence", "label")
SCORE_PREFIX = "score_"
FOLD_FILE = "seed-{seed}_fold-{fold}.parquet"
FACTS, DIGEST = b"ser", b"ser-sha256"  # entries of a fold file's metadata
RUNS = "runs"  # name of the packed file that tells of every fold what is not said clip by clip
# What reading a damaged file may raise.
UNREADABLE = (pa.ArrowException, OSError, LookupError, ValueError, TypeError)
KEY_COLUMNS = ("system", "seed", "fold")


@dataclass(frozen=True, order=True)
class FoldKey:
    """One fit."""

    condition: str  # name of the corpus, or of a part of it, such as `ased-common`
    system: str  # name of the system
    seed: int  # seed of the training
    fold: int  # number of the fold, from 0

    def __str__(self) -> str:
        return f"{self.condition} {self.system} seed {self.seed} fold {self.fold}"

    def path(self, folder: str | Path) -> Path:
        """Return where its scores lie until they are packed."""
        return Path(folder) / self.condition / self.system / FOLD_FILE.format(seed=self.seed, fold=self.fold)


@dataclass(frozen=True)
class FoldScores:
    """Scores of the validation and test clips of one fold."""

    corpus: str  # name of the condition
    system: str
    seed: int
    fold: int
    labels: list[str]  # emotions in the order of the classes
    clips: dict[str, list[Any]]  # by CLIP_COLUMNS
    scores: np.ndarray  # probability of each emotion, (clips, classes), float16
    about: dict[str, Any] = field(default_factory=dict)  # settings, learning curve, seconds, versions

    def __post_init__(self) -> None:
        scores = np.asarray(self.scores, dtype=np.float16).reshape(-1, len(self.labels))  # (clips, classes)
        object.__setattr__(self, "scores", scores)
        sizes = {name: len(self.clips[name]) for name in CLIP_COLUMNS}
        if set(sizes.values()) != {len(scores)}:
            raise ValueError(f"{self.key}: {len(scores)} clips have scores, but the columns have {sizes}.")
        if not np.isfinite(scores).all() or (np.abs(scores.sum(axis=1, dtype=np.float64) - 1) > 0.01).any():
            raise ValueError(f"{self.key}: the scores of a clip must be finite and sum to 1.")
        unknown = sorted(set(self.clips["label"]) - set(self.labels))
        if unknown:
            raise ValueError(f"{self.key}: the labels {', '.join(unknown)} are none of {', '.join(self.labels)}.")

    @property
    def key(self) -> FoldKey:
        """Which fit it is."""
        return FoldKey(self.corpus, self.system, self.seed, self.fold)

    @property
    def truth(self) -> np.ndarray:
        """True class of each clip, (clips,)."""
        index = {label: number for number, label in enumerate(self.labels)}
        return np.array([index[label] for label in self.clips["label"]], dtype=np.int64)

    @property
    def predictions(self) -> np.ndarray:
        """Class with the highest score, (clips,); of equal ones the first."""
        return self.scores.argmax(axis=1)

    def select(self, split: str) -> "FoldScores":
        """Return the part of one split, `"validation"` or `"test"`."""
        kept = [index for index, name in enumerate(self.clips["split"]) if name == split]
        clips = {name: [values[index] for index in kept] for name, values in self.clips.items()}
        return replace(self, clips=clips, scores=self.scores[kept])

    def facts(self) -> bytes:
        """Return all but the clips and their scores, as JSON."""
        names = ("corpus", "system", "seed", "fold", "labels", "about")
        return json.dumps({name: getattr(self, name) for name in names}, ensure_ascii=False).encode()

    def save(self, folder: str | Path) -> Path:
        """Write its fold file, whole or not at all."""
        path = self.key.path(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {name: pa.array(self.clips[name], pa.string()) for name in CLIP_COLUMNS}
        for number, label in enumerate(self.labels):
            columns[SCORE_PREFIX + label] = pa.array(self.scores[:, number], pa.float16())
        facts = self.facts()
        digest = fold_digest(facts, self.clips, self.scores)
        return write_bytes(path, _parquet(pa.table(columns).replace_schema_metadata({FACTS: facts, DIGEST: digest})))

    @classmethod
    def load(cls, path: str | Path) -> "FoldScores":
        """Read a fold file."""
        content = Path(path).read_bytes()  # an error of the system is raised as it is; what follows is of the content
        try:
            table = _table(content)
            written = table.schema.metadata[FACTS]
            facts = json.loads(written)
            clips = {name: table[name].to_pylist() for name in CLIP_COLUMNS}
            scores = np.stack([table[SCORE_PREFIX + label].to_numpy() for label in facts["labels"]], axis=1)
            # Most damage leaves Parquet readable. Files of the first versions have no digest.
            if table.schema.metadata.get(DIGEST) not in (None, fold_digest(written, clips, scores)):
                raise ValueError("its content is not what was written")
            return cls(clips=clips, scores=scores, **facts)
        except UNREADABLE as error:
            raise ValueError(f"{path} holds no scores of a fold: {error}. Remove it; it is computed again.") from error


def fold_digest(facts: bytes, clips: Mapping[str, Sequence[Any]], scores: np.ndarray) -> bytes:
    """Return the SHA-256 of all that is stored of a fold."""
    columns = json.dumps([clips[name] for name in CLIP_COLUMNS], ensure_ascii=False).encode()
    values = np.ascontiguousarray(scores, dtype="<f2").tobytes()
    return hashlib.sha256(b"\0".join([facts, columns, values])).hexdigest().encode()


def find_fold(key: FoldKey, folders: Sequence[str | Path]) -> FoldScores | None:
    """Read the scores of a fold from the first folder that has them; of a damaged fold file it warns."""
    for folder in map(Path, folders):
        path = key.path(folder)
        if path.is_file():
            try:
                return FoldScores.load(path)
            except (ValueError, OSError) as error:
                warnings.warn(f"{path} is damaged and is passed over: {error}", stacklevel=2)
        found = read_packed(folder, key.condition).get(key)
        if found is not None:
            return found
    return None


def read_fold_scores(
    *folders: str | Path, condition: str | None = None, system: str | None = None
) -> list[FoldScores]:
    """Read all finished folds, sorted by condition, system, seed and fold.

    Where a fold lies in several folders the first counts, and in a folder its own file before what is packed.
    """
    found: dict[FoldKey, FoldScores] = {}
    for folder in map(Path, folders):
        files = folder.glob(f"{condition or '*'}/{system or '*'}/seed-*_fold-*.parquet")
        here = {scores.key: scores for scores in map(FoldScores.load, files)}
        for name in packed_conditions(folder) if condition is None else [condition]:
            packed = read_packed(folder, name).items()
            here = {key: scores for key, scores in packed if system in (None, key.system)} | here
        found = here | found
    return [found[key] for key in sorted(found)]


def pack(source: str | Path, target: str | Path, remove: bool = False) -> list[Path]:
    """Write the folds of `source`, and those that `target` has, into a file per condition and one of runs.

    The same folds give the same bytes. With `remove` the fold files of `source` are removed at the end.
    """
    source, target = Path(source), Path(target)
    files = list(source.glob("*/*/seed-*_fold-*.parquet"))
    folds = read_fold_scores(source, target)
    if not folds:
        raise ValueError(f"{source} has no finished folds to pack.")
    target.mkdir(parents=True, exist_ok=True)
    conditions = dict.fromkeys(fold.corpus for fold in folds)
    if RUNS in conditions:
        raise ValueError(f"A condition that is called {RUNS!r} cannot be packed: {RUNS}.parquet tells of all of them.")
    tables = {name: _clip_table([fold for fold in folds if fold.corpus == name]) for name in conditions}
    tables[RUNS] = _run_table(folds)
    contents = {target / f"{name}.parquet": _parquet(table, level=19) for name, table in tables.items()}
    write_together(contents)
    for path in files if remove else []:
        path.unlink()
        for folder in (path.parent, path.parent.parent):
            if not any(folder.iterdir()):
                folder.rmdir()
    return list(contents)


def write_clip_lines(folders: Sequence[str | Path], path: str | Path, conditions: Sequence[str] | None = None) -> Path:
    """Write every clip's scores, one clip per line of JSON, for tools that do not read Parquet."""
    folds = read_fold_scores(*folders)
    lines = (line for fold in folds if conditions is None or fold.corpus in conditions for line in clip_lines(fold))
    return write_jsonl(path, lines)


def clip_lines(fold: FoldScores) -> Iterator[dict[str, object]]:
    """Give a line for each clip of a fold."""
    place = {"corpus": fold.corpus, "system": fold.system, "seed": fold.seed, "fold": fold.fold}
    for index, guess in enumerate(fold.predictions):
        known = {name: values[index] for name, values in fold.clips.items()}
        scores = dict(zip(fold.labels, map(float, fold.scores[index]), strict=True))
        yield place | known | {"prediction": fold.labels[guess], "scores": scores}


def packed_conditions(folder: str | Path) -> list[str]:
    """Return the conditions that are packed in a folder."""
    path = Path(folder) / f"{RUNS}.parquet"
    return sorted(set(_read_runs(path, _stamp(path))["condition"])) if path.is_file() else []


def read_packed(folder: str | Path, condition: str) -> Mapping[FoldKey, FoldScores]:
    """Return all packed folds of a condition; files that have not changed are read once."""
    runs, clips = Path(folder) / f"{RUNS}.parquet", Path(folder) / f"{condition}.parquet"
    if condition not in packed_conditions(folder):
        return {}
    return _read_condition(clips, _stamp(clips), runs, _stamp(runs), condition)


def _clip_table(folds: Sequence[FoldScores]) -> pa.Table:
    """Put all clips of a condition under each other, fold after fold."""
    sizes = [len(fold.scores) for fold in folds]
    columns: dict[str, pa.Array] = {}
    for name in KEY_COLUMNS:
        columns[name] = pa.array(np.repeat([getattr(fold, name) for fold in folds], sizes))
    for name in ("split", "id", "speaker", "sex", "sentence", "label"):
        columns[name] = pa.array([value for fold in folds for value in fold.clips[name]], pa.string())
    for label in dict.fromkeys(label for fold in folds for label in fold.labels):
        # A fold without the label has no score for it.
        parts = [
            fold.scores[:, fold.labels.index(label)] if label in fold.labels else np.full(size, np.nan, np.float16)
            for fold, size in zip(folds, sizes, strict=True)
        ]
        columns[SCORE_PREFIX + label] = pa.array(np.concatenate(parts), pa.float16(), from_pandas=True)
    return pa.table(columns)


def _run_table(folds: Sequence[FoldScores]) -> pa.Table:
    """One row per fold: what it is of, all that is told about it, and a hash of all this and of its clips."""
    runs = {
        "condition": [fold.corpus for fold in folds],
        **{name: [getattr(fold, name) for fold in folds] for name in KEY_COLUMNS},
        "labels": [fold.labels for fold in folds],
        "about": [json.dumps(fold.about, ensure_ascii=False) for fold in folds],
        "sha256": [fold_digest(fold.facts(), fold.clips, fold.scores).decode() for fold in folds],
    }
    return pa.table(runs).replace_schema_metadata({DIGEST: _runs_digest(runs)})


def _runs_digest(runs: Mapping[str, Sequence[Any]]) -> bytes:
    return hashlib.sha256(json.dumps(runs, ensure_ascii=False).encode()).hexdigest().encode()


@lru_cache(maxsize=4)
def _read_runs(path: Path, stamp: object) -> dict[str, list[Any]]:
    try:
        table = _table(path.read_bytes())
        runs = {name: table[name].to_pylist() for name in ("condition", *KEY_COLUMNS, "labels", "about", "sha256")}
        if table.schema.metadata[DIGEST] != _runs_digest(runs):
            raise ValueError("its content is not what was written")
        return runs
    except UNREADABLE as error:
        raise _damaged(path, error) from error


@lru_cache(maxsize=16)
def _read_condition(
    path: Path, stamp: object, runs_path: Path, runs_stamp: object, condition: str
) -> dict[FoldKey, FoldScores]:
    """Cut the table of a condition into its folds; the stamps tell the cache of changed files."""
    runs = _read_runs(runs_path, runs_stamp)
    try:
        # As dictionaries, the texts are made once each and not once for every clip, system and seed.
        table = _table(path.read_bytes(), read_dictionary=["system", *CLIP_COLUMNS]).unify_dictionaries()
        columns = {name: _decoded(table[name]) for name in (*KEY_COLUMNS, *CLIP_COLUMNS)}
        scores = {name: table[name].to_numpy() for name in table.column_names if name.startswith(SCORE_PREFIX)}
    except UNREADABLE as error:
        raise _damaged(path, error) from error
    rows: dict[tuple[Any, ...], list[int]] = {}
    for number, row in enumerate(zip(*(columns[name] for name in KEY_COLUMNS), strict=True)):
        rows.setdefault(row, []).append(number)
    found = {}
    for index, name in enumerate(runs["condition"]):
        if name != condition:
            continue
        key = FoldKey(name, *(runs[column][index] for column in KEY_COLUMNS))
        try:
            labels, chosen = runs["labels"][index], rows[key.system, key.seed, key.fold]
            clips = {column: columns[column][chosen].tolist() for column in CLIP_COLUMNS}
            values = np.stack([scores[SCORE_PREFIX + label][chosen] for label in labels], axis=1)  # (clips, classes)
            about = json.loads(runs["about"][index])
            fold = FoldScores(key.condition, key.system, key.seed, key.fold, labels, clips, values, about)
            digest = fold_digest(fold.facts(), clips, values).decode()
        except UNREADABLE as error:
            raise _damaged(path, f"{key}: {error}") from error
        if digest != runs["sha256"][index]:
            raise _damaged(path, f"{key} is not what {runs_path.name} tells of")
        found[key] = fold
    return found


def _decoded(column: pa.ChunkedArray) -> np.ndarray:
    """The values of a column, texts as objects."""
    column = column.combine_chunks()
    if not pa.types.is_dictionary(column.type):
        return column.to_numpy()
    texts = np.array([*column.dictionary.to_pylist(), None], dtype=object)
    return texts[column.indices.fill_null(len(texts) - 1).to_numpy(zero_copy_only=False)]


def _damaged(path: Path, reason: object) -> ValueError:
    return ValueError(f"{path} is damaged ({reason}). Restore it, or remove it and compute its folds again.")


def _stamp(path: Path) -> tuple[int, int] | None:
    """What tells a changed file from the one that was read."""
    if not path.is_file():
        return None
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _table(content: bytes, **kwargs: Any) -> pa.Table:
    # Without Arrow's threads: one that is alive when a program ends can abort it (issue 34314 of apache/arrow).
    # `pq.read_table` starts one whatever it is asked.
    return pq.ParquetFile(pa.BufferReader(content), pre_buffer=False, **kwargs).read(use_threads=False)


def _parquet(table: pa.Table, level: int | None = None) -> bytes:
    """Return a table as the content of a Parquet file."""
    content = pa.BufferOutputStream()
    repeated = [name for name in table.column_names if not name.startswith(SCORE_PREFIX)]
    pq.write_table(table, content, compression="zstd", compression_level=level, use_dictionary=repeated)
    return content.getvalue().to_pybytes()
