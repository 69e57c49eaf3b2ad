"""The figures of the studies: the same file twice, no text over other text, and what they show."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed: no figures")

from matplotlib.figure import Figure

from reproduction.studies.head_figures import head_figure, head_profile_figure
from reproduction.studies.layer_figures import activations_figure, layer_figure
from tests.speech_emotion.evaluation.figure_checks import assert_drawn_twice_is_the_same, text_clashes

CURVE = np.array([[0.5, 0.6], [0.4, 0.5], [0.6, 0.7]])


def draw_heads() -> Figure:
    estimate = np.array([[0.3, 0.1], [0.2, 0.0], [0.4, 0.2]])
    return head_figure(["1", "2"], estimate, np.array([[0.9, 0.1], [0.1, 0.9]]), -estimate[[0, 2, 1]])


DRAWN: dict[str, Callable[[], Figure]] = {
    "layers": lambda: layer_figure(["1", "2"], {"r": {"emotions": CURVE, "speakers": CURVE}, "UA": {"probe": CURVE}}),
    "activations": lambda: activations_figure(
        [[np.eye(5)] * 2] * 3, ["anger", "fear", "sadness"], ["layer 1", "layer 2"]
    ),
    "heads": draw_heads,
    "profiles": lambda: head_profile_figure(["fold 0"], np.array([[0.4, 0.1]]), np.array([[0.3, 0.2]])),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_study_figure_is_the_same_file_twice_and_can_be_read(name: str, tmp_path: Path) -> None:
    assert_drawn_twice_is_the_same(DRAWN[name], tmp_path)
    assert text_clashes(DRAWN[name]()) == []


def test_head_figure_has_three_panels() -> None:
    worth, ranks, change = draw_heads().axes
    assert (worth.get_ylabel(), change.get_ylabel()) == ("importance (nats)", "change of UA (points)")
    assert {axes.get_xlabel() for axes in (worth, ranks, change)} == {"head"}
    assert [bar.get_height() for bar in ranks.patches] == [90, 10, 10, 90]
