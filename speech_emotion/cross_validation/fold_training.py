"""One training inside a cross-validation: as `train.py`'s, without what is written and printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import EvalPrediction

from modeling_ser.modeling_ser import classification_loss
from speech_emotion.evaluation import classification_metrics
from speech_emotion.training.batches import FeatureCollator
from speech_emotion.training.run import run_training
from speech_emotion.training.splits import ClipSplit
from speech_emotion.training.task import TrainingTask
from speech_emotion.training.training_arguments import SERTrainingArguments


class _Ready(TrainingTask):
    """A network that is there already; the cross-validation's own task takes its place."""

    followed = ("ua",)

    def __init__(self, network: nn.Module, augmentations: Sequence[Any]) -> None:
        self.network, self.chances = network, list(augmentations)

    def make_network(self) -> nn.Module:
        return self.network

    def augmentations(self, network: nn.Module) -> list[Any]:
        return self.chances

    def metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        logits, labels = torch.from_numpy(prediction.predictions), torch.from_numpy(prediction.label_ids)
        loss = classification_loss(logits, labels, self.network.config).item()
        guessed = prediction.predictions.argmax(axis=-1)
        return classification_metrics(prediction.label_ids, guessed, self.network.config.num_labels) | {"loss": loss}


@dataclass(frozen=True)
class TrainedFold:
    """A trained network's scores."""

    scores: list[np.ndarray]  # for each split asked for, the probability of each emotion, (clips, classes), float64
    curve: list[dict[str, float]]  # per epoch `epoch`, `train_loss`, `validation_loss`, `validation_ua`
    best_epoch: int  # the epoch whose weights gave the scores, from 1; the last where that was asked for
    parameters: int  # number of trainable values


def train_fold(
    network: nn.Module,
    arguments: SERTrainingArguments,
    train: ClipSplit,
    validation: ClipSplit,
    scored: Sequence[ClipSplit],
    feature_size: int,
    keep_best: bool = True,
    **kwargs: Any,
) -> TrainedFold:
    """Train a network, keep its best epoch by the validation clips or its last, and score clips."""
    task = _Ready(network, kwargs.get("augmentations", ()))
    task.train, task.validation, task.collator = train, validation, FeatureCollator(feature_size)
    task.scored = {str(place): clips for place, clips in enumerate(scored)}
    arguments.load_best_model_at_end = keep_best
    result = run_training(task, arguments, save=False)
    scores = [_softmax(output.predictions) for output in result.outputs.values()]
    return TrainedFold(scores, result.curve, result.best_epoch, result.parameters)


def subset(clips: ClipSplit, indices: Sequence[int]) -> ClipSplit:
    """Take clips of a split, some perhaps several times."""
    ids, speakers, labels = (
        [values[index] for index in indices] for values in (clips.ids, clips.speakers, clips.labels)
    )
    return ClipSplit(clips.features, clips.positions[np.asarray(indices)], ids, speakers, labels)


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits, (clips, classes), in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
