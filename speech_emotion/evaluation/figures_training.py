"""Learning curves: mean and spread over folds and seeds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .figures import COLORS, MARKERS, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def average_curve(runs: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average curves of unequal length, epoch by epoch.

    >>> mean, deviation, count = average_curve([[1.0, 2.0, 3.0], [3.0, 4.0], [2.0]])
    >>> mean.tolist(), count.tolist()
    ([2.0, 3.0], [3, 2])
    """
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
    """Draw what changed from epoch to epoch, as mean and standard deviation over runs.

    >>> figure = learning_curves_figure({"UA": {"validation": [[0.3, 0.5], [0.4, 0.6]]}})
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('epoch', 'UA')
    """
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


__all__ = ["average_curve", "learning_curves_figure"]
