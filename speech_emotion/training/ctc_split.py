"""Transcribed clips of one split, as Trainer reads them."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import numpy as np

from .clip_split import ClipSplit
from .ctc_speakers import age_group
from .ctc_transcripts import encode_transcript, fewest_frames, normalize_transcript

logger = logging.getLogger(__name__)


class TranscribedSplit(ClipSplit):
    """Clips of one split with their transcripts; the features stay in the cache on disk."""

    def __init__(
        self,
        features: datasets.Dataset,
        positions: Sequence[int],
        clips: Sequence[Mapping[str, Any]],
        labels: Sequence[Sequence[int]],
    ) -> None:
        super().__init__(
            features, positions, [clip["id"] for clip in clips], [clip["speaker"] for clip in clips], labels
        )
        self.transcripts = [clip["transcript"] for clip in clips]
        self.groups = [age_group(clip["age"]) for clip in clips]


def make_transcribed_split(
    name: str,
    rows: datasets.Dataset,
    features: datasets.Dataset,
    vocabulary: dict[str, int],
    skip_bad: bool = False,
) -> TranscribedSplit:
    """Join clips, transcripts and features."""
    if "transcript" not in rows.column_names:
        raise ValueError("The corpus has no transcripts (no column 'transcript'), which recognition is learned from.")
    known = [column for column in ("id", "speaker", "age", "transcript") if column in rows.column_names]
    usable = {str(clip): index for index, clip in enumerate(features["id"][:])}
    num_frames = np.asarray(features["num_frames"][:])
    kept = []
    for row in rows.select_columns(known):
        position = usable.get(row["id"])
        if position is None:
            continue
        clip = {"age": None} | row | {"transcript": normalize_transcript(row["transcript"] or "")}
        try:
            labels = encode_transcript(clip["transcript"], vocabulary, clip["id"])
            if num_frames[position] < fewest_frames(labels):
                raise ValueError(
                    f"The clip {clip['id']!r} has {num_frames[position]} frames, too few for its transcript "
                    f"{clip['transcript']!r}. Correct one of them, or leave the clip out."
                )
        except ValueError as error:
            if not skip_bad:
                raise
            logger.warning("Skipped: %s", error)
            continue
        kept.append((position, clip, labels))
    if not kept:
        raise ValueError(f"The split {name} has no usable clip left.")
    kept.sort(key=lambda entry: num_frames[entry[0]])
    positions, clips, labels = zip(*kept, strict=True)
    return TranscribedSplit(features, positions, clips, labels)


__all__ = ["TranscribedSplit", "make_transcribed_split"]
