"""A strided convolution over one channel, computed as an ordinary one over the channels of blocks."""

import torch
from torch import nn
from torch.nn import functional as F


class BlockConv2d(nn.Conv2d):
    """2-D convolution over one channel whose steps are as long as blocks of s × s places.

    Source: ours; blocks as channels are known as space-to-depth, here `torch.nn.functional.pixel_unshuffle`.

    >>> BlockConv2d(8, (12, 16), stride=4)(torch.randn(2, 1, 128, 256)).shape
    torch.Size([2, 8, 30, 61])
    """

    def __init__(self, out_channels: int, kernel_size: tuple[int, int], stride: int) -> None:
        super().__init__(1, out_channels, kernel_size, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve."""
        step = self.stride[0]
        height, width = (
            (size - kernel) // step + 1 for size, kernel in zip(x.shape[2:], self.kernel_size, strict=True)
        )
        image = F.pixel_unshuffle(_fill(x, step), step)  # (batch, s², ⌈height / s⌉, ⌈width / s⌉)
        weight = F.pixel_unshuffle(_fill(self.weight, step), step)  # (out_channels, s², …)
        y = F.conv2d(
            image.contiguous(memory_format=torch.channels_last),
            weight.contiguous(memory_format=torch.channels_last),
            self.bias,
        )
        return y[..., :height, :width]  # the zeros that fill up the image may make one place more


def _fill(x: torch.Tensor, step: int) -> torch.Tensor:
    """Fill up height and width, the last two dimensions, with zeros to multiples of the step."""
    return F.pad(x, (0, -x.shape[3] % step, 0, -x.shape[2] % step))


__all__ = ["BlockConv2d"]
