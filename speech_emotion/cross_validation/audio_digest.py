"""What the clips of a fold sound like, in a few digits: other recordings under the same names are another fold."""

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

import datasets
from datasets.fingerprint import Hasher

from dataset_scripts import Fold
from dataset_scripts.audio_leaks import recording_digest

# Part of the fingerprint: raise it when `recording_digest` hashes otherwise.
DIGEST_VERSION = 2
CLIPS_PER_BATCH = 100


def recordings_of(corpus: datasets.Dataset) -> dict[str, str | None]:
    """Hash every clip, its samples or its file, or find them hashed in the cache of `datasets`."""
    hashed = corpus.select_columns(["id", "audio", "file"]).map(
        _hash_clips,
        batched=True,
        batch_size=CLIPS_PER_BATCH,
        remove_columns=["audio", "file"],
        features=datasets.Features({"id": datasets.Value("string"), "recording": datasets.Value("string")}),
        new_fingerprint=Hasher.hash([corpus._fingerprint, "recordings", DIGEST_VERSION]),
        desc="Hashing recordings",
    )
    return dict(zip(hashed["id"][:], hashed["recording"][:], strict=True))


def audio_digest(fold: Fold, recordings: Mapping[str, str | None]) -> str:
    """Return a hash over the recordings of a fold.

    >>> fold = Fold(train=("a",), validation=("b",), test=("c",))
    >>> audio_digest(fold, {"a": "1f", "b": "2e", "c": None})
    'c18c4faff9ed4abc'
    """
    clips = sorted(itertools.chain.from_iterable(fold.splits.values()))
    lines = [f"{clip}\t{recordings[clip] or ''}" for clip in clips]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _hash_clips(batch: Mapping[str, list[Any]]) -> dict[str, list[str | None]]:
    recordings = []
    for clip, audio, file in zip(batch["id"], batch["audio"], batch["file"], strict=True):
        try:
            recordings.append(recording_digest(audio))
        except (ValueError, OSError) as error:
            raise type(error)(f"Clip {clip!r} ({file}): {error}") from error
    return {"recording": recordings}


__all__ = ["audio_digest", "recordings_of"]
