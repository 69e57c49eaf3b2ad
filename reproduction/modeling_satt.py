"""The network of Satt, Rozenberg and Hoory (2017): convolutions and a BLSTM over a log spectrogram."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from modeling_ser.frame_layers import MaskedBatchNorm

from .masked_blstm import MaskedBLSTM


@dataclass(frozen=True)
class SattConfig:
    """Sizes of `SattNetwork`; all are this project's choice."""

    num_bins: int = 160  # frequencies of the spectrogram
    num_labels: int = 4  # number of classes
    channels: tuple[int, ...] = (8, 16, 24)
    kernel_size: int = 5  # frames and bins that a convolution sees, odd
    hidden_size: int = 64  # cells of the BLSTM in each direction
    dropout: float = 0.3  # before the BLSTM and before the last layer


class SattNetwork(nn.Module):
    """Convolution → batch normalization → ReLU → max pooling, three times; BLSTM; mean over time; one dense layer.

    Source: Satt et al., "Efficient emotion recognition from speech using deep learning on spectrograms", Interspeech
        2017, for convolutions and BLSTM on log spectrograms of up to 3 s; sizes are ours.

    >>> network = SattNetwork(SattConfig(num_bins=40)).eval()
    >>> network(torch.randn(2, 90, 40), torch.ones(2, 90, dtype=torch.int64)).shape
    torch.Size([2, 4])
    """

    def __init__(self, config: SattConfig) -> None:
        super().__init__()
        self.config = config
        sizes = (1, *config.channels)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, config.kernel_size, padding="same", bias=False)
            for before, after in pairwise(sizes)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(size) for size in config.channels)
        bins = config.num_bins
        for _ in config.channels:
            bins = -(-bins // 2)
        self.blstm = MaskedBLSTM(bins * sizes[-1], config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(2 * config.hidden_size, config.num_labels)

    def forward(self, input_features: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Score stretches of speech."""
        mask = attention_mask.to(input_features.dtype)  # (batch, frames)
        x = input_features.unsqueeze(1) * mask[:, None, :, None]  # (batch, 1, frames, bins)
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = convolution(x).permute(0, 2, 3, 1)  # (batch, frames, bins, channels)
            x = norm(x, mask[:, :, None, None]).permute(0, 3, 1, 2)  # (batch, channels, frames, bins)
            x = F.relu(x) * mask[:, None, :, None]
            # Values are 0 or more: beside a real frame, a zero of the padding changes no maximum.
            window = (2 if number < 2 else 1, 2)
            x = F.max_pool2d(x, window, ceil_mode=True)  # (batch, channels, ⌈frames / 2⌉, ⌈bins / 2⌉)
            mask = F.max_pool1d(mask.unsqueeze(1), window[0], ceil_mode=True).squeeze(1)  # (batch, ⌈frames / 2⌉)
        x = x.transpose(1, 2).flatten(2)  # (batch, frames, channels * bins)
        hidden = self.blstm(self.dropout(x), mask)  # (batch, frames, 2 * hidden_size), 0 where padded
        mean = hidden.sum(dim=1) / mask.sum(dim=1, keepdim=True)  # (batch, 2 * hidden_size)
        return self.classifier(self.dropout(mean))


__all__ = ["SattConfig", "SattNetwork"]
