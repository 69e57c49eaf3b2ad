"""How figures look and how they are saved; what each of them shows is in the files beside this one.

They are drawn without `pyplot`, so nothing is global: no windows, no current figure, and a user's own matplotlib
settings neither change them nor are changed.
"""

import functools
import importlib.util
import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from speech_emotion.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colors, which people with any of the color blindnesses tell apart; yellow is left out, too pale here.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GRAY = "#767676"
FORMATS = (".png", ".svg")

STYLE: dict[str, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "savefig.dpi": 150.0,
    "savefig.bbox": "tight",  # nothing that is written at an edge is cut
    "savefig.pad_inches": 0.06,
    "svg.fonttype": "path",  # letters as shapes: they are where they were drawn, whatever fonts the reader has
    "svg.hashsalt": "modeling-ser",  # else matplotlib names the parts of an SVG at random
}

P = ParamSpec("P")
R = TypeVar("R")


def figure_style() -> AbstractContextManager[None]:
    """Return the context in which figures are drawn and saved."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ModuleNotFoundError(
            "Figures need matplotlib, which is not installed: pip install 'modeling-ser[plots]'.", name="matplotlib"
        )
    from matplotlib import style

    return style.context(["default", STYLE])


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Let a function draw in this project's style."""

    @functools.wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> R:
        with figure_style():
            return draw(*args, **kwargs)

    return in_style


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty figure whose parts make room for each other."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


@styled
def save_figure(fig: "Figure", path: str | Path) -> Path:
    """Write a figure, whole or not at all."""
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"{path}: a figure is written as {' or '.join(FORMATS)}; choose such an ending.")
    metadata = {"Software": None} if path.suffix == ".png" else {"Date": None, "Creator": None}
    _settle(fig)
    fig.savefig(content := io.BytesIO(), format=path.suffix[1:], metadata=metadata)
    return write_bytes(path, content.getvalue())


@styled
def page_picture(fig: "Figure") -> str:
    """Return a figure as SVG to stand in a page: without a ground, and in the page's own color where it is black."""
    from matplotlib import rc_context

    _settle(fig)
    with rc_context({"svg.hashsalt": None}):  # its parts have names of their own: several figures stand in one page
        fig.savefig(file := io.StringIO(), format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    _, start, text = file.getvalue().partition("<svg ")
    # Its rule for all elements would be one of the whole page.
    text = re.sub(r"<style.*?</style>", "", text, flags=re.S).replace("stroke: #000000", "stroke: currentColor")
    return f'{start}fill="currentColor" stroke-linejoin="round" {text}'


def _settle(fig: "Figure") -> None:
    """Lay the figure out for good, on rounded positions."""
    if fig.get_layout_engine() is None:
        return
    fig.draw_without_rendering()
    fig.set_layout_engine("none")
    for axes in fig.axes:
        left, bottom, width, height = axes.get_position(original=True).bounds
        axes.set_position([round(value, 6) for value in (left, bottom, width, height)])
