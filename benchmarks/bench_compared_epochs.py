"""An epoch of the compared systems that are reduced in the tables, beside their sizes before that."""

import statistics
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.measuring import seconds_of, section, table, take_turns, threads
from reproduction.satt_2017 import SattConfig, SattNetwork
from reproduction.yenigalla_2018 import YenigallaConfig, YenigallaNetwork

CLIPS, BATCH = 430, 16  # training clips of a fold of EmoDB, on average
ROUNDS = 3
LABELS = 7


def satt(**sizes: object) -> tuple[nn.Module, torch.Tensor]:
    """Satt's network and a batch of segments of 3 s, a frame every 20 ms."""
    config = SattConfig(num_labels=LABELS, **sizes)
    return SattNetwork(config).train(), torch.randn(BATCH, 150, config.num_bins)


def yenigalla(**sizes: object) -> tuple[nn.Module, torch.Tensor]:
    """Yenigalla's spectrogram network and a batch of its fixed size."""
    config = YenigallaConfig(num_labels=LABELS, **sizes)
    network = YenigallaNetwork(config, spectrogram=True, phonemes=False)
    return network.train(), torch.randn(BATCH, config.num_frames, config.num_mel_bins)


def step(network: nn.Module, features: torch.Tensor) -> None:
    """Take a training step but for the optimizer's."""
    mask = torch.ones(features.shape[:2], dtype=torch.int64)
    logits = network(input_features=features, attention_mask=mask)
    F.cross_entropy(logits, torch.arange(BATCH) % LABELS).backward()


def main() -> str:
    # In Satt's paper sizes are not all given; what stands for them has twice the channels and cells of ours.
    made = {
        "Satt et al. 2017, as in the tables": satt(),
        "the same, channels and cells twice as many": satt(channels=(16, 32, 48), hidden_size=128),
        "Yenigalla et al. 2018, spectrogram, as in the tables: stride 4": yenigalla(),
        "the same, stride 1 as in the paper": yenigalla(stride=1),
    }
    with threads(1):
        times = take_turns({name: partial(seconds_of, partial(step, *pair)) for name, pair in made.items()}, ROUNDS)
    middles = {name: statistics.median(seconds) for name, seconds in times.items()}
    rows = [[name, f"{middle:.2f}", f"{middle * -(-CLIPS // BATCH):.0f}"] for name, middle in middles.items()]
    text = (
        f"Training steps of {BATCH} clips without the optimizer's, one thread, random features; medians of {ROUNDS} "
        f"rounds in which all take turns. The epoch is that many steps as {CLIPS} clips make, as in a fold of EmoDB. "
        "The tables of `results/` have the reduced sizes."
    )
    columns = ["system", "seconds a step", "seconds an epoch"]
    return section("An epoch of the compared systems that are reduced", text, table(columns, rows))
