"""Figures of runs: confusion matrix, reliability diagram, UA beside other systems, learning curves."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .calibration import BINS, reliability
from .figures import COLORS, GRAY, MARKERS, new_figure, styled
from .metrics import ua as ua_of
from .metrics import wa

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def confusion_figure(counts: np.ndarray, labels: Sequence[str], title: str | None = None) -> "Figure":
    """Draw a confusion matrix: color and percent are shares of the true class, the number is that of the clips."""
    counts = np.asarray(counts)
    size = len(labels)
    if counts.shape != (size, size) or (counts < 0).any() or not counts.any():
        raise ValueError(f"Counts of {size} labels must be ({size}, {size}), 0 or more, with a clip at least.")
    support = counts.sum(axis=1)
    shares = counts / np.maximum(support, 1)[:, None]  # (classes, classes)
    side = 1.8 + 0.62 * size
    fig = new_figure(side + 0.5, side)
    axes = fig.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for true, predicted in np.ndindex(counts.shape):
        if support[true]:
            share = shares[true, predicted]
            axes.text(
                predicted,
                true,
                f"{counts[true, predicted]}\n{100 * share:.0f}%",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if share > 0.55 else "black",
            )
    axes.set_xticks(range(size), labels, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), labels)
    axes.set(xlabel="predicted", ylabel="true")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    bar = fig.colorbar(image, ax=axes, label="share of the true class", ticks=[0, 0.5, 1], fraction=0.046, pad=0.03)
    bar.outline.set_visible(False)
    facts = f"WA {100 * wa(counts):.1f}%, UA {100 * ua_of(counts):.1f}%, {counts.sum()} clips"
    axes.set_title("\n".join(filter(None, (title, facts))))
    return fig


@styled
def reliability_figure(
    truth: Sequence[int], scores: np.ndarray, num_bins: int = BINS, title: str | None = None
) -> "Figure":
    """Draw a reliability diagram: how often a system is right when it is so and so sure.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, figure 1.
    """
    bins = reliability(np.asarray(truth), scores, num_bins)
    filled = bins.clips > 0
    share, confidence, accuracy = bins.clips / bins.clips.sum(), bins.confidence, bins.accuracy
    fig = new_figure(4.6, 4.8)
    above, below = fig.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=GRAY, linestyle="--", linewidth=1, label="as sure as right")
    # The area of a point is the share of the clips: a far point of few clips matters little.
    above.scatter(
        confidence[filled], accuracy[filled], s=12 + 250 * share[filled], color=COLORS[0], alpha=0.75, linewidths=0
    )
    above.plot(confidence[filled], accuracy[filled], color=COLORS[0], label="system")
    above.set(ylabel="accuracy", ylim=(-0.04, 1.04), xlim=(0, 1))
    above.grid(True)
    above.legend(loc="upper left")
    above.set_title("\n".join(filter(None, (title, f"expected calibration error {100 * bins.error:.1f}%"))))
    below.bar(bins.edges[:-1], share, width=1 / num_bins, align="edge", color=COLORS[0], edgecolor="white")
    below.set(xlabel="confidence (highest score)", ylabel="share of clips")
    return fig


@styled
def ua_figure(
    systems: Sequence[str],
    ua: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    chance: float | None = None,
    title: str | None = None,
) -> "Figure":
    """Draw the UA of several systems with confidence intervals."""
    values = 100 * np.array([ua, low, high], dtype=np.float64)  # (3, systems), in percent
    if values.shape != (3, len(systems)) or not len(systems):
        raise ValueError(f"{len(systems)} systems need a UA and an interval each; the shape is {values.shape}.")
    if (values[1] > values[2]).any():
        raise ValueError("The lower end of an interval lies above its upper end.")
    fig = new_figure(7.0, 1.2 + 0.34 * len(systems))
    axes = fig.add_subplot()
    rows = np.arange(len(systems))
    # Lines of their own, not errors about the value: a percentile interval need not hold it.
    axes.hlines(rows, values[1], values[2], color=COLORS[0], linewidth=1.2)
    axes.plot(values[0], rows, "o", color=COLORS[0])
    right = axes.get_yaxis_transform()  # the figures stand beside the axes, where no interval can reach them
    for row, value in zip(rows, values[0], strict=True):
        axes.text(1.01, row, f"{value:.1f}", va="center", ha="left", fontsize=8.5, transform=right)
    if chance is not None:
        axes.axvline(100 * chance, color=GRAY, linestyle="--", linewidth=1)
        axes.text(
            100 * chance, 0.995, " chance", color=GRAY, fontsize=8, va="top", transform=axes.get_xaxis_transform()
        )
    axes.set_yticks(rows, systems)
    axes.set(xlabel="UA (%)", ylim=(len(systems) - 0.4, -0.9), title=title or "")
    axes.grid(True, axis="x")
    return fig


def average_curve(runs: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average curves of unequal length, epoch by epoch."""
    if not runs or not all(len(run) for run in runs):
        raise ValueError("Learning curves need a run at least, each with an epoch at least.")
    values = np.full((len(runs), max(map(len, runs))), np.nan)
    for row, run in zip(values, runs, strict=True):
        row[: len(run)] = run
    count = np.isfinite(values).sum(axis=0)
    kept = 1 + int(np.flatnonzero(2 * count >= len(runs)).max(initial=0))
    values, count = values[:, :kept], count[:kept]
    safe = np.where(count > 0, count, np.nan)
    mean = np.nansum(values, axis=0) / safe
    variance = np.nansum((values - mean) ** 2, axis=0) / np.maximum(safe - 1, 1)
    return mean, np.sqrt(variance), count


@styled
def learning_curves_figure(
    panels: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], title: str | None = None
) -> "Figure":
    """Draw what changed from epoch to epoch, as mean and standard deviation over runs."""
    if not panels or not all(panels.values()):
        raise ValueError("There are no learning curves to draw.")
    fig = new_figure(0.4 + 3.3 * max(len(panels), 1.3), 3.0)
    for axes, (name, curves) in zip(fig.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for number, (curve, runs) in enumerate(curves.items()):
            mean, deviation, _ = average_curve(runs)
            epochs = np.arange(1, len(mean) + 1)
            color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
            every = max(1, len(mean) // 8)
            axes.plot(epochs, mean, color=color, marker=marker, markevery=every, label=curve)
            axes.fill_between(epochs, mean - deviation, mean + deviation, color=color, alpha=0.18, linewidth=0)
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(True)
        axes.legend()
    if title:
        fig.suptitle(title, fontsize=9.5)
    return fig
