"""What plan.toml says is what the commands run."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reproduction.__main__ import main
from reproduction.plan import read_plan
from reproduction.studies import command
from speech_emotion import training
from speech_emotion.cli import cross_validate


def test_each_run_of_the_plan_is_a_cross_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(cross_validate, "run_cross_validation", lambda *arguments: asked.append(arguments))
    words = ["--conditions", "ased", "ased-own", "--systems", "model-2", "model-2-shuffled", "--workers", "2"]
    assert main(["run", *words, "--results", "here", "--folds", str(tmp_path)]) == 0
    plans = [plan for plan, *_ in asked]
    found = [([one.name for one in plan.conditions], plan.systems) for plan in plans]
    assert found == [(["ased", "ased-own"], ("model-2",)), (["ased-own"], ("model-2-shuffled",))]
    for plan, workers, threads, published in asked:
        assert (plan.seeds, workers, threads) == ((0, 1, 2), 2, 1)
        assert plan.overrides["hidden_size"] == 64 and plan.folders == (tmp_path, Path("here"))
        assert plan.make_system("satt-2017", plan.overrides, None).name == "satt-2017"
        assert published("iemocap-both")["model-1"] == (0.7082, 0.5553) and not published("ased")


@pytest.mark.parametrize("stopped", [False, True])
def test_the_heads_of_the_plan_are_those_of_models_that_are_trained_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    trained, studied = [], []

    def train(task: Any, arguments: Any) -> SimpleNamespace:
        trained.append((task.data, task.model, arguments))
        if not stopped:
            folder = Path(arguments.output_dir)
            folder.mkdir(parents=True)
            (folder / "results.json").write_text("{}")
        return SimpleNamespace(stopped=stopped)

    def study(args: Any) -> Iterator[str]:
        studied.append((args.corpus, args.model, args.data_dir, args.output_dir))
        yield "done"

    monkeypatch.setattr(training, "run_training", train)
    monkeypatch.setattr(command, "run_heads", study)
    monkeypatch.chdir(tmp_path)
    words = ["heads", "--data_dir", str(tmp_path), "--output_dir", "out"]
    if stopped:
        assert main(words) != 0 and len(trained) == 1 and studied == []
        return
    assert main(words) == 0 == main(words)
    folds = read_plan().head_folds
    assert len(trained) == 3 * sum(folds.values())  # three seeds; the second time all are there
    for data, model, arguments in trained:
        assert (data.num_folds, data.scheme) == (folds[data.corpus], "k-fold")
        assert data.data_dir == str(tmp_path / data.corpus)
        assert (model.hidden_size, model.attention_dropout, arguments.max_steps) == (64, 0.0, 800)
    assert len({arguments.output_dir for _, _, arguments in trained}) == len(trained)
    for corpus, models, folder, output in studied:
        assert len(models) == 3 * folds[corpus] and (folder, output) == (str(tmp_path / corpus), f"out/{corpus}")
