"""Batch normalization that sees neither padding nor how the batch is divided among processes."""

from typing import Any

import torch
import torch.distributed
from torch import nn


class MaskedBatchNorm(nn.Module):
    """Batch normalization over real frames only, over all processes in training.

    With a mask m of ones and zeros, count n = Σ m, mean μ = Σ m x / n and variance σ² = Σ m (x - μ)² / n per channel.
    The deviations are summed after the mean is known, because Σ x² - n μ² cancels in float32. Under distributed
    training Σ m x, n and Σ m (x - μ)² are summed over all processes through a differentiable all-reduce, so that 2
    processes x 8 clips train as 1 x 16 (`torch.nn.SyncBatchNorm` refuses the CPU and knows no mask).

    Args:
        num_features: Number of channels.
        eps: Added to the variance under the root.
        momentum: Share of a new batch in the running statistics.

    Source: Ioffe and Szegedy, 2015, Algorithm 1; the mask is ours.

    Example:
        >>> norm = MaskedBatchNorm(2)
        >>> norm(torch.randn(3, 7, 2), torch.ones(3, 7, 1)).shape
        torch.Size([3, 7, 2])
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Normalize each channel.

        Args:
            x: Activations, (batch, frames, …, channels).
            mask: 1 for real frames and 0 for padding, (batch, frames, …, 1), 1 long where all places of a frame are
                alike, in the dtype of `x`.

        Returns:
            Normalized activations, (batch, frames, …, channels); padded frames hold values of no meaning.
        """
        # Under autocast x may be half precision, whose sums over a batch lose digits.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        if self.training:
            mask = mask.to(wide.dtype)
            places = tuple(range(x.dim() - 1))
            real = mask.expand(*x.shape[:-1], 1).sum(dtype=wide.dtype).view(1)
            total = torch.cat([(wide * mask).sum(dim=places), real])  # (channels + 1,)
            total = sum_over_processes(total)
            count = total[-1].clamp(min=1.0)
            mean = total[:-1] / count  # (channels,)
            var = sum_over_processes(((wide - mean).square() * mask).sum(dim=places)) / count  # (channels,)
            with torch.no_grad():
                unbiased = var * (count / (count - 1).clamp(min=1.0))
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        else:
            mean, var = self.running_mean, self.running_var
        # The mean is subtracted first: scaled apart, the two would cancel where it is large beside the deviation.
        return ((wide - mean) * (self.weight * torch.rsqrt(var + self.eps)) + self.bias).to(x.dtype)


class SumOverProcesses(torch.autograd.Function):
    """Σ over processes of a tensor. Each process's loss depends on the sum, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        """Sum the tensors, of one shape, of all processes."""
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        """Sum the gradients of all processes."""
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total


def sum_over_processes(x: torch.Tensor) -> torch.Tensor:
    """Sum a tensor over all training processes, with gradients; the tensor itself where there is one process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    return SumOverProcesses.apply(x) if torch.distributed.get_world_size() > 1 else x


__all__ = ["MaskedBatchNorm", "SumOverProcesses", "sum_over_processes"]
