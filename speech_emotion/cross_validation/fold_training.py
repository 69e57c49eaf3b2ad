"""One training inside a cross-validation: as `train.py`'s, without what is written and printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn
from transformers import EvalPrediction

from speech_emotion.evaluation import classification_metrics
from speech_emotion.training.arguments import SERTrainingArguments
from speech_emotion.training.best_weights import BestWeights
from speech_emotion.training.clip_split import ClipSplit
from speech_emotion.training.epoch_table import EpochTableCallback
from speech_emotion.training.trainer import SERTrainer


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
    best = BestWeights(
        network,
        arguments.metric_for_best_model,
        arguments.early_stopping_patience,
        greater_is_better=arguments.greater_is_better,
    )
    trainer = SERTrainer(network, arguments, train, validation, feature_size=feature_size, callbacks=[best], **kwargs)
    trainer.remove_callback(EpochTableCallback)
    trainer.remove_callback(trainer.stop)  # a stopped fold is begun again: there is nothing to save
    trainer.compute_metrics = _metrics_of(network.config.num_labels)
    trainer.train()
    if keep_best:
        best.restore()
    scores = [_softmax(trainer.predict(clips).predictions) for clips in scored]
    parameters = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return TrainedFold(
        scores, _curve(trainer.state.log_history), best.best_epoch if keep_best else best.epochs, parameters
    )


def subset(clips: ClipSplit, indices: Sequence[int]) -> ClipSplit:
    """Take clips of a split, some perhaps several times."""
    ids, speakers, labels = (
        [values[index] for index in indices] for values in (clips.ids, clips.speakers, clips.labels)
    )
    return ClipSplit(clips.features, clips.positions[np.asarray(indices)], ids, speakers, labels)


def _metrics_of(num_labels: int) -> Any:
    # `evaluate`, through which `SERTrainer` goes, writes each evaluation's clips into an Arrow table first.
    def compute(prediction: EvalPrediction) -> dict[str, float]:
        return classification_metrics(prediction.label_ids, prediction.predictions.argmax(axis=-1), num_labels)

    return compute


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits, (clips, classes), in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _curve(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """One entry per epoch out of what Trainer logged."""
    losses = {entry["epoch"]: entry["loss"] for entry in history if "loss" in entry}
    return [
        {
            "epoch": entry["epoch"],
            "train_loss": losses.get(entry["epoch"]),
            "validation_loss": entry["eval_loss"],
            "validation_ua": entry["eval_ua"],
        }
        for entry in history
        if "eval_loss" in entry
    ]


__all__ = ["TrainedFold", "subset", "train_fold"]
