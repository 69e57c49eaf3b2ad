"""An epoch of the compared systems that are reduced in the tables, beside their sizes before that."""

import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

from reproduction.satt_2017 import SattConfig, SattNetwork
from reproduction.yenigalla_2018 import YenigallaConfig, YenigallaNetwork

CLIPS, BATCH = 430, 16  # training clips of a fold of EmoDB, on average
REPETITIONS = 3
LABELS = 7


def satt(**sizes: object) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Satt's network and a batch of segments of 3 s, a frame every 20 ms."""
    config = SattConfig(num_labels=LABELS, **sizes)
    return SattNetwork(config), _batch(150, config.num_bins)


def yenigalla(**sizes: object) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Yenigalla's spectrogram network and a batch of its fixed size."""
    config = YenigallaConfig(num_labels=LABELS, **sizes)
    network = YenigallaNetwork(config, spectrogram=True, phonemes=False)
    return network, _batch(config.num_frames, config.num_mel_bins)


# In Satt's paper sizes are not all given; what stands for them has twice the channels and cells of ours.
SIZES = {
    "Satt et al. 2017, as in the tables": (satt, {}),
    "the same, channels and cells twice as many": (satt, {"channels": (16, 32, 48), "hidden_size": 128}),
    "Yenigalla et al. 2018, spectrogram, as in the tables: stride 4": (yenigalla, {}),
    "the same, stride 1 as in the paper": (yenigalla, {"stride": 1}),
}


def step_seconds(network: nn.Module, batch: dict[str, torch.Tensor]) -> float:
    """Seconds of a training step but for the optimizer's."""
    start = time.perf_counter()
    F.cross_entropy(network(**batch), torch.arange(BATCH) % LABELS).backward()
    return time.perf_counter() - start


def main() -> str:
    """Measure, and return the section of RESULTS.md."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    made = {name: make(**sizes) for name, (make, sizes) in SIZES.items()}
    times: dict[str, list[float]] = {name: [] for name in made}
    for repetition in range(1 + REPETITIONS):
        for name, (network, batch) in made.items():
            seconds = step_seconds(network.train(), batch)
            if repetition:  # the first step also allocates
                times[name].append(seconds)
    torch.set_num_threads(before)
    rows = [
        f"| {name} | {statistics.median(seconds):.2f} | {statistics.median(seconds) * -(-CLIPS // BATCH):.0f} |"
        for name, seconds in times.items()
    ]
    return (
        "## An epoch of the compared systems that are reduced\n\n"
        f"Training steps of {BATCH} clips without the optimizer's, one thread, random features; medians of "
        f"{REPETITIONS} rounds in which all take turns. The epoch is that many steps as {CLIPS} clips make, as in a "
        "fold of EmoDB. The tables of `results/` have the reduced sizes. Repeat with "
        "`python -m benchmarks.bench_compared_epochs`.\n\n"
        "| system | seconds a step | seconds an epoch |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"
    )


def _batch(frames: int, features: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "input_features": torch.randn(BATCH, frames, features, generator=generator),
        "attention_mask": torch.ones(BATCH, frames, dtype=torch.int64),
    }


if __name__ == "__main__":
    print(main())
