"""The networks of Lee and Tashev (2015): a BLSTM whose frame labels are hidden, and an extreme learning machine."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import linalg
from scipy.special import expit
from torch import nn

from .masked_blstm import MaskedBLSTM


@dataclass(frozen=True)
class LeeConfig:
    """Sizes of `LeeNetwork`."""

    feature_size: int = 32  # features of a frame
    num_labels: int = 4  # number of emotions
    hidden_size: int = 128  # cells of a layer, half of them in each direction
    num_layers: int = 2  # layers
    dropout: float = 0.3  # after each layer; ours


class LeeNetwork(nn.Module):
    """A BLSTM that gives every frame a distribution over the emotions and NULL, which stands for none.

    Source: Lee and Tashev, "High-level feature representation using recurrent neural network for speech emotion
        recognition", Interspeech 2015, for the BLSTM and the labels as random variables.

    >>> network = LeeNetwork(LeeConfig()).eval()
    >>> network(torch.randn(2, 50, 32), torch.ones(2, 50)).shape
    torch.Size([2, 4])
    """

    def __init__(self, config: LeeConfig) -> None:
        super().__init__()
        self.config = config
        if config.hidden_size % 2:
            raise ValueError(f"hidden_size, {config.hidden_size}, is divided between two directions: it must be even.")
        self.blstm = MaskedBLSTM(config.feature_size, config.hidden_size // 2, config.num_layers, config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels + 1)  # NULL is the last

    def frame_log_probabilities(self, input_features: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Give every frame its distribution."""
        hidden = self.blstm(input_features, attention_mask)  # (batch, frames, hidden_size)
        return self.classifier(self.dropout(hidden)).log_softmax(dim=-1)

    def forward(self, input_features: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Compute log P(e) of every emotion."""
        return utterance_log_likelihood(self.frame_log_probabilities(input_features, attention_mask), attention_mask)


def utterance_log_likelihood(frame_log_probabilities: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Sum over all sequences of frame labels that an emotion allows.

    >>> frames = torch.tensor([[[0.25, 0.25, 0.5], [0.5, 0.25, 0.25]]])
    >>> utterance_log_likelihood(frames.log(), torch.ones(1, 2)).exp()  # 3/4 · 3/4 - 1/8 and 3/4 · 1/2 - 1/8
    tensor([[0.4375, 0.2500]])
    """
    mask = attention_mask.to(frame_log_probabilities.dtype).unsqueeze(-1)  # (batch, frames, 1)
    emotions, null = frame_log_probabilities[..., :-1], frame_log_probabilities[..., -1:]
    either = (torch.logaddexp(emotions, null) * mask).sum(dim=1)  # (batch, num_labels)
    nothing = (null * mask).sum(dim=1)  # (batch, 1)
    # Below -1e-6, 1 - exp(…) is more than rounding, and its gradient is finite.
    difference = (nothing - either).clamp(max=-1e-6)
    return either + torch.log(-torch.expm1(difference))


def posterior_statistics(
    frame_log_probabilities: torch.Tensor, attention_mask: torch.Tensor, threshold: float = 0.2
) -> torch.Tensor:
    """Describe an utterance by its frames' posteriors.

    >>> frames = torch.tensor([[[0.25, 0.75], [0.5, 0.5]]])
    >>> posterior_statistics(frames.log(), torch.ones(1, 2))
    tensor([[0.5000, 0.2500, 0.3750, 1.0000]])
    """
    real = attention_mask.bool().unsqueeze(-1)  # (batch, frames, 1)
    posteriors = frame_log_probabilities[..., :-1].exp()  # (batch, frames, num_labels)
    count = real.sum(dim=1)  # (batch, 1)
    return torch.cat(
        [
            posteriors.masked_fill(~real, 0.0).amax(dim=1),
            posteriors.masked_fill(~real, 1.0).amin(dim=1),
            posteriors.masked_fill(~real, 0.0).sum(dim=1) / count,
            ((posteriors > threshold) & real).sum(dim=1) / count,
        ],
        dim=1,
    )


class ExtremeLearningMachine:
    """A layer of random sigmoids that is never trained, and a linear one fitted to it by least squares.

    Source: Huang, Zhu and Siew, "Extreme learning machine: theory and applications", Neurocomputing 70, 2006; the
        ridge is ours.

    >>> machine = ExtremeLearningMachine(hidden_size=20, seed=0)
    >>> x = np.array([[-1.0], [-0.5], [0.5], [1.0]])
    >>> machine.fit(x, np.array([0, 1, 1, 0]), num_labels=2, ridge=1e-3).decide(x).argmax(axis=1).tolist()
    [0, 1, 1, 0]
    """

    def __init__(self, hidden_size: int, seed: int) -> None:
        self.hidden_size, self.seed = hidden_size, seed

    def fit(self, x: np.ndarray, labels: np.ndarray, num_labels: int, ridge: float) -> "ExtremeLearningMachine":
        """Fit the output weights."""
        if not ridge > 0:
            raise ValueError(f"ridge must be positive, not {ridge}.")
        random = np.random.default_rng(self.seed)
        self._weights = random.standard_normal((x.shape[1], self.hidden_size)) / np.sqrt(x.shape[1])
        self._bias = random.standard_normal(self.hidden_size)
        self._mean, std = x.mean(axis=0), x.std(axis=0)
        self._std = np.where(std > 1e-8, std, 1.0)
        hidden = self._hidden(x)
        targets = 2.0 * np.eye(num_labels)[labels] - 1.0  # (clips, num_labels)
        gram = hidden.T @ hidden + ridge * np.eye(hidden.shape[1])
        self._output = linalg.solve(gram, hidden.T @ targets, assume_a="pos")
        return self

    def decide(self, x: np.ndarray) -> np.ndarray:
        """Return a value for each class, near 1 for the right one and -1 for others."""
        return self._hidden(x) @ self._output

    def _hidden(self, x: np.ndarray) -> np.ndarray:
        hidden = expit(((x - self._mean) / self._std) @ self._weights + self._bias)
        return np.concatenate([hidden, np.ones((len(x), 1))], axis=1)  # (clips, hidden_size + 1)


__all__ = [
    "ExtremeLearningMachine",
    "LeeConfig",
    "LeeNetwork",
    "posterior_statistics",
    "utterance_log_likelihood",
]
