"""What a recognizer got right: errors by age group, examples, every clip's text."""

from collections import defaultdict
from typing import Any

import numpy as np

from speech_emotion.evaluation import error_rates

from .ctc_card import ALL, Example, GroupErrors, SpokenSplit
from .ctc_split import TranscribedSplit

# Clips shown of each age group: these places in the order of the split.
EXAMPLE_PLACES = (0.2, 0.5, 0.8)


def describe_split(clips: TranscribedSplit, seconds_per_frame: float) -> dict[str, Any]:
    """Say who a split holds."""
    speakers: dict[str, set[str]] = defaultdict(set)
    for speaker, group in zip(clips.speakers, clips.groups, strict=True):
        speakers[group].add(speaker)
    return {
        "clips": len(clips),
        "hours": round(float(clips.num_frames.sum()) * seconds_per_frame / 3600, 3),
        "speakers": {group: sorted(members) for group, members in sorted(speakers.items())},
    }


def measure_split(
    clips: TranscribedSplit, hypotheses: list[str], losses: np.ndarray, seconds_per_frame: float
) -> SpokenSplit:
    """Measure a split, by age group."""
    members: dict[str, list[int]] = {group: [] for group in sorted(set(clips.groups))}
    for index, group in enumerate(clips.groups):
        members[group].append(index)
    examples = [
        Example(clips.ids[index], group, clips.transcripts[index], hypotheses[index])
        for group, indices in members.items()
        for index in (indices[int(place * len(indices))] for place in EXAMPLE_PLACES)
    ]
    parts = members if len(members) == 1 else members | {ALL: list(range(len(clips)))}
    return SpokenSplit(
        **describe_split(clips, seconds_per_frame),
        loss=float(losses.astype(np.float64).mean()),
        errors={group: _errors(clips, hypotheses, indices) for group, indices in parts.items()},
        examples=examples,
    )


def transcript_rows(name: str, clips: TranscribedSplit, hypotheses: list[str]) -> list[dict[str, str]]:
    """List what was said and what was recognized, clip by clip."""
    columns = (clips.ids, clips.speakers, clips.groups, clips.transcripts, hypotheses)
    keys = ("id", "speaker", "group", "reference", "hypothesis")
    return [dict(zip(keys, values, strict=True)) | {"split": name} for values in zip(*columns, strict=True)]


def _errors(clips: TranscribedSplit, hypotheses: list[str], indices: list[int]) -> GroupErrors:
    rates = error_rates([clips.transcripts[index] for index in indices], [hypotheses[index] for index in indices])
    return GroupErrors(
        speakers=len({clips.speakers[index] for index in indices}),
        clips=rates.clips,
        characters=rates.characters,
        words=rates.words,
        cer=rates.cer,
        wer=rates.wer,
    )


__all__ = ["describe_split", "measure_split", "transcript_rows"]
