"""What a recognizer got right, by age group, and the card that says it; its words are `ctc_card.md`'s."""

from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import ModelCard

from speech_emotion.evaluation.error_rates import error_rates

from .card import TrainingReport, eval_result, fill_card, for_markdown
from .ctc_data import TranscribedSplit

TEMPLATE = Path(__file__).with_name("ctc_card.md")
TASK = "automatic-speech-recognition"
ALL = "all"
CURVE_ROWS = 11  # of the card's learning curve; results.json has all
# Clips shown of each age group: these places in the order of the split.
EXAMPLE_PLACES = (0.2, 0.5, 0.8)


@dataclass(frozen=True)
class GroupErrors:
    """Errors of the speakers of one age group."""

    speakers: int  # number of speakers
    clips: int  # number of clips
    characters: int  # letters of the transcripts
    words: int  # words of the transcripts
    cer: float  # character error rate
    wer: float  # word error rate


@dataclass(frozen=True)
class Example:
    """What was said and what was recognized."""

    id: str  # of the clip
    group: str  # age group of the speaker
    reference: str  # transcript
    hypothesis: str  # greedy decode


@dataclass(frozen=True)
class SpokenSplit:
    """What one split held and how the model did on it."""

    clips: int  # number of clips
    hours: float  # their length
    speakers: dict[str, list[str]]  # Speakers, by age group
    loss: float | None = None  # CTC loss in nats per letter, each clip counted once; `None` where nothing was measured
    errors: dict[str, GroupErrors] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)  # some clips


@dataclass(frozen=True)
class RecognitionReport(TrainingReport):
    """Everything that a card says of a training; written to `results.json` as it is."""

    hidden_size: int
    half: bool
    best_epoch: float | None
    train: SpokenSplit
    validation: SpokenSplit
    test: SpokenSplit | None
    curve: list[dict[str, float]]
    stages: list[dict[str, Any]] = field(default_factory=list)

    def measured(self) -> list[tuple[str, SpokenSplit]]:
        """Return name and figures of the splits that were measured, the test first."""
        parts = [("test", self.test), ("validation", self.validation)]
        return [(name, part) for name, part in parts if part is not None]


def describe_split(clips: TranscribedSplit, seconds_per_frame: float) -> SpokenSplit:
    """Tell who a split holds."""
    speakers: dict[str, set[str]] = defaultdict(set)
    for speaker, group in zip(clips.speakers, clips.groups, strict=True):
        speakers[group].add(speaker)
    hours = round(float(clips.num_frames.sum()) * seconds_per_frame / 3600, 3)
    return SpokenSplit(len(clips), hours, {group: sorted(members) for group, members in sorted(speakers.items())})


def split_in_words(clips: TranscribedSplit, seconds_per_frame: float) -> str:
    """Say in words who a split holds."""
    part = describe_split(clips, seconds_per_frame)
    groups = ", ".join(f"{len(speakers)} {group}" for group, speakers in part.speakers.items())
    return f"{part.clips:5} clips, {part.hours:.2f} hours, {groups}"


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
    return replace(
        describe_split(clips, seconds_per_frame),
        loss=float(losses.astype(np.float64).mean()),
        errors={group: _errors(clips, hypotheses, indices) for group, indices in parts.items()},
        examples=examples,
    )


def _errors(clips: TranscribedSplit, hypotheses: list[str], indices: list[int]) -> GroupErrors:
    rates = error_rates([clips.transcripts[index] for index in indices], [hypotheses[index] for index in indices])
    speakers = len({clips.speakers[index] for index in indices})
    return GroupErrors(speakers, rates.clips, rates.characters, rates.words, rates.cer, rates.wer)


def transcript_rows(name: str, clips: TranscribedSplit, hypotheses: list[str]) -> list[dict[str, str]]:
    """List what was said and what was recognized, clip by clip."""
    columns = (clips.ids, clips.speakers, clips.groups, clips.transcripts, hypotheses)
    keys = ("id", "speaker", "group", "reference", "hypothesis")
    return [dict(zip(keys, values, strict=True)) | {"split": name} for values in zip(*columns, strict=True)]


def recognizer_card(report: RecognitionReport, repo_id: str, revision: str | None = None) -> ModelCard:
    """Fill the card."""
    results = [
        eval_result(report, TASK, report.title, split, kind, kind.upper(), getattr(errors, kind), dataset_config=group)
        for split, part in report.measured()
        for group, errors in part.errors.items()
        for kind in ("cer", "wer")
    ]
    return fill_card(
        TEMPLATE,
        report,
        repo_id,
        revision,
        TASK,
        "deepspeech",
        results,
        measured=[(name, for_markdown(asdict(part))) for name, part in report.measured()],
        curve=_shown(report),
    )


def _shown(report: RecognitionReport) -> list[dict[str, float]]:
    """Pick some evaluations, evenly spaced, the first, the last and the kept one among them."""
    last = len(report.curve) - 1
    chosen = {round(last * step / (CURVE_ROWS - 1)) for step in range(CURVE_ROWS)} if last > 0 else {0}
    chosen |= {index for index, entry in enumerate(report.curve) if entry["epoch"] == report.best_epoch}
    return [report.curve[index] for index in sorted(chosen)] if report.curve else []
