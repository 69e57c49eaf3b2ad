"""A training step of the BLSTM over padded clips against torch's, of the same sizes, over packed ones."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.measuring import ratios, section, table, take_turns, threads
from reproduction.masked_blstm import MaskedBLSTM

CLIPS, FRAMES, FEATURES, CELLS, LAYERS = 16, 300, 32, 64, 2  # as in Lee & Tashev 2015, for 3 s
ROUNDS = 7

Read = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def make_packed() -> Read:
    blstm = nn.LSTM(FEATURES, CELLS, LAYERS, batch_first=True, bidirectional=True)

    def read(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, mask.sum(dim=1), batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(blstm(packed)[0], batch_first=True)[0]

    return read


def step_seconds(read: Read) -> tuple[float, float]:
    """Seconds forward and back."""
    lengths = torch.linspace(FRAMES, FRAMES // 2, CLIPS).round()
    mask = (torch.arange(FRAMES) < lengths[:, None]).long()
    x = torch.randn(CLIPS, FRAMES, FEATURES, generator=torch.Generator().manual_seed(0))
    start = time.perf_counter()
    output = read(x, mask)
    middle = time.perf_counter()
    output.sum().backward()
    return middle - start, time.perf_counter() - middle


def main() -> str:
    padded, packed = MaskedBLSTM(FEATURES, CELLS, LAYERS), make_packed()
    contenders = {"padded": lambda: step_seconds(padded), "packed": lambda: step_seconds(packed)}
    with threads(1):
        times = take_turns(contenders, ROUNDS)
    rows = [
        [name, *(f"{1000 * statistics.median(column):.0f}" for column in zip(*pairs, strict=True))]
        for name, pairs in times.items()
    ]
    slower = ratios(*([sum(pair) for pair in times[name]] for name in ("packed", "padded")))
    text = (
        f"{CLIPS} clips of {FRAMES // 2} to {FRAMES} frames, {FEATURES} features, {LAYERS} layers of {CELLS} cells in "
        "each direction, one thread; a training step without the optimizer's. Padded: `MaskedBLSTM`; packed: "
        f"`torch.nn.LSTM`. Medians of {ROUNDS} rounds in which the two take turns, in ms. Packed takes "
        f"{statistics.median(slower):.1f} times as long ({min(slower):.1f} to {max(slower):.1f} within a round)."
    )
    return section("A BLSTM over padded or packed clips", text, table(["clips", "forward", "back"], rows))
