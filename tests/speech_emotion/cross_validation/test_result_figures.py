"""Figures of finished runs: which are drawn, from which folds, and the numbers beside them."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed: no figures")

from speech_emotion.cli.main import main as ser
from speech_emotion.cross_validation.result_figures import draw_results, training_runs
from speech_emotion.cross_validation.score_store import FoldScores

from .simulated_scores import all_folds, save_all


def write_results(folder: Path) -> Path:
    """Two systems with two seeds, of one of which the learning curves are known; the second seed's is longer."""
    folds = all_folds("model-2", corpus="emodb")
    for seed in range(2):
        curve = [
            {"epoch": epoch, "train_loss": 1 / epoch, "validation_loss": 1.0, "validation_ua": 0.5}
            for epoch in range(1, 4 + seed)
        ]
        folds += all_folds("model-1", (seed,), corpus="emodb", about={"curve": curve})
    return save_all(folds, folder)


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
    assert np.array(counts, dtype=int).sum() == 2 * 54  # of two seeds
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
    assert sum(int(number) for line in counts for number in line.split(",")[1:]) == 54
    drawn = draw_results(results, tmp_path / "figures", formats=(".svg",))
    assert "Model-1 (acoustic) (1 of 2 seeds)" in (tmp_path / "figures/emodb/ua.svg").read_text()
    assert (tmp_path / "figures/emodb/ua.csv").read_text().splitlines()[1].endswith(",1")
    assert tmp_path / "figures/emodb/ua.svg" in drawn


def test_of_one_speaker_there_is_no_interval_and_no_figure_of_it(tmp_path: Path) -> None:
    results = save_all(all_folds(speakers=1), tmp_path / "results")
    drawn = {path.name for path in draw_results(results, tmp_path / "figures")}
    assert "confusion.png" in drawn and "ua.png" not in drawn


@pytest.mark.parametrize(
    ("curve", "runs"),
    [
        (
            [
                {"member": member, "epoch": epoch, "train_loss": member + epoch}
                for epoch in (2, 1)
                for member in (0, 1)
            ],
            {"train_loss": [[1, 2], [2, 3]]},
        ),
        ([{"kernel": "linear", "C": strength, "validation_ua": 0.5} for strength in (0.1, 1.0)], {}),  # of a grid
    ],
)
def test_each_member_of_an_ensemble_is_a_training_and_the_machines_of_a_grid_are_no_epochs(
    curve: list[dict[str, object]], runs: dict[str, list[list[float]]]
) -> None:
    clips = {name: ["a"] for name in ("id", "split", "speaker", "sex", "sentence", "label")}
    assert training_runs([FoldScores("c", "s", 0, 0, ["a"], clips, [[1.0]], {"curve": curve})]) == runs


@pytest.mark.parametrize(("folds", "said"), [([], "no results of emodb"), ([0, -1], "has a complete seed yet")])
def test_where_nothing_can_be_drawn_that_is_said(
    folds: list[int], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = all_folds("model-1", (0, 1), corpus="emodb")
    save_all([everything[fold] for fold in folds], tmp_path)  # a fold of each seed, and not the same
    words = ["--results", str(tmp_path), "--corpus", "emodb", "--output", str(tmp_path / "figures")]
    assert ser(["figures", "results", *words]) == 1
    assert said in capsys.readouterr().err
