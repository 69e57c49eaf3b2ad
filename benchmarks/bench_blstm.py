"""A training step of the BLSTM over padded clips against torch's, of the same sizes, over packed ones."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from reproduction.masked_blstm import MaskedBLSTM

CLIPS, FRAMES, FEATURES, CELLS, LAYERS = 16, 300, 32, 64, 2  # as in Lee & Tashev 2015, for 3 s
REPETITIONS = 7

Read = Callable[[torch.Tensor], torch.Tensor]


def make_padded(mask: torch.Tensor) -> Read:
    blstm = MaskedBLSTM(FEATURES, CELLS, LAYERS)
    return lambda x: blstm(x, mask)


def make_packed(mask: torch.Tensor) -> Read:
    blstm = nn.LSTM(FEATURES, CELLS, LAYERS, batch_first=True, bidirectional=True)
    lengths = mask.sum(dim=1)

    def read(x: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(blstm(packed)[0], batch_first=True)[0]

    return read


CONTENDERS = {"padded": make_padded, "packed": make_packed}


def times_of(read: Read, x: torch.Tensor) -> tuple[float, float]:
    """Seconds forward and back."""
    start = time.perf_counter()
    output = read(x)
    middle = time.perf_counter()
    output.sum().backward()
    return middle - start, time.perf_counter() - middle


def main() -> str:
    """Measure, and return the section of RESULTS.md."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    lengths = torch.linspace(FRAMES, FRAMES // 2, CLIPS).round()
    mask = (torch.arange(FRAMES) < lengths[:, None]).long()
    x = torch.randn(CLIPS, FRAMES, FEATURES, generator=torch.Generator().manual_seed(0))
    contenders = {name: make(mask) for name, make in CONTENDERS.items()}
    for read in contenders.values():
        times_of(read, x)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(REPETITIONS):
        for name, read in contenders.items():
            times[name].append(times_of(read, x))
    torch.set_num_threads(before)
    rows = [
        f"| {name} | "
        + " | ".join(f"{1000 * statistics.median(column):.0f}" for column in zip(*pairs, strict=True))
        + " |"
        for name, pairs in times.items()
    ]
    ratios = sorted(sum(slow) / sum(fast) for slow, fast in zip(times["packed"], times["padded"], strict=True))
    return (
        "## A BLSTM over padded or packed clips\n\n"
        f"{CLIPS} clips of {FRAMES // 2} to {FRAMES} frames, {FEATURES} features, {LAYERS} layers of {CELLS} cells in "
        "each direction, one thread; a training step without the optimizer's. Padded: `MaskedBLSTM`; packed: "
        f"`torch.nn.LSTM`. Medians of {REPETITIONS} rounds in which the two take turns, in ms. Packed takes "
        f"{statistics.median(ratios):.1f} times as long ({ratios[0]:.1f} to {ratios[-1]:.1f} within a round). Repeat "
        "with `python -m benchmarks.bench_blstm`.\n\n"
        "| clips | forward | back |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    print(main())
