"""A convolution over frames whose features lie side by side in memory, with a faster way back on a CPU."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class FrameConv1d(nn.Conv1d):
    """`torch.nn.Conv1d` without a bias, for frames whose features lie side by side in memory.

    Called as a module, so that what hangs on modules (hooks that bring weights from elsewhere, pruning, adapters)
    works on it; its weight has the name and shape that it has in `torch.nn.Conv1d`.

    Args:
        in_size: Features per frame that come in.
        out_size: Channels that go out.
        kernel_size: Frames that a filter sees; stride 1 and zeros around keep the number of frames.

    Source: slides, "Proposed architecture", Encoder: the convolution of `ConvLayer`.

    Example:
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

    Args:
        x: Frames, (batch, frames, in_size).
        weight: Filters as `torch.nn.Conv1d` holds them, (out_size, in_size, kernel_size).

    Returns:
        (batch, frames, out_size), what `torch.nn.functional.conv1d(…, padding="same")` makes of the transposed frames.

    Example:
        >>> convolve_frames(torch.ones(1, 3, 2), torch.ones(1, 2, 3)).flatten().tolist()
        [4.0, 6.0, 4.0]
    """
    # A GPU's library needs no help, under autocast the products below would meet two dtypes, and compilers and
    # tracers have a way back of their own: torch's inductor fails behind this one when the number of frames changes.
    plain = torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.is_autocast_enabled("cpu")
    if x.device.type == "cpu" and torch.is_grad_enabled() and not plain:
        return FrameConvolution.apply(x, weight)
    return _convolve(x, weight)


class FrameConvolution(torch.autograd.Function):
    """`convolve_frames`, whose gradients are two matrix products.

    With L = ⌊(K - 1) / 2⌋ zeros before the first of T frames, x_s = 0 outside of them, and filters w_j:

        y_t = Σ_j w_j x_{t + j - L},   g_t = ∂loss / ∂y_t
        ∂loss / ∂w_j = Σ_t g_t x_{t + j - L}ᵀ = Σ_s g_{s + L - j} x_sᵀ
        ∂loss / ∂x_s = Σ_j w_jᵀ g_{s + L - j}

    Both read the same (frames × K out_size) matrix of gradients, moved by L - j for each j. `out_size` being small
    beside `in_size`, that is cheap to write down, and each sum over all frames, or over all j, becomes one product.
    oneDNN's kernel for the first is far from what a product reaches: `python -m benchmarks.bench_frame_convolution`.

    Source: ours; the gradients are the chain rule's.
    """

    generate_vmap_rule = True  # torch.func can map over it, as forward and backward are made of torch's operations

    @staticmethod
    def forward(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Convolve; arguments and result are those of `convolve_frames`."""
        return _convolve(x, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor], output: torch.Tensor) -> None:
        """Keep what the gradients are made of."""
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, of_x: torch.Tensor | None, of_weight: torch.Tensor | None) -> torch.Tensor:
        """Turn directions of frames and filters into the result's: the convolution is linear in each."""
        x, weight = ctx.saved_tensors
        moves = [] if of_x is None else [_convolve(of_x, weight)]
        moves += [] if of_weight is None else [_convolve(x, of_weight)]
        return sum(moves[1:], moves[0])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Turn the gradient of the result, (batch, frames, out_size), into those of frames and filters."""
        x, weight = ctx.saved_tensors
        batch, frames, in_size = x.shape
        out_size, _, kernel_size = weight.shape
        before = (kernel_size - 1) // 2
        after = kernel_size - 1 - before
        padded = F.pad(gradient, (0, 0, after, before))  # (batch, frames + kernel_size - 1, out_size)
        # Frame s of `padded` is frame s - after of `gradient`, and s + before - j + after = s + (kernel_size - 1 - j).
        moved = [padded[:, start : start + frames] for start in reversed(range(kernel_size))]
        moved = torch.cat(moved, dim=2).view(-1, kernel_size * out_size)  # (batch * frames, kernel_size * out_size)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            filters = weight.permute(2, 0, 1).reshape(kernel_size * out_size, in_size)
            of_x = (moved @ filters).view(batch, frames, in_size)
        if ctx.needs_input_grad[1]:
            products = moved.T @ x.reshape(-1, in_size)  # (kernel_size * out_size, in_size)
            of_weight = products.view(kernel_size, out_size, in_size).permute(1, 2, 0)
        return of_x, of_weight


def _convolve(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    # Features side by side are, to a convolution over images of height 1, the layout "channels last": `conv1d` would
    # copy them into another one, and back, at a third more time on a CPU.
    image = F.conv2d(
        x.transpose(1, 2).unsqueeze(2), weight.unsqueeze(2), padding="same"
    )  # (batch, out_size, 1, frames)
    return image.squeeze(2).transpose(1, 2)  # (batch, frames, out_size)


__all__ = ["FrameConv1d", "FrameConvolution", "convolve_frames"]
