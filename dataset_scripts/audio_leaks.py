"""What clips sound like, whatever they are called: the same recording in two splits of a fold is a leak."""

import hashlib
import io
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from feature_extraction.audio_decoding import MAX_SECONDS, decode_audio

from .fold_checks import Fold

# Beginnings of libsndfile's names for encodings whose samples are the same whoever decodes them (FLAC is one of PCM);
# those of Opus, Vorbis and MP3 differ, by a bit now and then, between versions of the decoder and processors.
EXACT = ("PCM_", "FLOAT", "DOUBLE", "ALAC_", "ULAW", "ALAW")
BEGINNING = 0.5
"""Seconds by which clips of equal length are compared before they are decoded whole."""


def check_audio_disjoint(folds: Fold | Iterable[Fold], rows: Iterable[Mapping[str, Any]]) -> None:
    """Assert that no recording is in two splits of a fold, even under another id, speaker or lossless encoding.

    What was cut, resampled or lossily encoded is not found. Several folds of one corpus take little longer than one.
    """
    folds = list(folds) if isinstance(folds, Iterable) else [folds]
    splits_of = [{clip_id: split for split, ids in fold.splits.items() for clip_id in ids} for fold in folds]
    # Cheap marks first, because decoding whole corpora would take minutes; rows are kept nowhere, because those of a
    # copy hold their audio.
    marks = {row["id"]: (round(row["duration"], 2), _beginning(row["audio"])) for row in _with_audio(rows)}
    suspects = {clip_id for group in _in_two_splits(marks, splits_of) for clip_id in group}
    if not suspects:
        return
    digests = {row["id"]: samples_digest(row["audio"]) for row in _with_audio(rows) if row["id"] in suspects}
    sounding = {clip_id: digest for clip_id, digest in digests.items() if digest is not None}
    for same in _in_two_splits(sounding, splits_of):
        for fold, split_of in zip(folds, splits_of, strict=True):
            known = [clip_id for clip_id in same if clip_id in split_of]
            other = next((clip_id for clip_id in known if split_of[clip_id] != split_of[known[0]]), None)
            if other is not None:
                raise ValueError(
                    f"Fold {fold.name!r}: the clips {known[0]!r} of {split_of[known[0]]} and {other!r} of "
                    f"{split_of[other]} are the same recording. Remove one of them, or correct its speaker"
                )


def decode_clip(audio: Mapping[str, Any], max_seconds: float | None = MAX_SECONDS) -> tuple[np.ndarray, float]:
    """Decode a clip as the models will hear it, through the one decoder, but at its own rate."""
    return decode_audio(dict(audio), max_seconds=max_seconds)


def read_header(audio: Mapping[str, Any]) -> Any:
    """Read the header of a clip's file or bytes."""
    return soundfile.info(_source(audio))


def digest_of(samples: Any, rate: int) -> str | None:
    """Hash samples; ``None`` for silence, which any two clips may share."""
    numbers = (samples * 32768).round().astype("<i4")
    if not numbers.any():
        return None
    return hashlib.sha256(f"{rate}/".encode() + numbers.tobytes()).hexdigest()


def samples_digest(audio: Mapping[str, Any], max_seconds: float | None = MAX_SECONDS) -> str | None:
    """Hash what a clip sounds like, whatever its container."""
    return digest_of(*decode_clip(audio, max_seconds))


def recording_digest(audio: Mapping[str, Any]) -> str | None:
    """Hash what a recording is on any machine: its samples, or its file where these depend on the decoder."""
    digest = samples_digest(audio)  # first, because it says what is wrong with a file
    if read_header(audio).subtype.startswith(EXACT):
        return digest
    content = Path(audio["path"]).read_bytes() if audio.get("bytes") is None else audio["bytes"]
    return hashlib.sha256(content).hexdigest()


def _source(audio: Mapping[str, Any]) -> str | io.BytesIO:
    return audio["path"] if audio.get("bytes") is None else io.BytesIO(audio["bytes"])


def _in_two_splits(marks: Mapping[str, Hashable], splits_of: list[dict[str, str]]) -> Iterator[list[str]]:
    """Yield the ids of one mark, where some fold has them in different splits."""
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for clip_id, mark in marks.items():
        groups[mark].append(clip_id)
    for group in groups.values():
        if len(group) > 1 and any(len({of[clip_id] for clip_id in group if clip_id in of}) > 1 for of in splits_of):
            yield group


def _beginning(audio: Mapping[str, Any]) -> bytes:
    """Hash the first half second, channels averaged; a file that cannot be read is left to the decoder to refuse."""
    source = _source(audio)
    if isinstance(source, str) and not Path(source).is_file():  # a pipe would keep us waiting
        return b""
    try:
        with soundfile.SoundFile(source) as file:
            frames = file.read(int(BEGINNING * file.samplerate), dtype="float32", always_2d=True)  # (frames, channels)
    except soundfile.LibsndfileError:
        return b""
    return hashlib.sha256((frames.mean(axis=1) * 32768).round().astype("<i4").tobytes()).digest()


def _with_audio(rows: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    columns = ["id", "audio", "duration"]
    if hasattr(rows, "select_columns"):
        missing = set(columns) - set(rows.column_names or columns)
        if missing:
            raise ValueError(f"The rows have no column {', '.join(sorted(missing))}, by which recordings are compared")
        return rows.select_columns(columns)
    return rows
