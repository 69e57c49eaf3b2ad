"""Convolutions over the spectrogram as an image, before the paper's encoder: what is said a little higher is the same.

The paper's convolutions slide over time only, so that a pattern must be learned anew at every pitch. These slide over
the mel bands too, and shrink the image as they go.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from .frame_layers import MaskedBatchNorm

PLANES = 3  # log-mel, Δ, ΔΔ
# Frames are halved by the first two layers and then kept; bands are halved by each.
HALVING_LAYERS = 2


class SpectrogramStem(nn.Module):
    """Conv2d → batch normalization → ReLU, several times, over frames × mel bands with log-mel, Δ and ΔΔ as planes.

    Source: ours; the strided layout is that of residual networks (He et al., 2016) without their residuals.

    >>> stem = SpectrogramStem((16, 32, 64), input_size=384)
    >>> features, mask = stem(torch.randn(2, 50, 384), torch.ones(2, 50, 1))
    >>> features.shape, mask.shape
    (torch.Size([2, 13, 1024]), torch.Size([2, 13, 1]))
    """

    def __init__(self, channels: Sequence[int], input_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.num_bands = num_bands = input_size // PLANES
        sizes = [PLANES, *channels]
        self.strides = [(2 if layer < HALVING_LAYERS else 1, 2) for layer in range(len(channels))]  # frames, bands
        self.convs = nn.ModuleList(
            # The normalization subtracts the mean, so a bias here would be a parameter without effect.
            nn.Conv2d(size, out, kernel := 3 if layer else 5, stride, padding=kernel // 2, bias=False)
            for layer, (size, out, stride) in enumerate(zip(sizes, channels, self.strides, strict=False))
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(size) for size in channels)
        for _ in channels:
            num_bands = (num_bands + 1) // 2
        self.output_size = channels[-1] * num_bands
        self.frame_stride = 2 ** min(len(channels), HALVING_LAYERS)

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn spectrograms into fewer frames of other features."""
        planes = features.unflatten(-1, (PLANES, self.num_bands))  # (batch, frames, planes, bands)
        # The channels side by side in memory: the layout that convolutions over images are fastest in.
        image = planes.transpose(2, 3).contiguous().permute(0, 3, 1, 2)  # (batch, planes, frames, bands)
        for conv, norm, (frame_step, _) in zip(self.convs, self.norms, self.strides, strict=True):
            image = conv(image)  # (batch, channels, frames, bands)
            # `mask[:, ::frame_step]`, written so that torch.export sees the same length as the image's.
            mask = F.avg_pool1d(mask.transpose(1, 2), 1, frame_step).transpose(1, 2)  # (batch, frames, 1)
            places = image.permute(0, 2, 3, 1)  # (batch, frames, bands, channels)
            real = mask.unsqueeze(2)  # (batch, frames, 1, 1)
            places = F.relu(norm(places, real)) * real
            image = places.permute(0, 3, 1, 2)  # (batch, channels, frames, bands)
        return image.permute(0, 2, 3, 1).flatten(2), mask  # (batch, frames', bands × channels)


def average_frames(features: torch.Tensor, mask: torch.Tensor, stride: int) -> torch.Tensor:
    """Bring other features to the frames of a stem: frame j is the average of the real frames around frame j × stride.

    >>> features, mask = torch.tensor([[[1.0], [2.0], [6.0], [0.0]]]), torch.tensor([[[1.0], [1.0], [1.0], [0.0]]])
    >>> average_frames(features, mask, stride=2).flatten().tolist()
    [1.5, 4.0]
    """

    def pool(x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool1d(x.transpose(1, 2), stride + 1, stride, stride // 2).transpose(1, 2)

    # Both are sums over stride + 1 frames, divided alike. A window whose center is padding may reach a real frame.
    shares, centers = pool(mask), F.avg_pool1d(mask.transpose(1, 2), 1, stride).transpose(1, 2)
    return pool(features) / shares.clamp(min=1 / (stride + 1)) * centers  # (batch, frames', size)
