"""Figures of the layer study: one utterance's activations, and what changes from layer to layer."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from speech_emotion.evaluation.figures import COLORS, GRAY, MARKERS, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def activations_figure(
    activations: Sequence[Sequence[np.ndarray]], emotions: Sequence[str], layers: Sequence[str]
) -> "Figure":
    """Draw the activations of each layer (columns) for one sentence in several emotions (rows), as the slides do.

    Source: slides, "Deep encoded Linguistic features", the visualization of activations.
    """
    fig = new_figure(7.0, 0.7 + 0.85 * len(emotions))
    grid = fig.subplots(len(emotions), len(layers), squeeze=False)
    for column, layer in enumerate(layers):
        values = np.concatenate([np.ravel(row[column]) for row in activations])
        low, high = np.quantile(values, [0.01, 0.99])
        for row, emotion in enumerate(emotions):
            axes = grid[row, column]
            # One unit per row, time to the right.
            axes.imshow(np.transpose(activations[row][column]), aspect="auto", cmap="cividis", vmin=low, vmax=high)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if column == 0:
                axes.set_ylabel(emotion)
            if row == 0:
                axes.set_title(layer)
    fig.supxlabel("time (each clip stretched to one length)", fontsize=8.5)
    return fig


@styled
def layer_figure(
    layers: Sequence[str],
    panels: Mapping[str, Mapping[str, np.ndarray]],
    chance: Mapping[str, Mapping[str, float]] | None = None,
    title: str | None = None,
) -> "Figure":
    """Draw quantities by layer, with intervals: panel → curve → (3, layers). A name has one color in all."""
    from matplotlib.lines import Line2D

    fig = new_figure(max(3.6, min(10.0, 0.4 + 3.0 * len(panels))), 3.5)
    looks = {label: number for number, label in enumerate(dict.fromkeys(itertools.chain(*panels.values())))}
    handles = {}
    for axes, (name, curves) in zip(fig.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for number, (label, curve) in enumerate(curves.items()):
            # Side by side, so that intervals do not hide each other.
            places = np.arange(len(layers)) + 0.14 * (number - (len(curves) - 1) / 2)
            color, marker = COLORS[looks[label] % len(COLORS)], MARKERS[looks[label] % len(MARKERS)]
            (handle,) = axes.plot(places, curve[0], color=color, marker=marker, linewidth=1.0)
            # Lines of their own, not errors about the value: a percentile interval need not hold it.
            axes.vlines(places, curve[1], curve[2], color=color, linewidth=1.2)
            handles.setdefault(label, handle)
            if chance and label in chance.get(name, {}):
                axes.axhline(chance[name][label], color=color, linestyle="--", linewidth=0.8)
        axes.set_xticks(range(len(layers)), layers)
        axes.set(xlabel="layer", title=name)
        axes.grid(True, axis="y")
    if chance:
        handles["chance"] = Line2D([], [], color=GRAY, linestyle="--", linewidth=0.8)
    if len(handles) > 1:
        fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    if title:
        fig.suptitle(title, fontsize=9.5)
    return fig
