"""What is checked of every figure: the same file twice, and no text over other text."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.image import imread

from speech_emotion.evaluation.figures import save_figure


def assert_drawn_twice_is_the_same(draw: Callable[[], Figure], folder: Path) -> None:
    """Draw and save a figure twice, as SVG and as PNG."""
    for ending in ("svg", "png"):
        first, second = (save_figure(draw(), folder / f"{number}.{ending}") for number in range(2))
        equal = first.read_bytes() == second.read_bytes()
        assert equal, ending  # pytest would take minutes to show where they differ
    assert "<dc:date>" not in (folder / "0.svg").read_text()
    assert imread(folder / "0.png").shape[1] > 400


def text_clashes(fig: Figure) -> list[tuple[str, str]]:
    """Return the texts of a figure that are drawn over each other."""
    fig.draw_without_rendering()
    boxes = [
        (text.get_text(), text.get_window_extent())
        for text in fig.findobj(matplotlib.text.Text)
        if text.get_text().strip() and text.get_visible() and not isinstance(text, matplotlib.text.Annotation)
    ]
    # Ticks beyond the limits exist but are not drawn.
    invisible = {
        tick.label1.get_text()
        for axes in fig.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not axis.get_view_interval().min() <= tick.get_loc() <= axis.get_view_interval().max()
    }
    shown = [(text, box.padded(-1.5)) for text, box in boxes if fig.bbox.overlaps(box) and text not in invisible]
    return [
        (text, other)
        for number, (text, box) in enumerate(shown)
        for other, its_box in shown[number + 1 :]
        if box.overlaps(its_box)
    ]
