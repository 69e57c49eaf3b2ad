"""Gradients of the encoder's convolution over frames by matrix products against torch's."""

import statistics
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from modeling_ser.frame_convolution import FrameConvolution

CLIPS, FRAMES, KERNEL_SIZE = 16, 120, 5  # 3 s of 25 ms frames
# Features in, channels out.
SIZES = {
    "first layer of Model-1 as the tables have it": (384, 64),
    "first layer of Model-1, default sizes": (384, 128),
    "second layer, default sizes": (128, 128),
    "first layer of Model-3 with the paper's DeepSpeech": (2432, 128),
}
ROUNDS = 15

Convolve = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def by_torch(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The same, over the same memory, with torch's own gradients."""
    image = F.conv2d(x.transpose(1, 2).unsqueeze(2), weight.unsqueeze(2), padding="same")
    return image.squeeze(2).transpose(1, 2)


def times_of(convolve: Convolve, x: torch.Tensor, weight: torch.Tensor, seed: torch.Tensor) -> tuple[float, float]:
    """Seconds forward and back."""
    start = time.perf_counter()
    output = convolve(x, weight)
    middle = time.perf_counter()
    output.backward(seed)
    return middle - start, time.perf_counter() - middle


def compare(in_size: int, out_size: int, needs_input: bool) -> tuple[list[float], list[float], list[float]]:
    """Seconds forward, back by torch and back by ours, round by round."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(CLIPS, FRAMES, in_size, generator=generator).requires_grad_(needs_input)
    weight = torch.randn(out_size, in_size, KERNEL_SIZE, generator=generator).requires_grad_()
    seed = torch.randn(CLIPS, FRAMES, out_size, generator=generator)
    forward, torchs, ours = [], [], []
    for turn in range(ROUNDS + 1):
        ahead, back = times_of(by_torch, x, weight, seed)
        _, own = times_of(FrameConvolution.apply, x, weight, seed)
        if turn:  # the first is to warm up
            forward.append(ahead)
            torchs.append(back)
            ours.append(own)
    return forward, torchs, ours


def main() -> str:
    """Measure, and return the section of RESULTS.md."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    for name, (in_size, out_size) in SIZES.items():
        forward, torchs, ours = compare(in_size, out_size, needs_input=name.startswith("second"))
        ratios = sorted(slow / fast for slow, fast in zip(torchs, ours, strict=True))
        milliseconds = " | ".join(f"{1000 * statistics.median(times):.1f}" for times in (forward, torchs, ours))
        rows.append(
            f"| {name} | {in_size} → {out_size} | {milliseconds} | "
            f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}) |"
        )
    torch.set_num_threads(before)
    return (
        "## Gradients of the convolution over frames\n\n"
        f"{CLIPS} clips of {FRAMES} frames, kernels of {KERNEL_SIZE}, one thread. Torch: by oneDNN, over the same "
        "memory; ours: `FrameConvolution`, by matrix products; forward both are the same. The first layers need no "
        f"gradient of their input. Medians of {ROUNDS} rounds in which the two take turns, in ms; the ratio is taken "
        "within each round (least to greatest in brackets). Repeat with "
        "`python -m benchmarks.bench_frame_convolution`.\n\n"
        "| layer | sizes | forward | torch back | ours back | times torch |\n| --- | --- | --- | --- | --- | --- |\n"
        + "\n".join(rows)
        + "\n"
    )


if __name__ == "__main__":
    print(main())
