"""The figure of an explanation: spectrogram, words, what mattered, and where each head looks."""

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .figures import COLORS, GRAY, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FREQUENCIES = (250, 500, 1000, 2000, 4000, 8000)  # Hz, written at the spectrogram
FOR, AGAINST = COLORS[1], COLORS[0]
BESIDE = 1.4  # inches beside the panels
SMALLEST = 0.05  # of a score: what changes it less is not drawn as if it were much
LETTER = 0.07  # inches that a letter is wide
MAP, LARGEST = 1.75, 2.6  # inches that a map takes, and at most


@styled
def explanation_figure(
    *,
    label: str,
    start: float,
    end: float,
    log_mel: np.ndarray,
    mel_step: float,
    top_frequency: float,
    stretches: Sequence[tuple[float, float, float]],
    words: Sequence[tuple[str, float, float, float]] | None,
    attention: np.ndarray,
    times: np.ndarray,
    head_names: Sequence[str],
    title: str | None = None,
    width: float = 8.0,
) -> "Figure":
    """Draw why a clip gets its label; times are in seconds.

    Of each stretch its beginning, its end and by how much the label's score falls without it; of each word its text
    and the same. Weights are (heads, frames, frames), times (frames,), log-mel energies (mel frames, bands).

    Source: slides, "Discussion" (the T × T weights over a spectrogram); the rest is ours.
    """
    heads, frames = attention.shape[0], attention.shape[-1]
    if attention.shape != (heads, frames, frames) or times.shape != (frames,) or log_mel.ndim != 2 or not heads:
        raise ValueError(
            f"Weights must be (heads, frames, frames), times (frames,) and log_mel (mel frames, bands); the shapes "
            f"are {attention.shape}, {times.shape} and {log_mel.shape}."
        )
    if np.abs(attention.sum(axis=-1) - 1).max() > 1e-3:
        raise ValueError("The weights of each frame must sum to 1; pass the clip's real frames only.")
    if len(head_names) != heads:
        raise ValueError(f"{heads} heads have {len(head_names)} names.")

    seconds, inches = end - start, (width - BESIDE) / (end - start)
    rows = math.ceil(heads / max(2, round((width - 0.6) / MAP)))
    columns = max(math.ceil(heads / rows), math.ceil((width - 1.0) / LARGEST))
    heights = [1.5, 0.9, 0.17 * heads + 0.1]
    if words:
        upright = [text for text, first, last, _ in words if _is_upright(text, (last - first) * inches)]
        heights.insert(1, max(0.25, LETTER * max(map(len, upright), default=0) + 0.1))
    tops = [sum(heights) + 0.4 * len(heights), rows * ((width - 1.0) / columns + 0.3)]
    fig = new_figure(width, sum(tops))
    above, below = fig.add_gridspec(2, 1, height_ratios=tops)
    panels = list(above.subgridspec(len(heights), 1, height_ratios=heights).subplots(sharex=True))
    reach = max(SMALLEST, *(abs(fall) for *_, fall in [*stretches, *(words or [])]))
    _draw_spectrogram(panels[0], log_mel, start, mel_step, top_frequency)
    if title:
        panels[0].set_title(textwrap.fill(title, int((width - BESIDE) / LETTER)), loc="left")
    if words:
        _draw_words(panels.pop(1), words, reach, inches)
    _draw_falls(panels[1], label, start, end, stretches, reach)

    half = (times[-1] - times[0]) / max(1, frames - 1) / 2 or seconds / 2
    first, last = times[0] - half, times[-1] + half
    received = frames * attention.mean(axis=1)  # (heads, frames)
    place = {"aspect": "auto", "extent": (first, last, heads - 0.5, -0.5)}
    image = panels[-1].imshow(received, cmap="cividis", vmin=0, vmax=_top(received), **place)
    panels[-1].set_yticks(range(heads), head_names, fontsize=8 if heads <= 8 else 6.5)
    panels[-1].tick_params(axis="y", length=0)
    panels[-1].set(xlim=(start, end), xlabel="time (s)")
    fig.colorbar(image, ax=panels[-1], label="attention\nreceived", pad=0.01, extend="max").outline.set_visible(False)

    top = _top(frames * attention)
    grid = below.subgridspec(rows, columns).subplots(squeeze=False, sharex=True, sharey=True)
    for number, axes in enumerate(grid.flat):
        if number >= heads:
            axes.set_visible(False)
            continue
        weights = frames * attention[number]
        image = axes.imshow(weights, cmap="cividis", vmin=0, vmax=top, extent=(first, last, last, first))
        axes.set_title(head_names[number])
        if number + columns >= heads:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("looked at (s)")
        if number % columns == 0:
            axes.set_ylabel("looking (s)")
    bar = fig.colorbar(image, ax=grid[:, :heads], label="weight × T", fraction=0.025, pad=0.02, extend="max")
    bar.outline.set_visible(False)
    return fig


def _top(weights: np.ndarray) -> float:
    """End the scale of all heads, so that one that looks everywhere is seen to; a few peaks may lie above it."""
    return max(1.0, float(np.quantile(weights, 0.995)))


def _is_upright(text: str, inches: float) -> bool:
    """Whether a word has no room to lie, but to stand."""
    return LETTER * len(text) > inches >= 1.5 * LETTER


def _draw_words(
    axes: "Axes", words: Sequence[tuple[str, float, float, float]], reach: float, inches_per_second: float
) -> None:
    """Write words where they are spoken, on the color of what muting them does, if there is room."""
    fonts = _fonts("".join(text for text, *_ in words))
    for text, first, last, fall in words:
        axes.axvspan(first, last, color=FOR if fall > 0 else AGAINST, alpha=0.75 * abs(fall) / reach, linewidth=0)
        axes.axvline(first, color="white", linewidth=1)
        inches = (last - first) * inches_per_second
        upright = _is_upright(text, inches)
        if upright or LETTER * len(text) <= inches:
            place = {"ha": "center", "va": "center", "rotation": 90 if upright else 0, "fontsize": 8.5}
            axes.text((first + last) / 2, 0.5, text, fontfamily=fonts, **place)
    axes.set(ylim=(0, 1), yticks=[])
    axes.set_ylabel("words", rotation=0, ha="right", va="center")
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(axis="x", length=0)


def _fonts(text: str) -> list[str]:
    """Name fonts that have the letters of a text: matplotlib's own, then those of this machine that have the rest."""
    from matplotlib import font_manager

    chosen, lacking = [], set(map(ord, text))
    usual = font_manager.findfont("DejaVu Sans")
    fonts = sorted((font.name, font.fname) for font in font_manager.fontManager.ttflist)
    for name, file in [("DejaVu Sans", usual), *fonts]:
        if chosen and (not lacking or name.startswith("Last Resort")):  # which has a box for every letter
            continue
        held = lacking & font_manager.get_font(file).get_charmap().keys()
        if held or not chosen:
            chosen, lacking = [*chosen, name], lacking - held
    return chosen


def _draw_falls(
    axes: "Axes", label: str, start: float, end: float, stretches: Sequence[tuple[float, float, float]], reach: float
) -> None:
    """Draw by how much the score falls without each stretch, at the stretch's middle."""
    times = [start, *((first + last) / 2 for first, last, _ in stretches), end]
    falls = np.array([fall for *_, fall in stretches])
    falls = np.concatenate([falls[:1], falls, falls[-1:]])
    for where, color, says in ((falls > 0, FOR, f"spoke for {label}"), (falls < 0, AGAINST, "spoke against it")):
        axes.fill_between(times, falls, where=where, interpolate=True, color=color, linewidth=0, label=says)
    axes.axhline(0, color=GRAY, linewidth=0.8)
    low = min(0.0, float(falls.min()))
    axes.set(ylim=(min(low, -0.1 * reach) * 1.05, 1.05 * max(reach if low > -reach else 0, float(falls.max()))))
    axes.set_ylabel("its score falls\nby, if muted")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.95), ncols=2, handlelength=1.0, borderpad=0.2)


def _draw_spectrogram(axes: "Axes", log_mel: np.ndarray, start: float, mel_step: float, top_frequency: float) -> None:
    """Draw log-mel energies, each where its filter stands in time and frequency."""
    import librosa
    from librosa.display import specshow

    frames, bands = log_mel.shape
    top = float(log_mel.max())
    specshow(
        log_mel.T,  # (bands, frames)
        ax=axes,
        x_axis="s",
        x_coords=start + mel_step * (np.arange(frames + 1) - 0.5),  # edges: a frame stands in the middle
        # The filters' centers divide the mel scale from 0 to the top into equal steps, one more than there are bands;
        # halves of these steps are the edges between them.
        y_coords=librosa.mel_frequencies(2 * bands + 3, fmin=0.0, fmax=top_frequency)[1::2],
        y_axis="mel",
        cmap="magma",
        vmin=top - 80,  # 80 dB below the loudest: what is softer is the recording's noise
        vmax=top,
        rasterized=True,
    )
    shown = [frequency for frequency in FREQUENCIES if frequency < top_frequency]
    axes.set_yticks(shown, [f"{frequency / 1000:g}" for frequency in shown], minor=False)
    axes.set(xlabel="", ylabel="kHz (mel)")
