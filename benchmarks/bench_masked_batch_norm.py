"""Masked batch normalization with its gradients written down against the same arithmetic by autograd."""

import statistics
from functools import partial

import torch

from benchmarks.measuring import ratios, seconds_of, section, spread, table, take_turns, threads
from modeling_ser.frame_layers import MaskedBatchNorm

CLIPS, ROUNDS = 16, 15
# What comes after (batch) in the shape of the activations; 3 s of 25 ms frames are 120.
SIZES = {
    "encoder of Model-1 as the tables have it": (120, 64),
    "encoder, default sizes": (120, 128),
    "first layer of the best recipe's stem": (60, 64, 8),
}


def by_autograd(norm: MaskedBatchNorm, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The formulas as they stand, for autograd to differentiate."""
    places = tuple(range(x.dim() - 1))
    count = mask.expand(*x.shape[:-1], 1).sum()
    mean = (x * mask).sum(dim=places) / count
    var = ((x - mean).square() * mask).sum(dim=places) / count
    return (x - mean) * (norm.weight * torch.rsqrt(var + norm.eps)) + norm.bias


def compare(shape: tuple[int, ...]) -> tuple[list[float], list[float]]:
    """Seconds of one way there and back, by autograd and by ours, round by round."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(CLIPS, *shape, generator=generator).requires_grad_()
    lengths = torch.randint(shape[0] // 2, shape[0] + 1, (CLIPS, 1), generator=generator)
    mask = (torch.arange(shape[0]) < lengths).float().view(CLIPS, shape[0], *[1] * (len(shape) - 1))
    seed = torch.randn(x.shape, generator=generator) * mask
    norm = MaskedBatchNorm(shape[-1])
    ways = {"autograd": partial(by_autograd, norm), "ours": norm}
    times = take_turns(
        {name: lambda way=way: seconds_of(lambda: way(x, mask).backward(seed)) for name, way in ways.items()}, ROUNDS
    )
    return times["autograd"], times["ours"]


def main() -> str:
    rows = []
    with threads(1):
        for name, shape in SIZES.items():
            times = compare(shape)
            milliseconds = [f"{1000 * statistics.median(way):.2f}" for way in times]
            rows.append([name, " × ".join(map(str, (CLIPS, *shape))), *milliseconds, spread(ratios(*times), 1)])
    text = (
        "There and back, one thread, a quarter of the frames padding. Autograd: the same formulas, differentiated by "
        f"torch; ours: `MaskedBatchNorm`. Medians of {ROUNDS} rounds in which the two take turns, in ms; the ratio is "
        "taken within each round (least to greatest in brackets)."
    )
    columns = ["layer", "activations", "autograd", "ours", "times autograd"]
    return section("Masked batch normalization", text, table(columns, rows))
