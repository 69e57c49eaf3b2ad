"""The network of Lakomkin et al. (2017): a recognizer of speech and, on its activations, one of emotions."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from .masked_blstm import MaskedBLSTM


@dataclass(frozen=True)
class LakomkinConfig:
    """Sizes of the emotion branch; all are this project's choice."""

    num_labels: int = 4  # number of classes
    activation_size: int = 256  # values of the recognizer's layer that the branch reads
    layer: int = 5  # that layer, as the recognizer's `hidden_states` count them
    hidden_size: int = 64  # cells of the branch's BLSTM in each direction
    dropout: float = 0.3  # before and after it


class JointOutput(NamedTuple):
    """What both branches give."""

    emotion_logits: torch.Tensor
    letter_logits: torch.Tensor


class LakomkinNetwork(nn.Module):
    """A recognizer of speech, whose activations the emotion branch reads.

    Source: Lakomkin et al., "Reusing neural speech representations for auditory emotion recognition", IJCNLP 2017, for
        the two branches; the sizes are ours.
    """

    def __init__(self, recognizer: nn.Module, config: LakomkinConfig) -> None:
        super().__init__()
        self.recognizer, self.config = recognizer, config
        # Activations of a trained recognizer reach 20, those of a random one stay near 0.
        self.norm = nn.LayerNorm(config.activation_size)
        self.blstm = MaskedBLSTM(config.activation_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(4 * config.hidden_size, config.num_labels)

    def both(self, input_features: torch.Tensor, attention_mask: torch.Tensor) -> JointOutput:
        """Score emotions and letters."""
        output = self.recognizer(input_features, attention_mask=attention_mask, output_hidden_states=True)
        activations = self.dropout(self.norm(output.hidden_states[self.config.layer]))
        hidden = self.blstm(activations, attention_mask)  # (batch, frames, 2 * hidden_size), 0 where padded
        real = attention_mask.bool().unsqueeze(-1)  # (batch, frames, 1)
        mean = hidden.sum(dim=1) / real.sum(dim=1)
        most = hidden.masked_fill(~real, -1.0).amax(dim=1)  # no output of an LSTM is below -1
        logits = self.classifier(self.dropout(torch.cat([mean, most], dim=1)))
        return JointOutput(logits, output.logits)

    def forward(
        self, input_features: torch.Tensor, attention_mask: torch.Tensor, symbols: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Score emotions."""
        return self.both(input_features, attention_mask).emotion_logits


__all__ = ["JointOutput", "LakomkinConfig", "LakomkinNetwork"]
