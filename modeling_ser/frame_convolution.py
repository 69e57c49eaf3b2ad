"""A convolution over frames whose features lie side by side in memory."""

import torch
from torch import nn
from torch.nn import functional as F


class FrameConv1d(nn.Conv1d):
    """`torch.nn.Conv1d` without a bias, for frames whose features lie side by side in memory.

    Source: slides, "Proposed architecture", Encoder: the convolution of `ConvLayer`.

    >>> FrameConv1d(384, 128, 5)(torch.randn(2, 9, 384)).shape
    torch.Size([2, 9, 128])
    """

    def __init__(self, in_size: int, out_size: int, kernel_size: int) -> None:
        super().__init__(in_size, out_size, kernel_size, padding="same", bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve frames, (batch, frames, in_size), into (batch, frames, out_size)."""
        return convolve_frames(x, self.weight)


def convolve_frames(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Convolve along the frames, with stride 1 and zeros around, so that their number is kept.

    >>> convolve_frames(torch.ones(1, 3, 2), torch.ones(1, 2, 3)).flatten().tolist()
    [4.0, 6.0, 4.0]
    """
    # Features side by side are, to a convolution over images of height 1, the layout "channels last": `conv1d` would
    # copy them into another one, and back, at a third more time on a CPU.
    image = x.transpose(1, 2).unsqueeze(2)  # (batch, in_size, 1, frames)
    image = F.conv2d(image, weight.unsqueeze(2), padding="same")  # (batch, out_size, 1, frames)
    return image.squeeze(2).transpose(1, 2)  # (batch, frames, out_size)


__all__ = ["FrameConv1d", "convolve_frames"]
