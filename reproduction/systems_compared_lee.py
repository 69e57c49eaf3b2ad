"""Lee and Tashev (2015) as a compared system."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from torch import nn

from reproduction.modeling_lee import ExtremeLearningMachine, LeeConfig, LeeNetwork, posterior_statistics
from speech_emotion.cross_validation.system import FoldOutcome, FoldTask, System
from speech_emotion.evaluation import classification_metrics
from speech_emotion.evaluation.calibration import apply_temperature, fit_temperature

from .compared_items import Items
from .compared_system import NetworkSystem
from .compared_training import Recipe
from .lee_features import LeeFeatureExtractor

ELM_SIZE = 120
RIDGES = tuple(float(10.0**exponent) for exponent in range(-3, 4))
THRESHOLD = 0.2


class Lee(NetworkSystem):
    """A BLSTM whose frame labels are random variables, and an extreme learning machine over its posteriors."""

    def __init__(self, name: str, title: str, config: LeeConfig | None = None, recipe: Recipe | None = None) -> None:
        super().__init__(name, title, recipe or Recipe(epochs=60, patience=10, learning_rate=2e-3))
        self.config = config or LeeConfig()

    def make_extractor(self) -> LeeFeatureExtractor:
        """Make the extractor of the 32 features."""
        return LeeFeatureExtractor()

    def make_network(self, task: FoldTask) -> nn.Module:
        """Make the BLSTM."""
        return LeeNetwork(replace(self.config, num_labels=len(task.labels)))

    def loss(self, network: nn.Module, inputs: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        """Compute the mean over clips of -log P(emotion) per frame."""
        likelihood = network(**inputs).gather(1, labels[:, None]).squeeze(1)  # (batch,)
        return -(likelihood / inputs["attention_mask"].sum(dim=1)).mean()

    def fit(self, task: FoldTask) -> FoldOutcome:
        """Train the BLSTM, fit the machine to its posteriors, and score."""
        network, items, about = self.train(task)
        train, validation, test = (self._statistics(network, part, task.device) for part in items)
        truth, num_labels = items[1].labels, len(task.labels)
        best: tuple[float, float, ExtremeLearningMachine] | None = None
        for ridge in reversed(RIDGES):
            machine = ExtremeLearningMachine(ELM_SIZE, task.seed).fit(train, items[0].labels, num_labels, ridge)
            ua = classification_metrics(truth, machine.decide(validation).argmax(axis=1), num_labels)["ua"]
            if best is None or ua > best[0]:
                best = ua, ridge, machine
        ua, ridge, machine = best
        scores = [softmax(machine.decide(part), axis=1) for part in (validation, test)]
        temperature = fit_temperature(truth, scores[0])
        about |= {"ridge": ridge, "temperature": temperature, "machine_validation_ua": ua}
        return FoldOutcome(*(apply_temperature(part, temperature) for part in scores), about)

    def own_settings(self) -> dict[str, Any]:
        """Return sizes and the machine's grid."""
        machine = {"hidden_size": ELM_SIZE, "ridges": list(RIDGES), "threshold": THRESHOLD}
        return {"network": asdict(self.config), "machine": machine}

    @torch.no_grad()
    def _statistics(self, network: nn.Module, items: Items, device: str) -> np.ndarray:
        """Describe clips by their frames' posteriors: (clips, 4 * num_labels), float64."""
        network.eval()
        rows = []
        for start in range(0, len(items), self.recipe.batch_size):
            inputs, _ = items.batch(range(start, min(start + self.recipe.batch_size, len(items))))
            inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
            frames = network.frame_log_probabilities(**inputs)
            rows.append(posterior_statistics(frames, inputs["attention_mask"], THRESHOLD).double().cpu().numpy())
        return np.concatenate(rows)


def lee_2015() -> System:
    """Make the system with the paper's sizes."""
    return Lee("lee-2015", "Lee & Tashev 2015, BLSTM + extreme learning machine")


def make_system(name: str) -> System:
    """Make the system of a name, as the registry asks."""
    return {"lee-2015": lee_2015}[name]()


__all__ = ["Lee", "lee_2015", "make_system"]
