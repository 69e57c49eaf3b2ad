"""The card of a trained recognizer, filled with what was measured."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard

from speech_emotion.evaluation import markdown_table

from .card_parts import TrainingReport, fill_card
from .stages import describe_stages

TEMPLATE = Path(__file__).with_name("ctc_card.md")
TASK = "automatic-speech-recognition"
ALL = "all"
CURVE_ROWS = 11  # of the card's learning curve; results.json has all


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


def recognizer_card(report: RecognitionReport, repo_id: str, revision: str | None = None) -> ModelCard:
    """Fill the card."""
    results = [
        EvalResult(
            task_type=TASK,
            task_name="Speech recognition",
            dataset_type=report.corpus,
            dataset_name=report.title,
            dataset_config=group,
            dataset_split=split,
            metric_type=kind,
            metric_name=kind.upper(),
            metric_value=round(getattr(errors, kind), 4),
        )
        for split, part in report.measured()
        for group, errors in part.errors.items()
        for kind in ("cer", "wer")
    ]
    settings = report.arguments
    augmentation = (
        f"Tempo changed by up to {settings['tempo']:.0%} and level by up to {settings['gain']:g} dB in each clip. "
        f"SpecAugment masks {settings['time_masks']} stretches of at most {settings['time_mask_frames']} frames and "
        f"{settings['feature_masks']} runs of at most {settings['feature_mask_size']} coefficients in each clip."
    )
    return fill_card(
        TEMPLATE,
        report,
        repo_id,
        revision,
        task=TASK,
        tag="deepspeech",
        results=results,
        hidden_size=report.hidden_size,
        errors=_errors_table(report),
        roles=_roles(report),
        half=report.half,
        examples=_examples_table(report),
        curve=_curve_table(report) if report.curve else "",
        splits=_describe(report),
        schedule=settings["lr_scheduler_type"],
        learning_rate=settings["learning_rate"],
        batch=settings["per_device_train_batch_size"]
        * settings["world_size"]
        * settings["gradient_accumulation_steps"],
        dropout=settings["dropout"],
        augmentation=augmentation,
        stages=" ".join(describe_stages(report.stages)),
        hours=f"{report.train.hours:.1f}",
        num_speakers=sum(map(len, report.train.speakers.values())),
    )


def _roles(report: RecognitionReport) -> str:
    if report.best_epoch is None:
        chosen, bias = "The last epoch was kept", ""
    else:
        chosen, bias = "The validation speakers chose the epoch", ", so on new speakers expect a little more"
    if report.test is None:
        return f"{chosen}{bias}. The test speakers have not been read."
    return f"{chosen}; the test speakers chose nothing and were read once."


def _errors_table(report: RecognitionReport) -> str:
    rows = [
        [split, group, errors.speakers, errors.clips, f"{errors.cer:.1%}", f"{errors.wer:.1%}"]
        for split, part in report.measured()
        for group, errors in part.errors.items()
    ]
    return markdown_table(["speakers", "age", "number", "clips", "CER", "WER"], rows)


def _examples_table(report: RecognitionReport) -> str:
    _, part = report.measured()[0]
    rows = [[example.group, example.reference, example.hypothesis] for example in part.examples]
    return markdown_table(["age", "said", "recognized"], rows)


def _curve_table(report: RecognitionReport) -> str:
    """Write the learning curve: some evaluations, evenly spaced, the first, the last and the kept one among them."""
    last = len(report.curve) - 1
    chosen = {round(last * step / (CURVE_ROWS - 1)) for step in range(CURVE_ROWS)} if last > 0 else {0}
    chosen |= {index for index, entry in enumerate(report.curve) if entry["epoch"] == report.best_epoch}
    rows = []
    for index in sorted(chosen):
        entry = report.curve[index]
        learned = "-" if entry["loss"] is None else f"{entry['loss']:.3f}"
        kept = " (kept)" if entry["epoch"] == report.best_epoch else ""
        figures = (f"{entry['eval_loss']:.3f}", f"{entry['eval_cer']:.1%}", f"{entry['eval_wer']:.1%}")
        rows.append([f"{entry['epoch']:g}{kept}", learned, *figures])
    return markdown_table(["epoch", "training loss", "validation loss", "validation CER", "validation WER"], rows)


def _describe(report: RecognitionReport) -> str:
    parts = [("Training", report.train), ("Validation", report.validation), ("Test", report.test)]
    sentences = []
    for name, part in parts:
        if part is None:
            continue
        groups = " and ".join(f"{len(speakers)} {group}" for group, speakers in sorted(part.speakers.items()))
        sentences.append(f"{name}: {part.clips} clips, {part.hours:.1f} hours, of {groups}.")
    return " ".join(sentences) + " No speaker is in two splits."


__all__ = ["ALL", "Example", "GroupErrors", "RecognitionReport", "SpokenSplit", "recognizer_card"]
