"""Two ways of running the members of an ensemble: one after another, or at once with stacked weights.

Stacked: `torch.func.stack_module_state` and `vmap`, which turns the members' first convolutions into one with all
their channels, the second into one with as many groups as members, and their matrix products into batched ones. One
child process per number of threads holds all contenders and lets them take turns over the same features, so that
whatever else the machine does meets all. Processor time is told beside the time on the clock: it is steadier where
other work runs too.
"""

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from modeling_ser import SERConfig, SEREnsembleForAudioClassification
from modeling_ser.modeling_ser_ensemble import log_mean_posterior

MEMBERS = 3
FRAMES = 120  # 3 s
INPUT_SIZES = {384: "Model-1", 2432: "Model-3"}
BATCHES = (1, 16)
THREADS = (1, 2)
REPETITIONS = 9
SECONDS = 0.05  # that one repetition of one contender is to last about

Times = tuple[float, float]  # seconds on the clock, seconds of the processors
Score = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def make_ensemble(input_size: int) -> SEREnsembleForAudioClassification:
    torch.manual_seed(0)
    return SEREnsembleForAudioClassification(
        SERConfig(input_size=input_size, num_labels=4, num_members=MEMBERS)
    ).eval()


def make_batch(clips: int, input_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (clips, frames, input_size) and mask (clips, frames); the clips last from half the frames to all."""
    features = torch.randn(clips, FRAMES, input_size, generator=torch.Generator().manual_seed(1))
    lengths = torch.linspace(FRAMES, FRAMES // 2, clips).round()
    return features, (torch.arange(FRAMES) < lengths[:, None]).long()


def make_loop(ensemble: SEREnsembleForAudioClassification) -> Score:
    return lambda features, mask: ensemble(features, mask).logits


def make_stacked(ensemble: SEREnsembleForAudioClassification) -> Score:
    weights, buffers = torch.func.stack_module_state(list(ensemble.members))
    skeleton = copy.deepcopy(ensemble.members[0]).to("meta")

    def run(weights: dict, buffers: dict, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(skeleton, (weights, buffers), (features, mask)).logits

    members = torch.vmap(run, in_dims=(0, 0, None, None))
    return lambda features, mask: log_mean_posterior(members(weights, buffers, features, mask))


def make_one(ensemble: SEREnsembleForAudioClassification) -> Score:
    return lambda features, mask: ensemble.members[0](features, mask).logits


CONTENDERS = {"loop": make_loop, "stacked": make_stacked, "one": make_one}


@torch.inference_mode()
def measure(input_size: int, clips: int) -> dict[str, list[Times]]:
    """Times per batch of every contender in every repetition."""
    ensemble, batch = make_ensemble(input_size), make_batch(clips, input_size)
    contenders = {name: make(ensemble) for name, make in CONTENDERS.items()}
    torch.testing.assert_close(contenders["stacked"](*batch), contenders["loop"](*batch), rtol=0, atol=1e-5)
    times: dict[str, list[Times]] = {name: [] for name in contenders}
    passes = max(1, round(SECONDS / time_of(contenders["loop"], batch, 1)[1]))
    for _ in range(REPETITIONS):
        for name, score in contenders.items():
            times[name].append(time_of(score, batch, passes))
    return times


def time_of(score: Score, batch: tuple[torch.Tensor, torch.Tensor], passes: int) -> Times:
    """Seconds on the clock and seconds of the processors that a pass takes, on average."""
    start, start_processor = time.perf_counter(), time.process_time()
    for _ in range(passes):
        score(*batch)
    return (time.perf_counter() - start) / passes, (time.process_time() - start_processor) / passes


def measure_all(threads: int) -> dict[str, dict[str, list[Times]]]:
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", "There is a performance drop")  # vmap takes fused attention member by member
    return {f"{size} {clips}": measure(size, clips) for size in INPUT_SIZES for clips in BATCHES}


def in_child(threads: int) -> dict[str, dict[str, list[Times]]]:
    root = Path(__file__).parents[1]
    limits = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS")}
    command = [sys.executable, "-m", "benchmarks.bench_ensemble", "--child", str(threads)]
    environment = {**os.environ, **limits, "PYTHONPATH": str(root)}
    child = subprocess.run(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(child.stdout.splitlines()[-1])


def ratio(slow: list[Times], fast: list[Times], kind: int) -> str:
    """Median, least and greatest ratio of the repetitions; of the clock's times (0) or the processors' (1)."""
    ratios = sorted(one[kind] / other[kind] for one, other in zip(slow, fast, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def main() -> str:
    """Measure, and return the section of RESULTS.md."""
    rows = []
    for threads in THREADS:
        for key, times in in_child(threads).items():
            size, clips = map(int, key.split())
            middle = {
                name: " / ".join(f"{1000 * statistics.median(column):.1f}" for column in zip(*pairs, strict=True))
                for name, pairs in times.items()
            }
            ratios = [ratio(times["stacked"], times["loop"], kind) for kind in (0, 1)]
            rows.append(
                f"| {threads} | {INPUT_SIZES[size]}, {size} | {clips} | {middle['one']} | {middle['loop']} "
                f"| {middle['stacked']} | {ratios[0]} | {ratios[1]} |"
            )
    return (
        "## An ensemble: member after member, or all at once\n\n"
        f"{MEMBERS} members of the default size with random weights, {FRAMES} frames (3 s; in a batch, half of them "
        f"at least are real), scores only. Medians of {REPETITIONS} rounds in which the three take turns, in ms on "
        "the clock / of the processors; ratios are taken within each round (least to greatest in brackets). At once: "
        "`torch.func.stack_module_state` and `vmap`. `SEREnsembleForAudioClassification` is the loop. Repeat with "
        "`python -m benchmarks.bench_ensemble`.\n\n"
        "| threads | features | batch | one member | loop | at once | at once, times the loop, on the clock "
        "| at once, times the loop, processors |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    threads = parser.parse_args().child
    print(main() if threads is None else json.dumps(measure_all(threads)))
