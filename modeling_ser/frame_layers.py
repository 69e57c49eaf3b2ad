"""The encoder's layers over frames: what they give sees neither padding nor how a batch is divided among processes."""

from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class ConvLayer(nn.Module):
    """Conv1d → batch normalization → ReLU over real frames.

    Source: slides, "Proposed architecture", Encoder.

    >>> layer = ConvLayer(384, 128, 5)
    >>> layer(torch.randn(2, 9, 384), torch.ones(2, 9, 1)).shape
    torch.Size([2, 9, 128])
    """

    def __init__(self, in_size: int, out_size: int, kernel_size: int) -> None:
        super().__init__()
        # The normalization subtracts the mean, so a bias here would be a parameter without effect.
        self.conv = FrameConv1d(in_size, out_size, kernel_size)
        self.norm = MaskedBatchNorm(out_size)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Convolve, normalize, rectify."""
        # A clip alone sees zeros beyond its end, which is what "same" padding gives; so padded frames must be zeros
        # too, those that come in and those that go out.
        x = self.conv(x)  # (batch, frames, out_size)
        return F.relu(self.norm(x, mask)) * mask


class FrameConv1d(nn.Conv1d):
    """`torch.nn.Conv1d` of stride 1 without a bias, for frames whose features lie side by side in memory.

    >>> FrameConv1d(384, 128, 5)(torch.randn(2, 9, 384)).shape
    torch.Size([2, 9, 128])
    """

    def __init__(self, in_size: int, out_size: int, kernel_size: int) -> None:
        super().__init__(in_size, out_size, kernel_size, padding="same", bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve along the frames, (batch, frames, in_size), with zeros around them: their number is kept."""
        # Features side by side are, to a convolution over images of height 1, the layout "channels last": `conv1d`
        # would copy them into another one, and back, at a third more time on a CPU.
        image = x.transpose(1, 2).unsqueeze(2)  # (batch, in_size, 1, frames)
        image = F.conv2d(image, self.weight.unsqueeze(2), padding="same")  # (batch, out_size, 1, frames)
        return image.squeeze(2).transpose(1, 2)  # (batch, frames, out_size)


class MaskedBatchNorm(nn.Module):
    """Batch normalization over real frames only, over all processes in training.

    Source: Ioffe and Szegedy, 2015, Algorithm 1; the mask is ours.

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
        """Normalize each channel."""
        # Under autocast x may be half precision, whose sums over a batch lose digits.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        if not self.training:
            # The mean is subtracted first: scaled apart, the two would cancel where it is large beside the deviation.
            deviations = wide - self.running_mean
            scale = self.weight * torch.rsqrt(self.running_var + self.eps)
            return torch.addcmul(self.bias, deviations, scale).to(x.dtype)
        y, mean, var, count = BatchNormalization.apply(wide, mask.to(wide.dtype), self.weight, self.bias, self.eps)
        with torch.no_grad():
            unbiased = var * (count / (count - 1).clamp(min=1.0))
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        return y.to(x.dtype)


class BatchNormalization(torch.autograd.Function):
    """Normalization by the statistics of the batch, whose gradients are written down instead of recorded.

    Source: Ioffe and Szegedy, 2015, section 3; the mask is ours.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, mask: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Normalize; `bias` where padded."""
        places = tuple(range(x.dim() - 1))
        real = mask.expand(*x.shape[:-1], 1).sum(dtype=x.dtype).view(1)
        total = sum_over_processes(torch.cat([(x * mask).sum(dim=places), real]))  # (channels + 1,)
        count = total[-1].clamp(min=1.0)
        mean = total[:-1] / count  # (channels,)
        deviations = (x - mean).mul_(mask)  # (…, channels)
        var = sum_over_processes(deviations.square().sum(dim=places)) / count  # (channels,)
        rate = torch.rsqrt(var + eps)  # r, (channels,)
        ctx.save_for_backward(deviations, mask, weight, rate, count)
        ctx.mark_non_differentiable(mean, var, count)
        return torch.addcmul(bias, deviations, weight * rate), mean, var, count

    @staticmethod
    @once_differentiable  # by autograd's rules a gradient of this gradient would be wrong, as it knows nothing of x
    def backward(ctx: Any, gradient: torch.Tensor, *_: Any) -> tuple[torch.Tensor | None, ...]:
        """Turn the gradient of the activations into those of what they were and of scales and shifts."""
        deviations, mask, weight, rate, count = ctx.saved_tensors
        places = tuple(range(gradient.dim() - 1))
        real = gradient * mask
        through_var = (real * deviations).sum(dim=places)  # Σ g d, (channels,)
        both = sum_over_processes(torch.stack([real.sum(dim=places), through_var])) / count  # (2, channels)
        of_x = real.sub_(torch.addcmul(both[0], deviations, rate.square() * both[1])).mul_(mask).mul_(weight * rate)
        return of_x, None, rate * through_var, gradient.sum(dim=places), None


def sum_over_processes(x: torch.Tensor) -> torch.Tensor:
    """Sum a tensor over all training processes; the tensor itself where there is one process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    if torch.distributed.get_world_size() > 1:
        x = x.clone()
        torch.distributed.all_reduce(x)
    return x
