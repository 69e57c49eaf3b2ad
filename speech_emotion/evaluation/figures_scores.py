"""Figures of a system's scores: confusion matrix, reliability diagram, UA beside other systems."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .calibration import BINS, reliability
from .count_metrics import ua as ua_of
from .count_metrics import wa
from .figures import COLORS, GRAY, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def confusion_figure(counts: np.ndarray, labels: Sequence[str], title: str | None = None) -> "Figure":
    """Draw a confusion matrix: color and percent are shares of the true class, the number is that of the clips.

    >>> confusion_figure([[3, 1], [0, 4]], ["anger", "fear"]).axes[0].get_xlabel()
    'predicted'
    """
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

    >>> len(reliability_figure([0, 0], [[0.9, 0.1], [0.4, 0.6]]).axes)
    2
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
    """Draw the UA of several systems with confidence intervals.

    >>> figure = ua_figure(["Model-1", "Model-2"], [0.6, 0.5], [0.5, 0.4], [0.7, 0.6], chance=0.25)
    >>> [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    ['Model-1', 'Model-2']
    """
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


__all__ = ["confusion_figure", "reliability_figure", "ua_figure"]
