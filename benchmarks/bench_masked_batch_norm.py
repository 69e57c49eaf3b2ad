"""Masked batch normalization with its gradients written down against the same arithmetic by autograd."""

import statistics
import time
from collections.abc import Callable

import torch

from modeling_ser.frame_layers import MaskedBatchNorm

CLIPS, ROUNDS = 16, 15
# What comes after (batch) in the shape of the activations; 3 s of 25 ms frames are 120.
SIZES = {
    "encoder of Model-1 as the tables have it": (120, 64),
    "encoder, default sizes": (120, 128),
    "first layer of the best recipe's stem": (60, 64, 8),
}

Normalize = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def by_autograd(norm: MaskedBatchNorm) -> Normalize:
    """The formulas as they stand, for autograd to differentiate."""

    def normalize(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        places = tuple(range(x.dim() - 1))
        count = mask.expand(*x.shape[:-1], 1).sum()
        mean = (x * mask).sum(dim=places) / count
        var = ((x - mean).square() * mask).sum(dim=places) / count
        return (x - mean) * (norm.weight * torch.rsqrt(var + norm.eps)) + norm.bias

    return normalize


def seconds(normalize: Normalize, x: torch.Tensor, mask: torch.Tensor, seed: torch.Tensor) -> float:
    """Time of one way there and back."""
    start = time.perf_counter()
    normalize(x, mask).backward(seed)
    return time.perf_counter() - start


def compare(shape: tuple[int, ...]) -> tuple[list[float], list[float]]:
    """Seconds by autograd and by ours, round by round."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(CLIPS, *shape, generator=generator).requires_grad_()
    lengths = torch.randint(shape[0] // 2, shape[0] + 1, (CLIPS, 1), generator=generator)
    mask = (torch.arange(shape[0]) < lengths).float().view(CLIPS, shape[0], *[1] * (len(shape) - 1))
    seed = torch.randn(x.shape, generator=generator) * mask
    norm = MaskedBatchNorm(shape[-1])
    plain, ours = [], []
    for turn in range(ROUNDS + 1):
        times = seconds(by_autograd(norm), x, mask, seed), seconds(norm, x, mask, seed)
        if turn:  # the first is to warm up
            plain.append(times[0])
            ours.append(times[1])
    return plain, ours


def main() -> str:
    """Measure, and return the section of RESULTS.md."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    for name, shape in SIZES.items():
        plain, ours = compare(shape)
        ratios = sorted(slow / fast for slow, fast in zip(plain, ours, strict=True))
        milliseconds = " | ".join(f"{1000 * statistics.median(times):.2f}" for times in (plain, ours))
        rows.append(
            f"| {name} | {' × '.join(map(str, (CLIPS, *shape)))} | {milliseconds} | "
            f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}) |"
        )
    torch.set_num_threads(before)
    return (
        "## Masked batch normalization\n\n"
        "There and back, one thread, a quarter of the frames padding. Autograd: the same formulas, differentiated by "
        f"torch; ours: `MaskedBatchNorm`. Medians of {ROUNDS} rounds in which the two take turns, in ms; the ratio is "
        "taken within each round (least to greatest in brackets). Repeat with "
        "`python -m benchmarks.bench_masked_batch_norm`.\n\n"
        "| layer | activations | autograd | ours | times autograd |\n| --- | --- | --- | --- | --- |\n"
        + "\n".join(rows)
        + "\n"
    )


if __name__ == "__main__":
    print(main())
