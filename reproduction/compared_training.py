"""How the compared networks are trained: one short loop for all of them."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from speech_emotion.evaluation import classification_metrics
from speech_emotion.training.sampler import LengthGroupedSampler

from .compared_items import Items

# What a batch costs: from the network, its arguments and the classes, (batch,), to a scalar.
Loss = Callable[[nn.Module, dict[str, torch.Tensor], torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """How to train."""

    epochs: int = 60  # at most
    patience: int = 10  # epochs without a better validation UA after which training ends
    batch_size: int = 16  # Clips, or stretches of clips, of a step
    optimizer: Literal["adamw", "adadelta"] = "adamw"  # "adamw" or "adadelta"
    learning_rate: float = 1e-3  # of the optimizer
    weight_decay: float = 1e-4  # of the optimizer
    gradient_norm: float = 1.0  # longer gradients are shortened to this length; 0 leaves them

    def __post_init__(self) -> None:
        if self.optimizer not in ("adamw", "adadelta"):
            raise ValueError(f"There is no optimizer {self.optimizer!r}; choose 'adamw' or 'adadelta'.")
        for name in ("epochs", "patience", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)!r}.")

    def make_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Make the optimizer of a network's parameters."""
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        if self.optimizer == "adamw":
            return torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)
        # As in the paper that describes it: its steps need no rate, 1 leaves them; torch's own decay is 0.9.
        return torch.optim.Adadelta(
            parameters, lr=self.learning_rate, rho=0.95, eps=1e-6, weight_decay=self.weight_decay
        )


def cross_entropy(network: nn.Module, inputs: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Compute the mean of -log p(class) of a network whose output is logits, (batch, classes)."""
    return F.cross_entropy(network(**inputs), labels)


def train_network(
    network: nn.Module,
    recipe: Recipe,
    train: Items,
    validation: Items,
    seed: int,
    device: str = "cpu",
    loss: Loss = cross_entropy,
) -> dict[str, Any]:
    """Train a network, and leave it with the weights of the epoch that does best on the validation clips."""
    torch.manual_seed(seed)
    network.to(device)
    optimizer = recipe.make_optimizer(network)
    sampler = LengthGroupedSampler(train.lengths, recipe.batch_size, seed)
    curve: list[dict[str, float]] = []
    best_ua, best_epoch, best_weights = -1.0, 0, network.state_dict()
    for epoch in range(1, recipe.epochs + 1):
        sampler.set_epoch(epoch - 1)
        train_loss = _train_epoch(network, recipe, optimizer, train, batches_of(list(sampler), recipe), device, loss)
        scores = score_clips(network, validation, recipe.batch_size, device)
        truth = validation.labels
        ua = classification_metrics(truth, scores.argmax(axis=1), scores.shape[1])["ua"]
        of_truth = np.maximum(scores[np.arange(len(truth)), truth], np.finfo(np.float64).tiny)
        point = {"epoch": epoch, "train_loss": train_loss, "validation_loss": float(-np.log(of_truth).mean())}
        curve.append({**point, "validation_ua": ua})
        if ua > best_ua:
            best_ua, best_epoch, best_weights = ua, epoch, copy.deepcopy(network.state_dict())
        elif epoch - best_epoch >= recipe.patience:
            break
    network.load_state_dict(best_weights)
    parameters = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return {"epochs": len(curve), "best_epoch": best_epoch, "parameters": parameters, "curve": curve}


@torch.no_grad()
def score_clips(network: nn.Module, items: Items, batch_size: int, device: str = "cpu") -> np.ndarray:
    """Score clips: the mean over a clip's items of the softmax of their logits."""
    network.to(device).eval()
    # Items of like length together, so that there is little padding to compute on.
    order = np.argsort(items.lengths, kind="stable")
    parts = []
    for start in range(0, len(order), batch_size):
        inputs, _ = items.batch(order[start : start + batch_size])
        logits = network(**{name: tensor.to(device) for name, tensor in inputs.items()})  # (batch, classes)
        parts.append(logits.double().softmax(dim=-1).cpu().numpy())
    scores = np.concatenate(parts)[np.argsort(order, kind="stable")]  # (items, classes)
    sums = np.zeros((len(items.clips), scores.shape[1]))
    np.add.at(sums, items.clip_of_item, scores)
    return sums / np.bincount(items.clip_of_item, minlength=len(sums))[:, None]


def batches_of(order: list[int], recipe: Recipe) -> list[list[int]]:
    """Cut an order into batches; a single item that is left over joins the last: it has no batch statistics.

    >>> batches_of([4, 1, 0, 2, 3], Recipe(batch_size=2))
    [[4, 1], [0, 2, 3]]
    """
    size = recipe.batch_size
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [batches[-2] + batches[-1]]
    return batches


def _train_epoch(
    network: nn.Module,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    items: Items,
    batches: list[list[int]],
    device: str,
    loss: Loss,
) -> float:
    """Go through the training clips once; return the mean loss of an item."""
    network.train()
    total = 0.0
    for indices in batches:
        inputs, labels = items.batch(indices)
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
        value = loss(network, inputs, labels.to(device))
        if not bool(value.isfinite()):
            raise FloatingPointError(f"The loss is {value.item()}; a lower learning_rate may help.")
        optimizer.zero_grad()
        value.backward()
        if recipe.gradient_norm:
            nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_norm)
        optimizer.step()
        total += value.item() * len(indices)
    return total / len(items)


__all__ = ["Loss", "Recipe", "cross_entropy", "score_clips", "train_network"]
