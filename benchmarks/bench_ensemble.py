"""Two ways of running the members of an ensemble: one after another, or at once with stacked weights.

Stacked: `torch.func.stack_module_state` and `vmap`, which turns the members' first convolutions into one with all
their channels, the second into one with as many groups as members, and their matrix products into batched ones.
Processor time is told beside the time on the clock: it is steadier where other work runs too.
"""

import copy
import itertools
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.measuring import ratios, section, spread, table, take_turns, threads
from modeling_ser import SERConfig, SEREnsembleForAudioClassification
from modeling_ser.classification_loss import log_mean_posterior

MEMBERS = 3
FRAMES = 120  # 3 s
INPUT_SIZES = {384: "Model-1", 2432: "Model-3"}
BATCHES = (1, 16)
THREADS = (1, 2)
ROUNDS = 9
SECONDS = 0.05  # that one turn of one contender is to last about

Times = tuple[float, float]  # seconds on the clock, seconds of the processors
Score = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def make_batch(clips: int, input_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (clips, frames, input_size) and mask (clips, frames); the clips last from half the frames to all."""
    features = torch.randn(clips, FRAMES, input_size, generator=torch.Generator().manual_seed(1))
    lengths = torch.linspace(FRAMES, FRAMES // 2, clips).round()
    return features, (torch.arange(FRAMES) < lengths[:, None]).long()


def make_stacked(ensemble: SEREnsembleForAudioClassification) -> Score:
    weights, buffers = torch.func.stack_module_state(list(ensemble.members))
    skeleton = copy.deepcopy(ensemble.members[0]).to("meta")

    def run(weights: dict, buffers: dict, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(skeleton, (weights, buffers), (features, mask)).logits

    members = torch.vmap(run, in_dims=(0, 0, None, None))
    return lambda features, mask: log_mean_posterior(members(weights, buffers, features, mask))


def time_of(score: Score, batch: tuple[torch.Tensor, torch.Tensor], passes: int) -> Times:
    """Seconds on the clock and seconds of the processors that a pass takes, on average."""
    start, start_processor = time.perf_counter(), time.process_time()
    for _ in range(passes):
        score(*batch)
    return (time.perf_counter() - start) / passes, (time.process_time() - start_processor) / passes


@torch.inference_mode()
def measure(input_size: int, clips: int) -> dict[str, list[Times]]:
    """Times per batch of every contender in every round."""
    torch.manual_seed(0)
    config = SERConfig(input_size=input_size, num_labels=4, num_members=MEMBERS)
    ensemble, batch = SEREnsembleForAudioClassification(config).eval(), make_batch(clips, input_size)
    contenders: dict[str, Score] = {
        "one": lambda features, mask: ensemble.members[0](features, mask).logits,
        "loop": lambda features, mask: ensemble(features, mask).logits,
        "stacked": make_stacked(ensemble),
    }
    torch.testing.assert_close(contenders["stacked"](*batch), contenders["loop"](*batch), rtol=0, atol=1e-5)
    passes = max(1, round(SECONDS / time_of(contenders["loop"], batch, 1)[1]))
    return take_turns({name: partial(time_of, score, batch, passes) for name, score in contenders.items()}, ROUNDS)


def main() -> str:
    warnings.filterwarnings("ignore", "There is a performance drop")  # vmap takes fused attention member by member
    rows = []
    for number, (size, model), clips in itertools.product(THREADS, INPUT_SIZES.items(), BATCHES):
        with threads(number):
            times = measure(size, clips)
        columns = {name: list(zip(*pairs, strict=True)) for name, pairs in times.items()}  # clock, processors
        middles = [
            " / ".join(f"{1000 * statistics.median(column):.1f}" for column in pair) for pair in columns.values()
        ]
        slower = [spread(ratios(columns["stacked"][kind], columns["loop"][kind]), 2) for kind in (0, 1)]
        rows.append([number, f"{model}, {size}", clips, *middles, *slower])
    text = (
        f"{MEMBERS} members of the default size with random weights, {FRAMES} frames (3 s; in a batch, half of them "
        f"at least are real), scores only. Medians of {ROUNDS} rounds in which the three take turns, in ms on the "
        "clock / of the processors; ratios are taken within each round (least to greatest in brackets). At once: "
        "`torch.func.stack_module_state` and `vmap`. `SEREnsembleForAudioClassification` is the loop."
    )
    columns = ["threads", "features", "batch", "one member", "loop", "at once"]
    columns += ["at once, times the loop, on the clock", "at once, times the loop, processors"]
    return section("An ensemble: member after member, or all at once", text, table(columns, rows))
