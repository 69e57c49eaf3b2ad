"""Satt, Rozenberg and Hoory (2017) as a compared system.

Source: Satt et al., "Efficient emotion recognition from speech using deep learning on spectrograms", Interspeech 2017.

The paper's: log spectrograms, segments of up to 3 s, convolutions followed by a (bidirectional) LSTM.

Ours: Hamming windows of 40 ms every 20 ms, frequencies below 4 kHz in bins of 25 Hz; a clip longer than 3 s is cut
into as few segments of equal length as go; segments are trained with the emotion of their clip, and a clip's score is
the mean over its segments; all sizes of the network, small enough that an epoch on one core is a matter of seconds;
AdamW; cross entropy without weights.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from modeling_ser.frame_layers import MaskedBatchNorm
from speech_emotion.cross_validation.system import FoldTask
from speech_emotion.training.splits import ClipSplit

from .compared_features import SpectrogramExtractor
from .compared_network import ComparedSystem, Items, Recipe, Statistics
from .masked_blstm import MaskedBLSTM

LONGEST_SECONDS = 3.0


@dataclass(frozen=True)
class SattConfig:
    """Sizes of `SattNetwork`; all are ours."""

    num_bins: int = 160  # frequencies of the spectrogram
    num_labels: int = 4
    channels: tuple[int, ...] = (8, 16, 24)  # each convolution halves frequency, the first two also time
    kernel_size: int = 5  # frames and bins that a convolution sees, odd
    hidden_size: int = 64  # cells of the BLSTM in each direction
    dropout: float = 0.3  # before the BLSTM and before the last layer


class SattNetwork(nn.Module):
    """Convolution → batch normalization → ReLU → max pooling, three times; BLSTM; mean over time; one dense layer.

    Padding changes no score: before every convolution padded frames are zero, as beyond a clip's end; a pooled frame
    is real if either of its two is; the BLSTM and the mean stop at the clip's end.
    """

    def __init__(self, config: SattConfig) -> None:
        super().__init__()
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
        """Score segments: logits, (batch, num_labels)."""
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


class Satt(ComparedSystem):
    """Convolutions and a BLSTM on log spectrograms of segments of up to 3 s."""

    config = SattConfig()
    recipe = Recipe(epochs=50, patience=8, learning_rate=1e-3)

    def make_extractor(self) -> SpectrogramExtractor:
        """Make the extractor of log spectrograms."""
        return SpectrogramExtractor(win_length=640, hop_length=320, max_frequency=self.config.num_bins * 25.0)

    def make_items(self, fold: FoldTask, clips: ClipSplit, statistics: Statistics) -> Items:
        """Cut the clips into segments."""
        extractor = self.make_extractor()
        return Items(clips, statistics, longest=int(LONGEST_SECONDS * extractor.sampling_rate / extractor.hop_length))

    def make_network(self, fold: FoldTask) -> nn.Module:
        """Make the network."""
        return SattNetwork(replace(self.config, num_labels=len(fold.labels)))

    def own_settings(self) -> dict[str, Any]:
        """Return the length of segments."""
        return {"longest_seconds": LONGEST_SECONDS}
