"""The figure of a recording's timeline: its waveform, and under it the scores over time as areas."""

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from .figures import COLORS, GRAY, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS_PER_INCH = 150
AREAS_PER_INCH = 20  # steps of the scores that an eye tells apart
AREAS = (*COLORS[:-1], "#F0E442")  # black, the last of the lines' colors, would stand out of areas
NO_SPEECH = "no_speech"


@styled
def timeline_figure(
    labels: Sequence[str],
    parts: np.ndarray,
    scores: np.ndarray,
    lowest: np.ndarray,
    highest: np.ndarray,
    title: str | None = None,
    width: float = 10.0,
) -> "Figure":
    """Draw scores (windows, labels) over the parts (windows, 2), in seconds, and the waveform's outline.

    The outline's values are evenly spread over the recording. Areas have the order of the labels from below, what is
    no speech lies above them in gray, and so does what has no scores; with more labels than colors, the colors come
    again, pale. Of more windows than can be seen the areas show means over equal times, whose length the axis says.
    """
    parts, scores = np.asarray(parts, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if parts.shape != (len(scores), 2) or scores.shape[1:] != (len(labels),) or len(lowest) != len(highest):
        raise ValueError(f"Parts of shape {parts.shape} have scores of {scores.shape} for {len(labels)} labels.")
    silent = np.isnan(scores).any(axis=1)
    if silent.any():
        if NO_SPEECH not in labels:
            labels, scores = [*labels, NO_SPEECH], np.c_[scores, np.zeros(len(scores))]
        scores = np.where(silent[:, None], np.array(labels) == NO_SPEECH, scores)
    fig = new_figure(width, 3.6)
    wave, areas = fig.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    seconds = parts[-1, 1]

    columns = min(len(lowest), round(width * COLUMNS_PER_INCH))
    starts = np.arange(columns) * len(lowest) // columns
    low, high = np.minimum.reduceat(lowest, starts), np.maximum.reduceat(highest, starts)
    edges = np.append(starts, len(lowest)) * seconds / len(lowest)
    # Closed at the end, so that the last column is as wide as the others.
    wave.fill_between(
        edges, np.append(low, low[-1]), np.append(high, high[-1]), step="post", color=GRAY, linewidth=0.3
    )
    reach = max(1e-3, float(np.abs([low.min(), high.max()]).max()))
    wave.set(ylim=(-1.05 * reach, 1.05 * reach), ylabel="waveform")
    wave.tick_params(labelbottom=False)
    if title:
        wave.set_title(title, loc="left")

    order = sorted(range(len(labels)), key=lambda place: labels[place] == NO_SPEECH)
    look = area_styles(labels)
    times, ylabel, steps = np.append(parts[:, 0], seconds), "score", round(width * AREAS_PER_INCH)
    if len(scores) > steps:
        step = seconds / steps
        sums = np.cumsum(scores * np.diff(times)[:, None], axis=0)
        sums = np.r_[np.zeros((1, len(labels))), sums]  # (windows + 1, labels), up to each time
        edges = np.linspace(0, seconds, steps + 1)
        sums = np.stack([np.interp(edges, times, column) for column in sums.T], axis=1)  # (steps + 1, labels)
        times, scores = edges, np.diff(sums, axis=0) / step
        ylabel = f"score, mean of {step:.0f} s" if step >= 10 else f"score, mean of {step:.2g} s"
    below = np.zeros(len(times))
    for place in order:
        above = below + np.append(scores[:, place], scores[-1, place])
        areas.fill_between(times, below, above, step="post", linewidth=0, label=labels[place], **look[place])
        below = above
    areas.set(xlim=(0, seconds), ylim=(0, max(1.0, below.max())), ylabel=ylabel, xlabel=f"time ({_unit(seconds)})")
    areas.xaxis.set_major_locator(_locator(seconds, width))
    areas.xaxis.set_major_formatter(lambda value, _: clock(value, seconds))
    # As the areas lie: the uppermost first.
    handles, names = areas.get_legend_handles_labels()
    areas.legend(handles[::-1], names[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.2)
    return fig


def area_styles(labels: Sequence[str]) -> list[dict[str, Any]]:
    """Give each label the color of its area: no speech is gray; with more labels than colors, they come again, pale.

    >>> [style["color"] for style in area_styles(["anger", "no_speech", "fear"])]
    ['#0072B2', '#bbbbbb', '#D55E00']
    """
    numbers = count()
    return [
        {"color": "#bbbbbb", "alpha": 1.0}
        if label == NO_SPEECH
        else {"color": AREAS[(number := next(numbers)) % len(AREAS)], "alpha": 0.9 if number < len(AREAS) else 0.45}
        for label in labels
    ]


def clock(time: float, longest: float) -> str:
    """Write a time as one reads it on a recording of some length.

    >>> clock(75.5, 80), clock(3.5, 20), clock(75.0, 4000)
    ('1:15.5', '3.5', '0:01:15')
    """
    if longest < 60:
        return f"{time:.4g}"
    minutes, seconds = divmod(round(time, 1), 60)
    fraction = f"{seconds:04.1f}".removesuffix(".0")
    if longest < 3600:
        return f"{int(minutes)}:{fraction}"
    return f"{int(minutes) // 60}:{int(minutes) % 60:02d}:{fraction}"


def _unit(seconds: float) -> str:
    return "s" if seconds < 60 else "min:s" if seconds < 3600 else "h:min:s"


def _locator(seconds: float, width: float) -> "object":
    """Choose steps that people divide time into, about one an inch."""
    from matplotlib.ticker import MultipleLocator

    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
    return MultipleLocator(next((step for step in steps if step >= seconds / max(3.9, width - 1.5)), 3600 * 6))
