"""Figures of the head study: what each attention head is worth, and whether clips agree on it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from speech_emotion.evaluation.figures import COLORS, GRAY, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def head_figure(
    names: Sequence[str],
    importance: np.ndarray,
    rank_shares: np.ndarray,
    ua_change: np.ndarray,
    title: str | None = None,
) -> "Figure":
    """Draw the importance of each head, its rank over the clips, and what dropping it does to UA.

    Importance and change: estimates and ends of their intervals, (3, heads). Shares of clips: (heads, ranks).
    """
    fig = new_figure(9.0, 3.1)
    worth, ranks, change = fig.subplots(1, 3, width_ratios=(1, 1.15, 1))
    places = np.arange(len(names))
    for axes, values, label, heading in (
        (worth, importance, "importance (nats)", "fall of the true class's\nlog-probability"),
        (change, 100 * ua_change, "change of UA (points)", "UA when the head is dropped"),
    ):
        axes.axhline(0, color=GRAY, linewidth=0.8)
        axes.bar(places, values[0], width=0.6, color=COLORS[5])
        # Lines of their own, not errors about the value: a percentile interval need not hold it.
        axes.vlines(places, values[1], values[2], color="black", linewidth=1.2)
        axes.set_xticks(places, names)
        axes.set(xlabel="head", ylabel=label, title=heading)
        axes.grid(True, axis="y")
    from matplotlib import colormaps

    shades = colormaps["cividis"](np.linspace(0.05, 0.95, len(names)))
    bottom = np.zeros(len(names))
    for rank, (share, shade) in enumerate(zip(100 * rank_shares.T, shades, strict=True), 1):
        ranks.bar(places, share, bottom=bottom, width=0.7, color=shade, label=str(rank))
        bottom += share
    ranks.set_xticks(places, names)
    ranks.set(xlabel="head", ylabel="clips (%)", ylim=(0, 100), title="rank of the head in a clip")
    handles, labels = ranks.get_legend_handles_labels()
    ranks.legend(
        handles[::-1], labels[::-1], title="rank\n(1 matters most)", loc="center left", bbox_to_anchor=(1.0, 0.5)
    )
    if title:
        fig.suptitle(title, fontsize=9.5)
    return fig


@styled
def head_profile_figure(
    models: Sequence[str], profiles: np.ndarray, chance: np.ndarray, title: str | None = None
) -> "Figure":
    """Draw the heads' importance in falling order for several models: profiles and chance, (models, heads)."""
    fig = new_figure(4.8, 3.2)
    axes = fig.add_subplot()
    places = np.arange(1, profiles.shape[1] + 1)
    for number, (name, profile) in enumerate(zip(models, profiles, strict=True)):
        several = len(models) > len(COLORS)  # then single models are not told apart
        color = COLORS[0] if several else COLORS[number]
        label = (None if number else "a model") if several else name
        axes.plot(places, profile, color=color, marker="o", alpha=0.5 if several else 1.0, label=label)
    axes.plot(places, chance.mean(axis=0), color=GRAY, linestyle="--", label="heads shuffled within clips")
    axes.axhline(0, color=GRAY, linewidth=0.8)
    axes.set_xticks(places)
    axes.set(xlabel="heads, most important first", ylabel="importance (nats)", title=title or "")
    axes.grid(True, axis="y")
    axes.legend()
    return fig
