"""Pooling over time: contexts of the frames → one vector per clip."""

import torch
from torch import nn

# Floor of a variance before its root, whose slope is infinite at 0: where all frames agree (a clip of one frame), the
# deviation is 0.001 and the gradient 0.
VARIANCE_FLOOR = 1e-6


class MeanPooling(nn.Module):
    """Average over real frames.

    Args:
        size: Size of a frame's context.

    Source: slides, "Proposed architecture": average pooling over time.

    Example:
        >>> MeanPooling(128)(torch.ones(2, 9, 128), torch.ones(2, 9, 1)).shape
        torch.Size([2, 128])
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.pooled_size = size

    def forward(self, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool.

        Args:
            context: C, (batch, frames, size), 0 where padded.
            mask: 1 for real frames and 0 for padding, (batch, frames, 1).

        Returns:
            Means, (batch, size); 0 for a clip without a real frame.
        """
        return context.sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)  # (batch, size)


class AttentionStatisticsPooling(nn.Module):
    """Mean and standard deviation over real frames, under learned weights of the frames.

    A score e_t = vᵀ tanh(W c_t + b) per frame gives the weights a = softmax(e), and these μ = Σ a_t c_t and
    σ² = Σ a_t (c_t - μ)² per channel. Okabe et al. write σ² = Σ a_t c_t² - μ², which is the same number but cancels in
    float32, below zero even. They also add a constant k to every score, which softmax takes out again: it is left out.

    Args:
        size: Size of a frame's context, and of the hidden layer W (our choice).

    Source: Okabe, Koshinaka, Shinoda, "Attentive statistics pooling for deep speaker embedding", Interspeech 2018.

    Example:
        >>> AttentionStatisticsPooling(128)(torch.ones(2, 9, 128), torch.ones(2, 9, 1)).shape
        torch.Size([2, 256])
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.pooled_size = 2 * size
        self.hidden = nn.Linear(size, size)
        self.score = nn.Linear(size, 1, bias=False)

    def forward(self, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool.

        Args:
            context: C, (batch, frames, size), 0 where padded.
            mask: 1 for real frames and 0 for padding, (batch, frames, 1).

        Returns:
            Weighted means, then weighted standard deviations, (batch, 2 × size).
        """
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


POOLINGS: dict[str, type[MeanPooling] | type[AttentionStatisticsPooling]] = {
    "mean": MeanPooling,
    "attention_statistics": AttentionStatisticsPooling,
}

__all__ = ["POOLINGS", "AttentionStatisticsPooling", "MeanPooling"]
