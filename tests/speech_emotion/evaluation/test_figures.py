"""Figures: what they show, that they are the same twice, and that they are written whole or not at all."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed: no figures")

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from speech_emotion.cli.main import main as ser
from speech_emotion.evaluation.calibration import expected_calibration_error
from speech_emotion.evaluation.figures import page_picture, save_figure
from speech_emotion.evaluation.figures_explanation import AGAINST, FOR, explanation_figure
from speech_emotion.evaluation.figures_runs import (
    average_curve,
    confusion_figure,
    learning_curves_figure,
    reliability_figure,
    ua_figure,
)
from tests.full_disk import little_room

from .figure_checks import assert_drawn_twice_is_the_same, text_clashes

LABELS = ["anger", "fear", "sadness"]
COUNTS = np.array([[8, 1, 1], [0, 5, 0], [0, 0, 0]])


def even_attention(heads: int = 2, frames: int = 6) -> np.ndarray:
    return np.full((heads, frames, frames), 1 / frames)


def draw_explanation(heads: int = 2, frames: int = 6, **given: Any) -> Figure:
    seconds = 0.025 * frames
    drawn = {
        "label": "anger",
        "start": 0.0,
        "end": seconds,
        "log_mel": np.zeros((frames, 128)),
        "mel_step": 0.025,
        "top_frequency": 8000.0,
        "stretches": [(0.0, seconds / 2, 0.2), (seconds / 4, 3 * seconds / 4, 0.3), (seconds / 2, seconds, -0.1)],
        "words": [("no", 0.0, seconds / 3, 0.3), ("way", seconds / 3, seconds, -0.15)],
        "attention": even_attention(heads, frames),
        "times": 0.025 * np.arange(frames),
        "head_names": [f"head {number + 1}" for number in range(heads)],
        "title": "a.wav",
    }
    return explanation_figure(**(drawn | given))


DRAWN: dict[str, Callable[[], Figure]] = {
    "confusion": lambda: confusion_figure(COUNTS, LABELS, "EmoDB"),
    "reliability": lambda: reliability_figure([0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]]),
    "ua": lambda: ua_figure(["Model-1", "Satt 2017"], [0.6, 0.5], [0.5, 0.45], [0.7, 0.6], chance=0.25),
    "curves": lambda: learning_curves_figure({"loss": {"training": [[1.0, 0.5], [0.9]], "validation": [[1.1, 0.8]]}}),
    "explanation": draw_explanation,
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_the_same_file_twice_and_can_be_read(name: str, tmp_path: Path) -> None:
    assert_drawn_twice_is_the_same(DRAWN[name], tmp_path)
    assert text_clashes(DRAWN[name]()) == []


def test_a_users_settings_neither_change_a_figure_nor_are_changed(tmp_path: Path) -> None:
    plain = save_figure(DRAWN["ua"](), tmp_path / "plain.svg").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "svg.hashsalt": "other"}):
        assert save_figure(DRAWN["ua"](), tmp_path / "mine.svg").read_bytes() == plain
        assert matplotlib.rcParams["font.size"] == 30
    assert "matplotlib.pyplot" not in sys.modules or not matplotlib.pyplot.get_fignums()


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = save_figure(DRAWN["ua"](), tmp_path / "ua.png")
    before = path.read_bytes()
    with little_room(len(before) // 2), pytest.raises(OSError, match=re.escape(str(path))):
        save_figure(DRAWN["confusion"](), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    link = tmp_path / "link.png"
    link.symlink_to(path.name)
    save_figure(DRAWN["confusion"](), link)
    assert link.is_symlink() and path.read_bytes() != before
    with pytest.raises(ValueError, match=r"\.png or \.svg"):
        save_figure(Figure(), tmp_path / "ua.pdf")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    find = "speech_emotion.evaluation.figures.importlib.util.find_spec"
    monkeypatch.setattr(find, lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"modeling-ser\[plots\]"):
        DRAWN["ua"]()
    assert ser(["figures", "results", "--results", str(tmp_path), "--output", str(tmp_path)]) == 1
    assert "modeling-ser[plots]" in capsys.readouterr().err


def test_a_picture_of_a_page_has_the_pages_color_and_parts_of_its_own() -> None:
    first, second = (page_picture(draw_explanation()) for _ in range(2))
    for picture in (first, second):
        root = ElementTree.fromstring(picture)
        assert root.get("fill") == "currentColor" and "stroke: currentColor" in picture
        assert "#000000" not in picture and "<style" not in picture
    clips = [set(re.findall(r'<clipPath id="(\w+)"', picture)) for picture in (first, second)]
    assert clips[0] and not clips[0] & clips[1]


def test_confusion_shows_counts_and_shares_of_the_true_class() -> None:
    axes = confusion_figure(COUNTS, LABELS, "EmoDB").axes[0]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts[0, 0] == "8\n80%"
    assert texts[1, 0] == "1\n10%"
    assert len(texts) == 6  # the class without clips has an empty row
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.8, 0.1, 0.1], [0, 1, 0], [0, 0, 0]])
    assert axes.get_title() == "EmoDB\nWA 86.7%, UA 90.0%, 15 clips"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert [tick.get_text() for tick in axes.get_yticklabels()] == LABELS


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: confusion_figure(COUNTS, LABELS[:2]), r"must be \(2, 2\)"),
        (lambda: confusion_figure(0 * COUNTS, LABELS), "a clip at least"),
        (lambda: ua_figure(["a"], [0.5], [0.7], [0.4]), "lies above its upper end"),
        (lambda: ua_figure([], [], [], []), "0 systems"),
        (lambda: learning_curves_figure({}), "no learning curves"),
        (lambda: average_curve([[]]), "an epoch at least"),
        (lambda: draw_explanation(attention=2 * even_attention()), "sum to 1"),
        (lambda: draw_explanation(times=np.arange(5)), "the shapes"),
        (lambda: draw_explanation(head_names=["1"]), "1 names"),
    ],
)
def test_what_does_not_fit_is_named(draw: Callable[[], Figure], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw()


def test_reliability_draws_the_bins_and_their_error() -> None:
    truth, scores = np.array([0, 1, 1, 0]), np.array([[0.95, 0.05], [0.9, 0.1], [0.45, 0.55], [0.6, 0.4]])
    above, below = reliability_figure(truth, scores, 10).axes
    line = above.lines[-1]
    np.testing.assert_allclose(line.get_xdata(), [0.575, 0.9, 0.95])
    np.testing.assert_allclose(line.get_ydata(), [1.0, 0.0, 1.0])
    error = expected_calibration_error(truth, scores, 10)
    assert above.get_title() == f"expected calibration error {100 * error:.1f}%"
    np.testing.assert_allclose(sum(bar.get_height() for bar in below.patches), 1)


def test_ua_has_a_row_for_each_system() -> None:
    axes = DRAWN["ua"]().axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["Model-1", "Satt 2017"]
    assert axes.get_xlabel() == "UA (%)"
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [60, 50])
    assert {text.get_text().strip() for text in axes.texts} == {"60.0", "50.0", "chance"}
    bottom, top = axes.get_ylim()
    assert bottom > top  # the first system is on top


def test_curves_end_where_less_than_half_of_the_runs_go_on() -> None:
    mean, deviation, count = average_curve([[1, 2, 3, 9], [3, 4], [2, np.nan], [2, 3, 5]])
    np.testing.assert_allclose(mean, [2, 3, 4])
    np.testing.assert_allclose(deviation, [np.std([1, 3, 2, 2], ddof=1), 1, np.sqrt(2)])
    assert count.tolist() == [4, 3, 2]
    np.testing.assert_allclose(average_curve([[5.0, 6.0]])[1], 0)


def test_curves_have_a_panel_for_each_quantity() -> None:
    fig = learning_curves_figure(
        {"loss": {"training": [[1, 2]], "validation": [[2, 3]]}, "UA": {"validation": [[0.5, 0.6]]}}
    )
    assert [axes.get_ylabel() for axes in fig.axes] == ["loss", "UA"]
    assert [axes.get_xlabel() for axes in fig.axes] == ["epoch", "epoch"]
    assert [len(axes.lines) for axes in fig.axes] == [2, 1]
    assert [text.get_text() for text in fig.axes[0].get_legend().get_texts()] == ["training", "validation"]


@pytest.mark.parametrize("heads", [1, 2, 4, 6])
@pytest.mark.parametrize("width", [4.0, 30.0])
def test_an_explanation_has_the_clips_axis_of_time_and_a_matrix_for_each_head(heads: int, width: float) -> None:
    frames = 10
    fig = draw_explanation(heads, frames, width=width)
    spectrum, words, falls, strip = fig.axes[:4]
    matrices = [axes for axes in fig.axes if axes.get_title().startswith("head")]
    assert [axes.get_title() for axes in matrices] == [f"head {number + 1}" for number in range(heads)]
    assert strip.get_xlabel() == "time (s)" and strip.get_xlim() == (0, 0.25)
    for axes in (words, falls, strip):
        assert spectrum.get_shared_x_axes().joined(spectrum, axes)
    fig.draw_without_rendering()
    places = [axes.get_position() for axes in (spectrum, words, falls, strip)]
    assert all((place.x0, place.x1) == pytest.approx((places[0].x0, places[0].x1)) for place in places)
    assert [label.get_text() for label in strip.get_yticklabels()] == [axes.get_title() for axes in matrices]
    np.testing.assert_allclose(strip.images[0].get_extent(), [-0.0125, 0.2375, heads - 0.5, -0.5])
    np.testing.assert_allclose(strip.images[0].get_array(), 1)  # even attention
    for matrix in matrices:
        np.testing.assert_allclose(matrix.images[0].get_extent(), [-0.0125, 0.2375, 0.2375, -0.0125])
        np.testing.assert_allclose(matrix.images[0].get_array(), 1)


def test_what_spoke_for_the_label_has_one_color_and_what_spoke_against_it_another() -> None:
    _, words, falls = draw_explanation().axes[:3]
    for area, color, (low, high) in zip(falls.collections, (FOR, AGAINST), ((0, 0.3), (-0.1, 0)), strict=True):
        heights = np.concatenate([path.vertices[:, 1] for path in area.get_paths()])
        assert matplotlib.colors.to_hex(area.get_facecolor()[0]).upper() == color
        assert (heights.min(), heights.max()) == pytest.approx((low, high), abs=1e-9)
    colors = [(matplotlib.colors.to_hex(one.get_facecolor()).upper(), one.get_alpha()) for one in words.patches]
    assert colors == [(FOR, 0.75), (AGAINST, 0.375)]
    assert [text.get_text() for text in words.texts] == ["no", "way"]
    assert {text.get_rotation() for text in words.texts} == {0}
    crowded = [("a", 0.0, 0.05, 0.1), ("incomprehensible", 0.05, 0.052, 0.1), ("mumbling", 0.06, 0.065, 0.1)]
    _, words = draw_explanation(words=crowded, width=8.0).axes[:2]
    assert [(text.get_text(), text.get_rotation()) for text in words.texts] == [("a", 0), ("mumbling", 90)]


def test_letters_that_the_usual_font_lacks_are_taken_from_another() -> None:
    letters = {
        name: set(get_font(findfont(name)).get_charmap()) for name in ("DejaVu Sans", "STIXGeneral")
    }  # both come with matplotlib
    rare = chr(max(letters["STIXGeneral"] - letters["DejaVu Sans"]))
    plain, strange = (draw_explanation(words=[(text, 0.0, 0.1, 0.1)]).axes[1].texts[0] for text in ("a", "a" + rare))
    assert plain.get_fontfamily() == ["DejaVu Sans"]
    first, *others = strange.get_fontfamily()
    assert first == "DejaVu Sans" and any(ord(rare) in get_font(findfont(name)).get_charmap() for name in others)


def test_attention_received_is_the_mean_over_those_who_look() -> None:
    attention = np.array([[[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]])
    fig = draw_explanation(1, attention=attention, times=np.array([0.0, 0.02, 0.04]), words=None)
    np.testing.assert_allclose(fig.axes[2].images[0].get_array(), [[0.5, 2.0, 0.5]])


def test_each_band_of_the_spectrogram_stands_at_its_frequency() -> None:
    librosa = pytest.importorskip("librosa")
    log_mel = np.random.default_rng(0).normal(size=(6, 128))
    axes = draw_explanation(log_mel=log_mel, start=2.0, end=2.15).axes[0]
    (mesh,) = axes.collections
    np.testing.assert_allclose(mesh.get_array(), log_mel.T)
    edges = mesh.get_coordinates()  # (bands + 1, frames + 1, 2)
    np.testing.assert_allclose(edges[0, :, 0], 2 + 0.025 * (np.arange(7) - 0.5))
    centers = librosa.mel_frequencies(130, fmin=0, fmax=8000)[1:-1]
    np.testing.assert_allclose(
        librosa.hz_to_mel(edges[:, 0, 1])[:-1] + np.diff(librosa.hz_to_mel(edges[:, 0, 1])) / 2,
        librosa.hz_to_mel(centers),
    )
    labels = {label.get_text(): place for label, place in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)}
    assert labels == {"0.25": 250, "0.5": 500, "1": 1000, "2": 2000, "4": 4000}
