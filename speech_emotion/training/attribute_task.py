"""Valence, arousal and dominance, or some of them, in place of emotions."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import datasets
import numpy as np
from transformers import EvalPrediction, TrainingArguments
from transformers.trainer_utils import PredictionOutput

from dataset_scripts.names import first_few
from feature_extraction.safe_text import printable
from modeling_ser import SERForAudioClassification
from speech_emotion.evaluation.metrics import concordance_metrics

from .card import RunReport, SplitReport, describe_ranges, speakers_of
from .emotion_task import EmotionTask
from .final_task import FinalTask
from .run_record import corpus_title, public_name
from .splits import ClipSplit, Splits
from .task import COMMON_COLUMNS, TableColumn, TrainingResult

RATED = "rated"  # the one class of clips whose folds are made without regard to emotions


class AttributeTask(EmotionTask):
    """Numbers that raters gave to clips, learned by their concordance (CCC), in the units of the corpus.

    Clips without one of the attributes are left out. Speakers are divided as they are for emotions, but no emotion is
    looked at.
    """

    columns = (*COMMON_COLUMNS, TableColumn("eval_ccc", "val. CCC", "{:8.3f}"))
    followed = ("ccc",)

    def prepare(self, training: TrainingArguments) -> None:
        """Read corpus and features."""
        if training.metric_for_best_model == "ua":
            raise ValueError("Attributes have no UA: set metric_for_best_model to 'ccc'.")
        for name, none in (("class_weights", "none"), ("by_speaker", False), ("label_smoothing", 0.0)):
            if getattr(self.model, name) != none:
                raise ValueError(f"--{name} is for emotions, not for --attributes. Leave it out.")
        super().prepare(training)

    def _choose_rows(self, corpus: datasets.Dataset) -> tuple[datasets.Dataset, list[str]]:
        names = list(self.data.attributes)
        missing = [name for name in names if name not in corpus.column_names]
        if missing or len(set(names)) < len(names):
            raise ValueError(
                f"{corpus_title(corpus)} has no column of numbers {', '.join(map(printable, missing or names))}, or "
                "it is asked for twice. Lists of recordings may have valence, arousal and dominance; so has IEMOCAP."
            )
        values = np.array([corpus[name][:] for name in names], dtype=np.float64).T  # (clips, attributes), NaN for None
        rated = np.isfinite(values).all(axis=1)
        if not rated.any():
            raise ValueError(f"No clip of {corpus_title(corpus)} says its {', '.join(names)}.")
        if not rated.all():
            left_out = [clip for clip, kept in zip(corpus["id"], rated, strict=True) if not kept]
            warnings.warn(
                f"{len(left_out)} clip(s) are left out that do not say their {' and '.join(names)}: "
                f"{first_few(left_out)}",
                stacklevel=3,
            )
        self._values = dict(zip(np.array(corpus["id"])[rated].tolist(), values[rated].tolist(), strict=True))
        rows = corpus.select(np.flatnonzero(rated))
        return rows.remove_columns("label").add_column("label", [RATED] * len(rows)), names

    def _make_splits(self, labels: list[str], variants: list[datasets.Dataset], **how: Any) -> Splits:
        splits = super()._make_splits([RATED], variants, targets=self._values, **how)
        values = np.array(splits.train.targets)  # (clips, attributes)
        self.ranges = {
            name: [float(low), float(high)]
            for name, low, high in zip(labels, values.min(axis=0), values.max(axis=0), strict=True)
        }
        for name, (low, high) in self.ranges.items():
            if low == high:
                raise ValueError(f"The {name} of every training clip is {low:g}: there is nothing to learn.")
        return splits

    def _problem(self) -> dict[str, Any]:
        return {"problem_type": "regression", "loss": "ccc", "value_ranges": list(self.ranges.values())}

    def metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Measure the CCC of each attribute, and their mean; the loss is that of all clips together."""
        found = concordance_metrics(prediction.label_ids, prediction.predictions, self.labels)
        return found | {"loss": 1 - found["ccc"]}

    def calibrate(self, network: SERForAudioClassification, outputs: Mapping[str, PredictionOutput]) -> None:
        """Leave values as they are: they have no temperature."""

    def description(self) -> str:
        """Say in words who trains, validates and is tested, and what values there are."""
        lines = [
            f"{printable(public_name(self.data.corpus))}, {printable(self.fold.name)}: {describe_ranges(self.ranges)}"
        ]
        for name, clips in self.splits.items():
            lines.append(
                f"  {name:<10} {len(clips):5} clips; speakers {', '.join(map(printable, speakers_of(clips)))}"
            )
        return "\n".join(lines)

    def settings(self, training: TrainingArguments) -> dict[str, Any]:
        """Return what distinguishes one run from another."""
        return super().settings(training) | {"attributes": list(self.data.attributes)}

    def _learns_shares(self) -> bool:
        return False

    def report(self, result: TrainingResult, settings: dict[str, Any], stages: list[dict[str, Any]]) -> RunReport:
        """Tell what was measured, and of what."""
        return replace(super().report(result, settings, stages), ranges=self.ranges)

    def _report_split(
        self, name: str, clips: ClipSplit, output: PredictionOutput, temperature: float
    ) -> tuple[SplitReport, list[dict[str, Any]]]:
        metrics = concordance_metrics(output.label_ids, output.predictions, self.labels)
        scores = [
            {
                "id": clip,
                "split": name,
                "speaker": speaker,
                "values": dict(zip(self.labels, truth, strict=True)),
                "predictions": dict(zip(self.labels, found.tolist(), strict=True)),
            }
            for clip, speaker, truth, found in zip(
                clips.ids, clips.speakers, clips.targets, output.predictions, strict=True
            )
        ]
        return SplitReport(clips=len(clips), speakers=speakers_of(clips), metrics=metrics), scores


class FinalAttributeTask(FinalTask, AttributeTask):
    """Attributes of all clips of a corpus, after a run that left speakers out to validate and to test."""

    validated_as = AttributeTask
