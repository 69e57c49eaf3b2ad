"""The best epoch's weights, kept in memory."""

import operator
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class BestWeights(TrainerCallback):
    """Keeps the weights of the epoch with the best validation metric, and stops when it gets no better."""

    def __init__(self, model: nn.Module, metric: str, patience: int = 0, greater_is_better: bool = True) -> None:
        self.model, self.metric, self.patience = model, f"eval_{metric.removeprefix('eval_')}", patience
        self.better = operator.gt if greater_is_better else operator.lt
        self.best: float | None = None
        self.best_epoch = self.epochs = 0
        self._weights: dict[str, torch.Tensor] = {}

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep the weights if they are better, else count."""
        value = (metrics or {})[self.metric]
        self.epochs += 1
        if self.best is None or self.better(value, self.best):
            self.best, self.best_epoch = value, self.epochs
            self._weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        elif self.patience and self.epochs - self.best_epoch >= self.patience:
            control.should_training_stop = True

    def restore(self) -> None:
        """Give the model the best epoch's weights."""
        if self.best is None:
            raise RuntimeError("No epoch was evaluated, so none is the best; train for at least one epoch.")
        self.model.load_state_dict(self._weights)


__all__ = ["BestWeights"]
