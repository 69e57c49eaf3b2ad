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

    >>> flat = np.zeros((3, 2))
    >>> figure = head_figure(["1", "2"], flat, np.full((2, 2), 0.5), flat)
    >>> len(figure.axes), figure.axes[0].get_ylabel()
    (3, 'importance (nats)')
    """
    size = len(names)
    for what, values, shape in (
        ("importance", importance, (3, size)),
        ("rank_shares", rank_shares, (size, size)),
        ("ua_change", ua_change, (3, size)),
    ):
        if np.shape(values) != shape:
            raise ValueError(f"{what} of {size} heads must be {shape}, not {np.shape(values)}.")
    fig = new_figure(9.0, 3.1)
    worth, ranks, change = fig.subplots(1, 3, width_ratios=(1, 1.15, 1))
    places = np.arange(size)
    for axes, values, label, heading in (
        (worth, np.asarray(importance), "importance (nats)", "fall of the true class's\nlog-probability"),
        (change, 100 * np.asarray(ua_change), "change of UA (points)", "UA when the head is dropped"),
    ):
        axes.axhline(0, color=GRAY, linewidth=0.8)
        axes.bar(places, values[0], width=0.6, color=COLORS[5])
        # Lines of their own, not errors about the value: a percentile interval need not hold it.
        axes.vlines(places, values[1], values[2], color="black", linewidth=1.2)
        axes.set_xticks(places, names)
        axes.set(xlabel="head", ylabel=label, title=heading)
        axes.grid(True, axis="y")
    from matplotlib import colormaps

    shades = colormaps["cividis"](np.linspace(0.05, 0.95, size))
    bottom = np.zeros(size)
    for rank in range(size):
        share = 100 * np.asarray(rank_shares)[:, rank]
        ranks.bar(places, share, bottom=bottom, width=0.7, color=shades[rank], label=f"{rank + 1}")
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
    """Draw the heads' importance in falling order for several models.

    >>> figure = head_profile_figure(["fold 0"], np.array([[0.4, 0.1]]), np.array([[0.26, 0.24]]))
    >>> figure.axes[0].get_xlabel()
    'heads, most important first'
    """
    profiles, chance = np.asarray(profiles), np.asarray(chance)
    if profiles.shape != chance.shape or profiles.ndim != 2 or len(profiles) != len(models):
        raise ValueError(
            f"Profiles and chance of {len(models)} models must both be (models, heads); they are {profiles.shape} and "
            f"{chance.shape}."
        )
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
