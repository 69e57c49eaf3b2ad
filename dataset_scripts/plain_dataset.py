"""Data sets of speech that are no copies of a corpus: tables on the Hub, whose columns the user names."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import datasets
from datasets.fingerprint import Hasher

from feature_extraction.audio_decoding import audio_duration

from .corpus_base import quiet_unless_terminal
from .manifest import ALIASES, TIME_LIKE
from .names import FOUR_LABELS, LABELS, first_few, house_label, name_key, spelled

ROWS_VERSION = 1
"""Raised when the same data set gives other rows: it enters the fingerprint of cached ones."""
_TEXT = datasets.Value("string")
FEATURES = datasets.Features(
    {
        **dict.fromkeys(("id", "label", "label4", "native_label", "speaker", "sex", "sentence", "transcript"), _TEXT),
        **dict.fromkeys(("kind", "language", "file", "session"), _TEXT),
        "duration": datasets.Value("float64"),
    }
)
STORED = {"bytes": datasets.Value("binary"), "path": _TEXT}


@dataclass(frozen=True)
class Columns:
    """Names of a data set's columns, and what the numbers mean in those that hold names by number."""

    audio: str
    label: str
    speaker: str | None = None
    together: tuple[str, ...] = ()
    numbered: Mapping[str, Sequence[str]] = field(default_factory=dict)
    files: bool = False  # whether sounds may be files, which datasets itself has fetched

    def read(self, example: Mapping[str, Any], column: str) -> Any:
        """Read a value of a column; the name that a number stands for."""
        value, names = example[column], self.numbered.get(column)
        if value is None or names is None:
            return value
        return names[value] if 0 <= value < len(names) else None


def load_plain_dataset(
    name: str,
    label_column: str,
    audio_column: str | None = None,
    speaker_column: str | None = None,
    split_columns: Sequence[str] | None = None,
    config: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    streaming: bool = False,
) -> datasets.Dataset | datasets.IterableDataset:
    """Load a folder or a data set of the Hub, all of its splits together, with the columns that a corpus has."""
    folder = Path(name).expanduser()
    source, _, revision = (str(folder), "", "") if folder.is_dir() else name.partition("@")
    cache = None if cache_dir is None else str(cache_dir)
    try:
        with quiet_unless_terminal(), _noting_files():
            parts = datasets.load_dataset(
                source, config, revision=revision or None, cache_dir=cache, streaming=streaming
            )
    except datasets.exceptions.DatasetGenerationError as error:
        raise ValueError(f"{name} cannot be read: {error.__cause__ or error}") from error
    columns = _find_columns(name, parts, audio_column, label_column, speaker_column, tuple(split_columns or ()))
    others = next(iter(parts.values())).column_names
    if parts_of := [column for column in others if TIME_LIKE.fullmatch(column.lower())]:
        warnings.warn(
            f"{name}: the column(s) {first_few(parts_of)} are not heeded: every sound is taken whole. Labels "
            "of parts of it would be wrong",
            stacklevel=3,
        )
    if speaker_column is None:
        stand = f"The groups of {', '.join(columns.together)} stand for them" if columns.together else "No folds by"
        mend = "" if columns.together else " speaker can be made: name it, or divide clips by --unsafe_split true"
        meant = [column for column in others if ALIASES.get(column.lower(), column.lower()) == "speaker"]
        guess = f" ({first_few(meant)}, perhaps)" if meant else ""
        warnings.warn(
            f"{name}: THE SPEAKERS ARE UNKNOWN, as no speaker_column is named{guess}. Where one is in training and in "
            f"test, figures are worthless. {stand}{mend}",
            stacklevel=3,
        )
    make = _streamed if streaming else _table
    rows = datasets.concatenate_datasets([make(part, split, columns) for split, part in parts.items()])
    if not streaming:
        rows = _without_unlabeled(rows, name)
    info = next(iter(parts.values())).info
    rows.info.description = f"{folder.resolve().name if folder.is_dir() else source}."
    rows.info.homepage = info.homepage or ("" if folder.is_dir() else f"https://huggingface.co/datasets/{source}")
    rows.info.license = info.license or "as the data set's page says"
    rows.info.citation = info.citation or ""
    return rows


def _find_columns(
    name: str,
    parts: Mapping[str, datasets.Dataset | datasets.IterableDataset],
    audio: str | None,
    label: str,
    speaker: str | None,
    together: tuple[str, ...],
) -> Columns:
    """Check that the columns are there, and are what they are said to be."""
    first = next(iter(parts.values()))
    features, files = first.features, first.info.builder_name == "audiofolder"
    if features is None or (files and isinstance(first, datasets.IterableDataset)):
        lacks = "tell its columns" if features is None else "hold its sounds, which are files"
        raise ValueError(f"{name}: a stream of it does not {lacks}. Load it whole, without streaming")
    sounds = [column for column, feature in features.items() if isinstance(feature, datasets.Audio)]
    audio = audio or (sounds[0] if len(sounds) == 1 else "audio")
    missing = [column for column in (audio, label, speaker, *together) if column and column not in features]
    if missing:
        raise ValueError(f"{name} has no column {', '.join(missing)}. Its columns are {', '.join(features)}")
    if audio not in sounds and dict(features[audio] if isinstance(features[audio], dict) else {}) != STORED:
        raise ValueError(
            f"{name}: the column {audio} holds no sounds but {features[audio]}. Name another as audio_column"
            + (f": {', '.join(sounds)}" if sounds else "")
        )
    numbered = {column: one.names for column, one in features.items() if isinstance(one, datasets.ClassLabel)}
    if label not in numbered and getattr(features[label], "dtype", "") not in ("string", "large_string"):
        raise ValueError(
            f"{name}: the column {label} holds no names of emotions but {features[label]}. Name another one as "
            "label_column"
        )
    return Columns(audio, label, speaker, together, numbered, files)


def _table(part: datasets.Dataset, split: str, columns: Columns) -> datasets.Dataset:
    """Add what a corpus says of its clips to the sounds, which stay where they are."""
    sounds = part.select_columns([columns.audio]).cast_column(columns.audio, datasets.Audio(decode=False))
    if columns.audio != "audio":
        sounds = sounds.rename_column(columns.audio, "audio")
    read = part.cast_column(columns.audio, datasets.Audio(decode=False))
    with quiet_unless_terminal():
        rows = read.map(
            partial(_row, split=split, columns=columns),
            with_indices=True,
            remove_columns=read.column_names,
            features=FEATURES,
            new_fingerprint=Hasher.hash([part._fingerprint, ROWS_VERSION, split, *astuple(columns)]),
        )
    return datasets.concatenate_datasets([rows, sounds], axis=1)


def _streamed(part: datasets.IterableDataset, split: str, columns: Columns) -> datasets.IterableDataset:
    # Not as Audio: a streamed row of that is encoded with torchcodec, even with decode=False.
    return part.cast_column(columns.audio, STORED).map(
        partial(_rows, split=split, columns=columns),
        with_indices=True,
        batched=True,
        batch_size=1,
        remove_columns=part.column_names,
        features=datasets.Features({**FEATURES, "audio": STORED}),
    )


def _rows(batch: Mapping[str, list[Any]], indices: list[int], split: str, columns: Columns) -> dict[str, list[Any]]:
    """Say of one clip, with its sound, what a corpus says; nothing of one without a label."""
    example = {name: values[0] for name, values in batch.items()}
    row = _row(example, indices[0], split, columns) | {"audio": example[columns.audio]}
    if row["label"] is None:
        warnings.warn(f"The clip {row['id']} without a label is left out", stacklevel=2)
    return {name: [value] * (row["label"] is not None) for name, value in row.items()}


def _row(example: Mapping[str, Any], index: int, split: str, columns: Columns) -> dict[str, Any]:
    """Say of a clip what a corpus says."""
    where = f"{split}-{index}"
    audio, native = example[columns.audio], columns.read(example, columns.label)
    if audio is None or (audio["bytes"] is None and not columns.files):
        # A path in a stranger's table may be one of this machine.
        raise ValueError(
            f"Row {index} of {split} holds no sound"
            + (f" but names the file {audio['path']!r}" if audio else "")
            + ". Take a data set that holds its sounds, or load it whole, without streaming"
        )
    native = spelled(native).strip() if native else None
    label = house_label(native) if native else None
    label = label if label is None or label in LABELS else name_key(label)  # in one spelling
    group = [columns.read(example, column) for column in columns.together]
    group = None if not group or None in group else " / ".join(map(str, group))
    speaker = group if columns.speaker is None else columns.read(example, columns.speaker)
    return {
        **dict.fromkeys(FEATURES),
        "id": where,
        "label": label,
        "label4": label if label in FOUR_LABELS else None,
        "native_label": native,
        "speaker": None if speaker is None or speaker == "" else spelled(str(speaker)),
        "session": None if columns.speaker is None or group is None else spelled(group),
        "file": Path(audio["path"] or where).name,
        "duration": _seconds(audio),
    }


def _seconds(audio: Mapping[str, Any]) -> float:
    """Find a clip's duration; 0 where it is damaged, which whoever decodes it will say."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return audio_duration(audio["path"] if audio.get("bytes") is None else audio["bytes"])
    except (ValueError, OSError):
        return 0.0


def _without_unlabeled(rows: datasets.Dataset, name: str) -> datasets.Dataset:
    """Leave out clips without a label, which is told."""
    labels = rows["label"][:]
    kept = [index for index, label in enumerate(labels) if label is not None]
    if len(kept) == len(labels):
        return rows
    missing = (rows[index]["id"] for index in sorted(set(range(len(labels))) - set(kept))[:4])
    warnings.warn(
        f"{name}: {len(labels) - len(kept)} clip(s) without a label are left out: {first_few(missing)}", stacklevel=4
    )
    return rows.select(kept)


@contextmanager
def _noting_files() -> Iterator[None]:
    """Let datasets note where files lie; it asks for torchcodec before it looks at what there is to encode."""
    encode = datasets.Audio.encode_example

    def note(feature: datasets.Audio, value: Any) -> dict[str, Any]:
        return {"bytes": None, "path": value} if isinstance(value, str) else encode(feature, value)

    datasets.Audio.encode_example = note
    try:
        yield
    finally:
        datasets.Audio.encode_example = encode
