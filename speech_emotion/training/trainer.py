"""Trainer for speech-emotion models."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import EvalPrediction, TrainingArguments
from transformers.trainer_utils import EvalLoopOutput

from modeling_ser.modeling_ser import classification_loss
from speech_emotion.evaluation import SERMetric

from .clip_split import ClipSplit
from .collator import FeatureCollator
from .epoch_table import EMOTION_COLUMNS
from .reproducible_trainer import ReproducibleTrainer


class SERTrainer(ReproducibleTrainer):
    """Trains a classifier of emotions: repeatable, exactly resumable, safe to share from."""

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments,
        train_dataset: ClipSplit,
        eval_dataset: ClipSplit,
        *,
        feature_size: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            model,
            args,
            train_dataset,
            eval_dataset,
            columns=EMOTION_COLUMNS,
            data_collator=FeatureCollator(feature_size),
            compute_metrics=metric_function(model.config.num_labels),
            **kwargs,
        )

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Evaluate, with the loss of each clip counted once."""
        output = super().evaluation_loop(*args, **kwargs)
        prefix = kwargs.get("metric_key_prefix", "eval")
        if output.metrics.get(f"{prefix}_loss") is not None:
            logits, labels = torch.from_numpy(output.predictions), torch.from_numpy(output.label_ids)
            config = self.accelerator.unwrap_model(self.model).config
            output.metrics[f"{prefix}_loss"] = classification_loss(logits, labels, config).item()
        return output


def metric_function(num_labels: int) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return the function that Trainer calls after an evaluation."""

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        # Every process holds all predictions, so each computes alone and in memory: no files to meet in.
        metric = SERMetric(keep_in_memory=True)
        return metric.compute(
            predictions=np.argmax(prediction.predictions, axis=-1),
            references=prediction.label_ids,
            num_labels=num_labels,
        )

    return compute


__all__ = ["SERTrainer"]
