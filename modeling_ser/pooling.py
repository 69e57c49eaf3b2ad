"""Pooling over time: contexts of the frames → one vector per clip."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from .frame_layers import MaskedBatchNorm

# Floor of a variance before its root, whose slope is infinite at 0: where all frames agree (a clip of one frame), the
# deviation is 0.001 and the gradient 0.
VARIANCE_FLOOR = 1e-6
# Variance of a channel that hardly moves; contexts are of the order of 1.
STILL_VARIANCE = 1e-2


class MeanPooling(nn.Module):
    """Average over real frames.

    Source: slides, "Proposed architecture": average pooling over time.

    >>> MeanPooling(128)(torch.ones(2, 9, 128), torch.ones(2, 9, 1)).shape
    torch.Size([2, 128])
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.pooled_size = size

    def forward(self, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool."""
        # In half precision the sum of a long clip would overflow.
        total, frames = (x.sum(dim=1, dtype=torch.promote_types(x.dtype, torch.float32)) for x in (context, mask))
        return (total / frames.clamp(min=1.0)).to(context.dtype)  # (batch, size)


class AttentionStatisticsPooling(nn.Module):
    """Mean and standard deviation over real frames, under learned weights of the frames.

    Source: Okabe, Koshinaka, Shinoda, "Attentive statistics pooling for deep speaker embedding", Interspeech 2018.

    >>> AttentionStatisticsPooling(128)(torch.ones(2, 9, 128), torch.ones(2, 9, 1)).shape
    torch.Size([2, 256])
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.pooled_size = 2 * size
        self.hidden = nn.Linear(size, size)
        self.score = nn.Linear(size, 1, bias=False)

    def forward(self, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool."""
        scores = self.score(self.hidden(context).tanh())  # (batch, frames, 1)
        # Half precision would lose digits in sums over hundreds of frames.
        wide = torch.promote_types(scores.dtype, torch.float32)
        # Not -inf: a clip without a real frame would become NaN. Where there is one, padding's weight is exactly 0.
        scores = scores.to(wide).masked_fill(mask == 0, torch.finfo(wide).min)
        weights = scores.softmax(dim=1)  # (batch, frames, 1), 0 where padded
        frames = context.to(wide)
        mean = (weights * frames).sum(dim=1, keepdim=True)  # (batch, 1, size)
        variance = (weights * (frames - mean).square()).sum(dim=1)  # (batch, size)
        std = variance.clamp(min=VARIANCE_FLOOR).sqrt()
        return torch.cat([mean.squeeze(1), std], dim=-1).to(context.dtype)  # (batch, 2 × size)


class FunctionalsPooling(nn.Module):
    """What a channel does over a clip: its mean, spread, trend and rhythm, normalized over the training clips.

    Source: the choice is ours; of functionals in general Schuller et al., "The INTERSPEECH 2009 Emotion Challenge".

    >>> FunctionalsPooling(128)(torch.randn(2, 9, 128), torch.ones(2, 9, 1)).shape
    torch.Size([2, 1024])
    """

    lags = (1, 2, 4, 8)

    def __init__(self, size: int) -> None:
        super().__init__()
        self.pooled_size = (4 + len(self.lags)) * size
        self.norm = MaskedBatchNorm(self.pooled_size)

    def forward(self, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool."""
        # Half precision would lose digits in sums over hundreds of frames.
        wide = torch.promote_types(context.dtype, torch.float32)
        found = functionals(context.to(wide), mask.to(wide), self.lags)  # (batch, pooled_size)
        return self.norm(found, found.new_ones(found.shape[0], 1)).to(context.dtype)


def functionals(context: torch.Tensor, mask: torch.Tensor, lags: Sequence[int]) -> torch.Tensor:
    """Compute mean, deviation, trend and autocorrelations over real frames; see `FunctionalsPooling`.

    >>> rising = torch.tensor([[[0.0], [1.0], [2.0], [3.0]]])
    >>> functionals(rising, torch.ones(1, 4, 1), lags=[1])
    tensor([[1.5000, 1.1180, 0.6250, 0.0000, 0.2480]])
    """
    number = mask.sum(dim=1).clamp(min=1.0)  # (batch, 1)
    mean = (context * mask).sum(dim=1) / number  # (batch, size)
    d = (context - mean.unsqueeze(1)) * mask  # (batch, frames, size), 0 where padded
    variance = d.square().sum(dim=1) / number
    # The real frames come first: frame j of n stands at (2 j + 1)/n - 1.
    t = (2 * torch.arange(context.shape[1], device=context.device) + 1)[:, None] / number.unsqueeze(1) - 1
    trend = [(d * polynomial).sum(dim=1) / number for polynomial in (t, (3 * t.square() - 1) / 2)]
    rhythm = []
    for lag in lags:
        # Beyond the last frame stand zeros, as in the padding, so that a product reaches no further than a clip.
        later = F.pad(d, (0, 0, 0, lag))[:, lag:]  # (batch, frames, size)
        rhythm.append((d * later).sum(dim=1) / number / (variance + STILL_VARIANCE))
    return torch.cat([mean, variance.clamp(min=VARIANCE_FLOOR).sqrt(), *trend, *rhythm], dim=-1)


class ClipStatistics(nn.Module):
    """Mean and standard deviation over real frames of every feature, normalized by their own over the training clips.

    >>> ClipStatistics(384)(torch.ones(2, 9, 384), torch.ones(2, 9, 1)).shape
    torch.Size([2, 768])
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(2 * size))
        self.register_buffer("std", torch.ones(2 * size))

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool."""
        # Half precision would lose digits in sums over hundreds of frames.
        wide = torch.promote_types(features.dtype, torch.float32)
        number = mask.to(wide).sum(dim=1).clamp(min=1.0)  # (batch, 1)
        mean = features.sum(dim=1, dtype=wide) / number  # (batch, size), padded frames are 0
        deviations = torch.addcmul(features.to(wide), mask.to(wide), mean.unsqueeze(1), value=-1)  # 0 where padded
        squares = deviations.square_().sum(dim=1)
        std = (squares / number).clamp(min=VARIANCE_FLOOR).sqrt()  # (batch, size)
        return ((torch.cat([mean, std], dim=-1) - self.mean) / self.std).to(features.dtype)  # (batch, 2 × size)


POOLINGS: dict[str, type[MeanPooling] | type[AttentionStatisticsPooling] | type[FunctionalsPooling]] = {
    "mean": MeanPooling,
    "attention_statistics": AttentionStatisticsPooling,
    "functionals": FunctionalsPooling,
}
