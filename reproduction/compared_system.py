"""What the systems with a network of others have in common."""

from abc import abstractmethod
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from speech_emotion.cross_validation.system import FoldOutcome, FoldTask, System
from speech_emotion.training.clip_split import ClipSplit

from .compared_items import Items, Statistics, statistics_of
from .compared_training import Recipe, cross_entropy, score_clips, train_network


class NetworkSystem(System):
    """A network trained by `train_network`; its epoch is chosen by validation UA."""

    def __init__(self, name: str, title: str, recipe: Recipe) -> None:
        super().__init__(name, title)
        self.recipe = recipe

    @abstractmethod
    def make_network(self, task: FoldTask) -> nn.Module:
        """Make the untrained network; torch's generator is seeded by the task."""

    def make_items(self, task: FoldTask, clips: ClipSplit, statistics: Statistics) -> Items:
        """Make what the network reads of a split; by default whole clips."""
        return Items(clips, statistics)

    def loss(self, network: nn.Module, inputs: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        """Compute what training makes small; by default cross entropy."""
        return cross_entropy(network, inputs, labels)

    def statistics(self, task: FoldTask) -> Statistics:
        """Estimate what features are normalized by."""
        return statistics_of(task.splits.train, self.make_extractor().feature_size)

    def train(self, task: FoldTask) -> tuple[nn.Module, list[Items], dict[str, Any]]:
        """Train."""
        statistics = self.statistics(task)
        items = [self.make_items(task, clips, statistics) for _, clips in task.splits.items()]
        torch.manual_seed(task.seed)
        network = self.make_network(task)
        about = train_network(network, self.recipe, *items[:2], task.seed, task.device, self.loss)
        return network, items, about

    def fit(self, task: FoldTask) -> FoldOutcome:
        """Train, and score the validation and test clips."""
        network, items, about = self.train(task)
        scores = [score_clips(network, part, self.recipe.batch_size, task.device) for part in items[1:]]
        return FoldOutcome(*scores, about)

    def settings(self) -> dict[str, Any]:
        """Return the recipe and the system's own settings."""
        return {"kind": "compared-network", "system": self.name, "recipe": asdict(self.recipe), **self.own_settings()}

    @abstractmethod
    def own_settings(self) -> dict[str, Any]:
        """Return sizes and whatever else its results depend on, for JSON."""


__all__ = ["NetworkSystem"]
