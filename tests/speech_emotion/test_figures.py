"""Figures: what they show, that they are the same twice, and that they are written whole or not at all."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed: no figures")

import matplotlib
from matplotlib.figure import Figure
from matplotlib.image import imread

from reproduction.studies.head_figures import head_figure, head_profile_figure
from reproduction.studies.layer_figures import activations_figure, layer_figure
from speech_emotion.cli.main import main as ser
from speech_emotion.cross_validation.result_figures import draw_results, training_runs
from speech_emotion.cross_validation.score_store import FoldScores
from speech_emotion.evaluation.calibration import expected_calibration_error
from speech_emotion.evaluation.figures import save_figure
from speech_emotion.evaluation.figures_attention import attention_figure
from speech_emotion.evaluation.figures_runs import (
    average_curve,
    confusion_figure,
    learning_curves_figure,
    reliability_figure,
    ua_figure,
)

from .simulated_scores import all_folds, save_all

LABELS = ["anger", "fear", "sadness"]
COUNTS = np.array([[8, 1, 1], [0, 5, 0], [0, 0, 0]])


def even_attention(heads: int = 2, frames: int = 6) -> np.ndarray:
    return np.full((heads, frames, frames), 1 / frames)


def draw_attention(heads: int = 2, frames: int = 6) -> Figure:
    return attention_figure(
        even_attention(heads, frames), 0.025 * np.arange(frames), np.zeros((frames, 128)), 0.025, title="a.wav"
    )


def draw_heads() -> Figure:
    estimate = np.array([[0.3, 0.1], [0.2, 0.0], [0.4, 0.2]])
    return head_figure(["1", "2"], estimate, np.array([[0.9, 0.1], [0.1, 0.9]]), -estimate[[0, 2, 1]])


def draw_layers() -> Figure:
    curve = np.array([[0.5, 0.6], [0.4, 0.5], [0.6, 0.7]])
    return layer_figure(["1", "2"], {"r": {"two emotions": curve, "two speakers": curve}, "UA": {"probe": curve}})


DRAWN: dict[str, Callable[[], Figure]] = {
    "confusion": lambda: confusion_figure(COUNTS, LABELS, "EmoDB"),
    "reliability": lambda: reliability_figure([0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]]),
    "ua": lambda: ua_figure(["Model-1", "Satt 2017"], [0.6, 0.5], [0.5, 0.45], [0.7, 0.6], chance=0.25),
    "curves": lambda: learning_curves_figure({"loss": {"training": [[1.0, 0.5], [0.9]], "validation": [[1.1, 0.8]]}}),
    "attention": draw_attention,
    "layers": draw_layers,
    "activations": lambda: activations_figure([[np.eye(5)] * 2] * 3, LABELS, ["layer 1", "layer 2"]),
    "heads": draw_heads,
    "profiles": lambda: head_profile_figure(["fold 0"], np.array([[0.4, 0.1]]), np.array([[0.3, 0.2]])),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_drawn_twice_is_the_same_file(name: str, tmp_path: Path) -> None:
    for ending in ("svg", "png"):
        first, second = (save_figure(DRAWN[name](), tmp_path / f"{number}.{ending}") for number in range(2))
        equal = first.read_bytes() == second.read_bytes()
        assert equal, f"{name}.{ending}"  # pytest would take minutes to show where they differ
    svg = (tmp_path / "0.svg").read_text()
    assert "<dc:date>" not in svg
    assert imread(tmp_path / "0.png").shape[1] > 400


@pytest.mark.parametrize("name", DRAWN)
def test_no_text_is_drawn_over_other_text(name: str) -> None:
    fig = DRAWN[name]()
    fig.draw_without_rendering()
    boxes = [
        (text.get_text(), text.get_window_extent())
        for text in fig.findobj(matplotlib.text.Text)
        if text.get_text().strip() and text.get_visible() and not isinstance(text, matplotlib.text.Annotation)
    ]
    # Ticks beyond the limits exist but are not drawn.
    shown = [(text, box.padded(-1.5)) for text, box in boxes if fig.bbox.overlaps(box)]
    invisible = {
        tick.label1.get_text()
        for axes in fig.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not axis.get_view_interval().min() <= tick.get_loc() <= axis.get_view_interval().max()
    }
    shown = [(text, box) for text, box in shown if text not in invisible]
    clashes = [
        (text, other)
        for number, (text, box) in enumerate(shown)
        for other, its_box in shown[number + 1 :]
        if box.overlaps(its_box)
    ]
    assert clashes == []


def test_a_users_settings_neither_change_a_figure_nor_are_changed(tmp_path: Path) -> None:
    plain = save_figure(DRAWN["ua"](), tmp_path / "plain.svg").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "svg.hashsalt": "other"}):
        assert save_figure(DRAWN["ua"](), tmp_path / "mine.svg").read_bytes() == plain
        assert matplotlib.rcParams["font.size"] == 30
    assert "matplotlib.pyplot" not in sys.modules or not matplotlib.pyplot.get_fignums()


def test_files_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_figure(DRAWN["ua"](), tmp_path / "ua.png")
    before = path.read_bytes()

    def fail(self: Figure, file: Path, **kwargs: Any) -> None:
        Path(file).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="no space"):
        save_figure(DRAWN["confusion"](), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match=r"\.png or \.svg"):
        save_figure(Figure(), tmp_path / "ua.pdf")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    find = "speech_emotion.evaluation.figures.importlib.util.find_spec"
    monkeypatch.setattr(find, lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"modeling-ser\[plots\]"):
        DRAWN["ua"]()
    assert ser(["figures", "results", "--results", str(tmp_path), "--output", str(tmp_path)]) == 1
    assert "modeling-ser[plots]" in capsys.readouterr().err


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
        (lambda: attention_figure(2 * even_attention(), np.arange(6), np.zeros((6, 4)), 1.0), "sum to 1"),
        (lambda: attention_figure(even_attention(), np.arange(5), np.zeros((6, 4)), 1.0), "the shapes"),
        (lambda: attention_figure(even_attention(), np.arange(6), np.zeros((6, 4)), 1.0, 8e3, ["1"]), "1 names"),
        (lambda: layer_figure(["1"], {"r": {"a": np.zeros((3, 2))}}), r"\(3, 1\)"),
        (lambda: activations_figure([[np.eye(2)]], ["anger"], ["1", "2"]), "for each pair"),
        (lambda: head_figure(["1"], np.zeros((3, 1)), np.zeros((2, 2)), np.zeros((3, 1))), "rank_shares"),
        (lambda: head_profile_figure(["a"], np.zeros((1, 2)), np.zeros((1, 3))), "must both be"),
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
def test_attention_has_a_matrix_for_each_head_on_the_clips_axis_of_time(heads: int) -> None:
    frames = 10
    fig = draw_attention(heads, frames)
    spectrum, received = fig.axes[:2]
    matrices = [axes for axes in fig.axes if axes.get_title().startswith("head")]
    assert [axes.get_title() for axes in matrices] == [f"head {number + 1}" for number in range(heads)]
    assert received.get_xlabel() == "time (s)"
    assert spectrum.get_shared_x_axes().joined(spectrum, received)
    assert len(received.get_legend().get_texts()) == heads
    np.testing.assert_allclose(received.lines[0].get_xdata(), 0.025 * np.arange(frames))
    for matrix in matrices:
        np.testing.assert_allclose(matrix.images[0].get_extent(), [-0.0125, 0.2375, 0.2375, -0.0125])
        np.testing.assert_allclose(matrix.images[0].get_array(), 1)  # even attention
    np.testing.assert_allclose(received.lines[0].get_ydata(), 1)


def test_attention_received_is_the_mean_over_those_who_look() -> None:
    attention = np.array([[[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]])
    fig = attention_figure(attention, np.array([0.0, 0.02, 0.04]), np.zeros((2, 40)), 0.025, 8000.0, ["only"])
    np.testing.assert_allclose(fig.axes[1].lines[0].get_ydata(), [0.5, 2.0, 0.5])


def test_spectrogram_ticks_stand_at_the_filters_of_their_frequencies() -> None:
    librosa = pytest.importorskip("librosa")
    centers = librosa.mel_frequencies(130, fmin=0, fmax=8000)[1:-1]
    axis = draw_attention().axes[0].yaxis
    ticks = {label.get_text(): place for label, place in zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True)}
    for name, place in ticks.items():
        assert np.interp(place, np.arange(128), centers) == pytest.approx(1000 * float(name), rel=0.003)
    assert list(ticks) == ["0.25", "0.5", "1", "2", "4"]


def test_head_figure_has_three_panels() -> None:
    worth, ranks, change = draw_heads().axes
    assert (worth.get_ylabel(), change.get_ylabel()) == ("importance (nats)", "change of UA (points)")
    assert {axes.get_xlabel() for axes in (worth, ranks, change)} == {"head"}
    assert [bar.get_height() for bar in ranks.patches] == [90, 10, 10, 90]


def write_results(folder: Path, systems: tuple[str, ...] = ("model-1", "model-2")) -> Path:
    random = np.random.default_rng(0)
    for system in systems:
        for seed in range(2):
            for fold in range(3):
                truth = np.tile(np.arange(3), 4)
                names = {"id": [f"{fold}-{clip}" for clip in range(12)], "split": ["test"] * 12}
                people = {"speaker": [f"m{fold}"] * 12, "sex": ["m"] * 12, "sentence": [None] * 12}
                clips = names | people | {"label": [LABELS[label] for label in truth]}
                scores = np.full((12, 3), 0.1)
                scores[np.arange(12), (truth + (random.random(12) < 0.3)) % 3] = 0.8
                curve = [
                    {"epoch": epoch, "train_loss": 1 / epoch, "validation_loss": 1.0, "validation_ua": 0.5}
                    for epoch in range(1, 4 + seed)
                ]
                about = {"curve": curve} if system == "model-1" else {}
                FoldScores("emodb", system, seed, fold, LABELS, clips, scores, about).save(folder)
    return folder


def test_results_become_figures_with_their_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = write_results(tmp_path / "results")
    output = tmp_path / "figures"
    words = ["figures", "results", "--results", str(results), "--output", str(output), "--format", "png", "svg"]
    assert ser(words) == 0
    printed = [Path(line).relative_to(output).as_posix() for line in capsys.readouterr().out.splitlines()]
    found = sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())
    assert sorted(printed) == found
    both = [f"{name}.{ending}" for name in ("confusion", "reliability") for ending in ("png", "svg")]
    first = {f"emodb/model-1/{name}" for name in [*both, "confusion.csv", "curves.png", "curves.svg", "curves.csv"]}
    second = {f"emodb/model-2/{name}" for name in [*both, "confusion.csv"]}
    assert set(found) == first | second | {"emodb/ua.png", "emodb/ua.svg", "emodb/ua.csv"}
    counts = [line.split(",")[1:] for line in (output / "emodb/model-1/confusion.csv").read_text().splitlines()[1:]]
    assert np.array(counts, dtype=int).sum() == 72  # 36 clips, twice for the two seeds
    curves = (output / "emodb/model-1/curves.csv").read_text().splitlines()
    assert curves[1] == "train_loss,1,1.000000,0.000000,6"
    assert curves[4] == "train_loss,4,0.250000,0.000000,3"
    rows = [line.split(",") for line in (output / "emodb/ua.csv").read_text().splitlines()[1:]]
    assert float(rows[0][2]) >= float(rows[1][2])
    assert all(float(low) <= float(value) <= float(high) for _, _, value, low, high, _ in rows)
    titles = {"model-1": "Model-1 (acoustic)", "model-2": "Model-2 (linguistic)"}
    assert {name: title for name, title, *_ in rows} == titles
    for name, title in titles.items():
        assert title in (output / "emodb" / name / "confusion.svg").read_text()
        assert "EmoDB, 3 folds × 2 seeds" in (output / "emodb" / name / "confusion.svg").read_text()
        assert title in (output / "emodb/ua.svg").read_text()


def test_seeds_that_are_not_complete_are_left_out(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results")
    (results / "emodb/model-2/seed-0_fold-1.parquet").unlink()
    (results / "emodb/model-2/seed-1_fold-1.parquet").unlink()
    (results / "emodb/model-1/seed-1_fold-2.parquet").unlink()
    files = draw_results(results, tmp_path / "figures")
    assert not any("model-2" in str(file) for file in files)
    counts = (tmp_path / "figures/emodb/model-1/confusion.csv").read_text().splitlines()[1:]
    assert sum(int(number) for line in counts for number in line.split(",")[1:]) == 36
    drawn = draw_results(results, tmp_path / "figures", formats=(".svg",))
    assert "Model-1 (acoustic) (1 of 2 seeds)" in (tmp_path / "figures/emodb/ua.svg").read_text()
    assert (tmp_path / "figures/emodb/ua.csv").read_text().splitlines()[1].endswith(",1")
    assert tmp_path / "figures/emodb/ua.svg" in drawn


def test_of_one_speaker_there_is_no_interval_and_no_figure_of_it(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results")
    for path in results.rglob("*_fold-[12].parquet"):
        path.unlink()
    drawn = {path.name for path in draw_results(results, tmp_path / "figures")}
    assert "confusion.png" in drawn and "ua.png" not in drawn


def test_no_results_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ser(["figures", "results", "--results", str(tmp_path), "--corpus", "emodb"]) == 1
    assert "no results in" in capsys.readouterr().err


def test_each_member_of_an_ensemble_is_a_training(tmp_path: Path) -> None:
    curve = [{"member": member, "epoch": epoch, "train_loss": member + epoch} for epoch in (2, 1) for member in (0, 1)]
    clips = {name: ["a"] for name in ("id", "split", "speaker", "sex", "sentence", "label")}
    entry = FoldScores("c", "s", 0, 0, ["a"], clips, [[1.0]], {"curve": curve})
    assert training_runs([entry]) == {"train_loss": [[1, 2], [2, 3]]}


def test_the_machines_of_a_grid_are_no_epochs() -> None:
    grid = [{"kernel": "linear", "C": strength, "validation_ua": 0.5} for strength in (0.1, 1.0)]
    clips = {name: ["a"] for name in ("id", "split", "speaker", "sex", "sentence", "label")}
    assert training_runs([FoldScores("emodb", "svm", 0, 0, ["a"], clips, [[1.0]], {"curve": grid})]) == {}


def test_where_no_seed_is_whole_nothing_is_drawn_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folds = all_folds("model-1", (0, 1), corpus="emodb")
    save_all([folds[0], folds[-1]], tmp_path)  # a fold of each seed, and not the same
    assert ser(["figures", "results", "--results", str(tmp_path), "--output", str(tmp_path / "figures")]) == 1
    assert "has a complete seed yet" in capsys.readouterr().err
