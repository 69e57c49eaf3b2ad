"""The figure of the paper's discussion: what each attention head looks at in one clip."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .figures import COLORS, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAPS_IN_A_ROW = 4
FREQUENCIES = (250, 500, 1000, 2000, 4000, 8000)  # Hz, written at the spectrogram


@styled
def attention_figure(
    attention: np.ndarray,
    times: Sequence[float],
    log_mel: np.ndarray,
    mel_step: float,
    top_frequency: float = 8000.0,
    head_names: Sequence[str] | None = None,
    title: str | None = None,
) -> "Figure":
    """Draw the attention weights of every head, with the clip's log-mel spectrogram on the same axis of time.

    Source: slides, "Discussion" (the T × T weights); the column mean is ours.
    """
    attention, times, log_mel = np.asarray(attention, dtype=np.float64), np.asarray(times), np.asarray(log_mel)
    heads, frames = attention.shape[0], attention.shape[-1]
    if attention.shape != (heads, frames, frames) or times.shape != (frames,) or log_mel.ndim != 2 or not heads:
        raise ValueError(
            f"Weights must be (heads, frames, frames), times (frames,) and log_mel (mel frames, bands); the shapes "
            f"are {attention.shape}, {times.shape} and {log_mel.shape}."
        )
    if np.abs(attention.sum(axis=-1) - 1).max() > 1e-3:
        raise ValueError("The weights of each frame must sum to 1; pass the clip's real frames only.")
    names = [f"head {number}" for number in range(1, heads + 1)] if head_names is None else list(head_names)
    if len(names) != heads:
        raise ValueError(f"{heads} heads have {len(names)} names.")

    columns = min(max(heads, 2), MAPS_IN_A_ROW)
    rows = math.ceil(heads / columns)
    side = 6.2 / columns
    fig = new_figure(7.0, 3.4 + rows * (side + 0.25))
    above, below = fig.add_gridspec(2, 1, height_ratios=(3.4, rows * (side + 0.25)))
    spectrum, received = above.subgridspec(2, 1, height_ratios=(1.25, 1)).subplots(sharex=True)
    _draw_spectrogram(spectrum, log_mel, mel_step, top_frequency)
    if title:
        spectrum.set_title(title)
    share = frames * attention.mean(axis=1)  # (heads, frames)
    for number, (name, curve) in enumerate(zip(names, share, strict=True)):
        style = ("-", "--", ":", "-.")[number // len(COLORS) % 4]
        received.plot(times, curve, color=COLORS[number % len(COLORS)], linestyle=style, linewidth=1.2, label=name)
    received.axhline(1, color="#bbbbbb", linewidth=0.8, zorder=0)
    received.set(xlabel="time (s)", ylabel="attention received\n(1 = even)", ylim=(0, None))
    # At the right, beside the curves, where neither they nor labels are.
    received.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), ncols=math.ceil(heads / 5), handlelength=1.4)

    half = (times[-1] - times[0]) / max(1, frames - 1) / 2
    extent = (times[0] - half, times[-1] + half, times[-1] + half, times[0] - half)
    if not half:  # a single frame
        extent = (times[0], times[0] + mel_step, times[0] + mel_step, times[0])
    # A common scale, so that a head that looks everywhere is seen to; a few peaks may be brighter than it reaches.
    top = max(1.0, float(np.quantile(frames * attention, 0.995)))
    grid = below.subgridspec(rows, columns).subplots(squeeze=False, sharex=True, sharey=True)
    for number, axes in enumerate(grid.flat):
        if number >= heads:
            axes.set_visible(False)
            continue
        image = axes.imshow(frames * attention[number], cmap="cividis", vmin=0, vmax=top, extent=extent)
        axes.set_title(names[number])
        axes.set_xlabel("looked at (s)")
        if number % columns == 0:
            axes.set_ylabel("looking (s)")
    bar = fig.colorbar(image, ax=grid, label="weight × T", fraction=0.025, pad=0.02, extend="max")
    bar.outline.set_visible(False)
    return fig


def _draw_spectrogram(axes: "Axes", log_mel: np.ndarray, mel_step: float, top_frequency: float) -> None:
    """Draw log-mel energies, each where its filter stands in time and frequency."""
    import librosa
    from librosa.display import specshow

    frames, bands = log_mel.shape
    top = float(log_mel.max())
    specshow(
        log_mel.T,  # (bands, frames)
        ax=axes,
        x_axis="s",
        x_coords=mel_step * (np.arange(frames + 1) - 0.5),  # edges: a frame stands in the middle
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
