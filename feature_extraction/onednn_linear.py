"""Linear maps by oneDNN: with AVX-512 it can be twice as fast as the library that torch takes for them by itself.

On one thread of an AMD EPYC with AVX-512 torch's own (MKL) reaches 100 Gflop/s and oneDNN 220; with AVX2 alone, and on
Intel's processors, oneDNN is the slower. Both compute in float32, equally exact.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# Products of more than a few rows are filled up to a multiple of it. Else oneDNN keeps half a gigabyte of code when an
# hour goes through Whisper base in windows of many lengths.
ROWS = 8


class OneDNNLinear(TorchFunctionMode):
    """Within `with OneDNNLinear():` linear maps of float32 tensors on the CPU are oneDNN's, their gradients too.

    Where torch has no oneDNN, or oneDNN is not the faster, or torch computes in another precision by itself,
    everything stays as it is. Blocks that are checkpointed must do without: they are computed again while torch goes
    backward, which it does outside of any mode.

    Example:
        >>> layer, frames = torch.nn.Linear(3, 2), torch.randn(5, 3)
        >>> with torch.no_grad(), OneDNNLinear():
        ...     out = layer(frames)
        >>> torch.allclose(out, layer(frames), atol=1e-6)
        True
    """

    @staticmethod
    def available() -> bool:
        """Say whether torch has oneDNN, and a processor on which that is the faster."""
        known = getattr(torch.cpu, "get_capabilities", dict)()  # older releases of torch have none
        fast = torch.backends.cpu.get_cpu_capability() == "AVX512" and "Intel" not in known.get("cpu_name", "")
        return fast and torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.linear and self.available() and not torch.is_autocast_enabled("cpu"):
            frames, weight, bias = _arguments(*args, **kwargs)
            if frames.device.type == "cpu" and frames.dtype == weight.dtype == torch.float32:
                return (
                    _Linear.apply(frames, weight, bias) if torch.is_grad_enabled() else _linear(frames, weight, bias)
                )
        return func(*args, **kwargs)


class _Linear(torch.autograd.Function):
    """y = x Wᵀ + b with its three gradients, each a linear map again: g W, gᵀ x and the sum of g."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Map x, (…, in), to (…, out)."""
        ctx.save_for_backward(x, weight)
        return _linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Give the gradients of x, the weight and the bias, those that are asked for."""
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        rows = gradient.flatten(0, -2)  # (all frames, out)
        return (
            _linear(gradient, weight.t().contiguous(), None) if of_x else None,
            _linear(rows.t().contiguous(), x.flatten(0, -2).t().contiguous(), None) if of_weight else None,
            rows.sum(dim=0) if of_bias else None,
        )


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Map x, (…, in), to (…, out); oneDNN keeps code for each number of rows that it has met, so they are few."""
    rows = x.reshape(-1, x.shape[-1])  # (rows, in)
    missing = -len(rows) % ROWS if len(rows) > 4 * ROWS else 0
    filled = functional.pad(rows, (0, 0, 0, missing)) if missing else rows
    mapped = torch.ops.mkldnn._linear_pointwise(filled, weight, bias, "none", [], "")
    return mapped[: len(rows)].view(*x.shape[:-1], len(weight))


def _arguments(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Arguments of `functional.linear`, however they were passed."""
    return input, weight, bias
