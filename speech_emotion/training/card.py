"""The model card, filled with what a training measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from huggingface_hub import EvalResult, ModelCard

from speech_emotion.evaluation import confusion_table

from .card_parts import LIBRARY, TrainingReport, fill_card
from .stages import describe_stages

TEMPLATE = "model_card.md"
TASK = "audio-classification"
ENCODER = "A two-layer convolutional encoder with multi-head self-attention"


@dataclass(frozen=True)
class SplitReport:
    """What one split held and how the model did on it."""

    clips: int  # number of clips
    speakers: list[str]  # names of its speakers
    metrics: dict[str, float] = field(default_factory=dict)  # `wa`, `ua`, `macro_f1`, `weighted_f1`, each in [0, 1]
    confusion: list[list[int]] = field(default_factory=list)  # clips by true and predicted class, (classes, classes)


@dataclass(frozen=True)
class RunReport(TrainingReport):
    """Everything that a card says of a training; written to `results.json` as it is."""

    labels: list[str]
    streams: list[str]
    train: SplitReport
    validation: SplitReport
    test: SplitReport
    architecture: str = ENCODER
    heard_before: dict[str, dict[str, list[str]]] | None = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read a report back from what `results.json` holds."""
        splits = {name: SplitReport(**fields[name]) for name in ("train", "validation", "test")}
        return cls(**{**fields, **splits})


def template_path() -> Path:
    """Find the card's template: beside this file in an installed library, at the top of the project in a checkout."""
    for folder in (Path(__file__).parent, Path(__file__).parents[2]):
        if (folder / TEMPLATE).is_file():
            return folder / TEMPLATE
    raise FileNotFoundError(f"The template {TEMPLATE} is missing from the installation.")


def kept_epoch(arguments: Mapping[str, object]) -> str:
    """Say in words whose figures chose the epoch that was kept.

    >>> kept_epoch({"load_best_model_at_end": True})
    'The validation speakers chose the epoch; the test speakers chose nothing.'
    """
    if arguments.get("load_best_model_at_end", True):  # the default, where a report says nothing of it
        return "The validation speakers chose the epoch; the test speakers chose nothing."
    if arguments.get("early_stopping_patience"):
        return "The last epoch was kept; the validation speakers chose when to stop, the test speakers nothing."
    return "The last epoch was kept: neither the validation nor the test speakers chose anything."


def model_card(report: RunReport, repo_id: str, revision: str | None = None) -> ModelCard:
    """Fill the card."""
    results = [
        EvalResult(
            task_type=TASK,
            task_name="Speech emotion recognition",
            dataset_type=report.corpus,
            dataset_name=f"{report.title}, {split} speakers of {report.fold}",
            dataset_split=split,
            metric_type=kind,
            metric_name=label,
            metric_value=round(part.metrics[key], 4),
        )
        for split, part in (("test", report.test), ("validation", report.validation))
        for key, kind, label in (
            ("wa", "accuracy", "WA"),
            ("ua", "recall", "UA"),
            ("macro_f1", "f1", "macro F1"),
        )
    ]
    scores = [
        {
            "split": split,
            "wa": f"{part.metrics['wa']:.1%}",
            "ua": f"{part.metrics['ua']:.1%}",
            "clips": part.clips,
            "speakers": len(part.speakers),
        }
        for split, part in (("test", report.test), ("validation", report.validation))
    ]
    base = report.arguments.get("model_name_or_path")
    return fill_card(
        template_path(),
        report,
        repo_id,
        revision,
        task=TASK,
        tag="speech-emotion-recognition",
        results=results,
        labels=report.labels,
        architecture=report.architecture,
        origin="trained from scratch" if base is None else f"fine-tuned from `{base}`",
        normalized_by="the training clips" if base is None else "the clips that the original model was trained on",
        choice=kept_epoch(report.arguments),
        who="speakers never seen in training" if report.heard_before is not None else "speakers not in this training",
        doubt=""
        if report.heard_before is not None
        else "Whom the original model had heard is not known: if any of these speakers, the figures are too high. ",
        library_url=f"https://huggingface.co/models?other={LIBRARY}",
        scores=scores,
        chance=f"{1 / len(report.labels):.1%}",
        confusion=confusion_table(np.array(report.test.confusion), report.labels, markdown=True),
        train_speakers=", ".join(report.train.speakers),
        validation_speakers=", ".join(report.validation.speakers),
        test_speakers=", ".join(report.test.speakers),
        features="; ".join(report.streams),
        stages=" ".join(describe_stages(report.stages)),
    )


__all__ = ["ENCODER", "RunReport", "SplitReport", "kept_epoch", "model_card", "template_path"]
