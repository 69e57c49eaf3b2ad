"""Whole cross-validations: one worker and two, killed and resumed, stopped, refused."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from reproduction.recomputing import commands
from speech_emotion.cli.main import main as ser
from speech_emotion.cli.train import main as train
from speech_emotion.cross_validation.fold_results import differences, sole_computation
from speech_emotion.cross_validation.main import main
from speech_emotion.cross_validation.score_store import FoldKey, FoldScores, read_fold_scores
from speech_emotion.cross_validation.score_table import gather_systems
from tests.subprocess_tools import PROJECT_ROOT, offline_environment, run_command
from tests.synthetic import write_polish

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")
SMALL = "hidden_size=8 dense_size=8 num_train_epochs=3 learning_rate=0.003"
FOLDS = 2


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> str:
    corpus = write_polish(tmp_path_factory.mktemp("polish"))
    return f"--data_dir {corpus} --cache_dir {tmp_path_factory.mktemp('cache')}"


def words(places: str, results: Path, more: str = "") -> list[str]:
    what = f"--corpus polish --systems model-1 --seeds 0 1 --folds 0 1 --set {SMALL} --device cpu --threads 1"
    return shlex.split(f"{what} {places} --results {results} {more}")


@pytest.fixture(scope="module")
def whole(places: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("whole")
    assert main(words(places, results)) == 0
    return results


def assert_equal_results(one: Path, other: Path) -> None:
    """Compare scores and all that is told of the training, bit for bit; times differ."""
    ours, theirs = read_fold_scores(one), read_fold_scores(other)
    assert len(ours) == len(theirs) == 2 * FOLDS
    for fold, twin in zip(ours, theirs, strict=True):
        assert (fold.seed, fold.fold, fold.clips) == (twin.seed, twin.fold, twin.clips)
        assert np.array_equal(fold.scores, twin.scores)
        assert {**fold.about, "seconds": 0} == {**twin.about, "seconds": 0}


Start = Callable[[list[str]], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a cross-validation of its own; it and its workers end with the test, however that ends."""
    environment = offline_environment(os.environ["HF_HOME"]) | {"TMPDIR": str(tmp_path)}
    started = []

    def begin(command: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, PROJECT_ROOT / "cross_validate.py", *command],
            env=environment,
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_results(results: Path, process: subprocess.Popen[str], count: int = 1) -> None:
    end = time.monotonic() + 300
    while len(list(results.glob("*/*/*.parquet"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "no fold was finished in 5 minutes"
        time.sleep(0.05)


def test_what_is_kept_of_a_fold(whole: Path) -> None:
    fold = FoldScores.load(whole / "polish" / "model-1" / "seed-1_fold-0.parquet")
    assert fold.labels == ["anger", "fear", "neutral"]
    assert {split: len(fold.select(split).scores) for split in ("validation", "test")} == {
        "validation": 18,
        "test": 18,
    }
    assert set(fold.select("test").clips["speaker"]) == {"m1"}
    assert fold.about["fold_name"] == "leave-one-speaker-out-m1"
    assert (fold.about["train_speakers"], fold.about["train_clips"], fold.about["folds"]) == (3, 54, 5)
    assert [point["epoch"] for point in fold.about["curve"]] == [1.0, 2.0, 3.0]
    best = max(point["validation_ua"] for point in fold.about["curve"])
    assert fold.about["curve"][fold.about["best_epoch"] - 1]["validation_ua"] == best
    assert fold.about["parameters"] > 1000 and fold.about["versions"]["torch"] == torch.__version__
    assert fold.about["settings"]["system"]["model"]["hidden_size"] == 8
    assert str(Path.home()) not in json.dumps(fold.about)


def test_a_fold_is_trained_as_train_py_trains_it(whole: Path, places: str, tmp_path: Path) -> None:
    settings = " ".join(f"--{word.replace('=', ' ')}" for word in SMALL.split())
    run = f"--corpus polish {places} {settings} --seed 1 --fold 0 --use_cpu true --output_dir {tmp_path / 'run'}"
    torch.set_num_threads(1)
    assert train(shlex.split(run)) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "scores.jsonl").read_text().splitlines()]
    fold = FoldScores.load(whole / "polish" / "model-1" / "seed-1_fold-0.parquet")
    assert [line["id"] for line in lines] == fold.clips["id"]
    scores = np.array([[line["scores"][label] for label in fold.labels] for line in lines])
    assert np.array_equal(scores.astype(np.float16), fold.scores)


def test_two_workers_give_what_one_gives(
    whole: Path, places: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(words(places, tmp_path, f"--workers 2 --scores-jsonl {tmp_path / 'scores.jsonl'}")) == 0
    output = capsys.readouterr()
    assert_equal_results(tmp_path, whole)
    assert output.out.count("validation UA") == 4 and "all 4 done" in output.out
    lines = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert len(lines) == 4 * 36
    assert {line["prediction"] == max(line["scores"], key=line["scores"].get) for line in lines} == {True}


def test_processes_launched_together_train_each_fold_together(places: str, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    # Each process drops out for itself, and an incomplete batch is not shared out evenly. Without both, two processes
    # do what one does, but for the order of sums.
    even = "dropout=0 attention_dropout=0 max_steps=3 load_best_model_at_end=false"
    more = f"--seeds 1 --folds 0 --set {SMALL} {even}"
    command = [*launcher, PROJECT_ROOT / "cross_validate.py", *words(places, tmp_path / "two", more)]
    environment = offline_environment(os.environ["HF_HOME"])
    done = run_command(command, env=environment, cwd=tmp_path)
    assert done.stdout.count("validation UA") == 1
    (fold,) = read_fold_scores(tmp_path / "two")
    assert main(words(places, tmp_path / "one", more)) == 0
    (alone,) = read_fold_scores(tmp_path / "one")
    # The batch is shared out, 2 × 8 clips; that there are two processes is told.
    asked = fold.about["settings"], alone.about["settings"]
    assert list(differences(*asked)) == ["system.training.processes is 2 there and null here"]
    assert fold.clips == alone.clips
    np.testing.assert_allclose(fold.scores.astype(float), alone.scores.astype(float), atol=2e-3)
    refused = run_command([*command, "--workers", "2"], env=environment, cwd=tmp_path, check=False)
    assert refused.returncode != 0 and "Leave --workers at 1" in refused.stderr


# On all processes but the first every fold is finished, as if another command had been quicker.
LATER_LOOK = """
import os, sys
from speech_emotion.cross_validation.fold_runner import FoldRunner
from speech_emotion.cross_validation.main import main

if os.environ["RANK"] != "0":
    FoldRunner.finished = lambda self, key: "finished meanwhile"
sys.exit(main(sys.argv[1:]))
"""


def test_processes_launched_together_agree_on_what_is_to_do(whole: Path, places: str, tmp_path: Path) -> None:
    (tmp_path / "later_look.py").write_text(LATER_LOOK)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, tmp_path / "later_look.py", *words(places, tmp_path, "--seeds 1 --folds 0")]
    run_command(command, env=offline_environment(os.environ["HF_HOME"]), cwd=tmp_path)
    assert [(fold.seed, fold.fold) for fold in read_fold_scores(tmp_path)] == [(1, 0)]


def test_a_killed_run_goes_on_to_the_same_results(whole: Path, places: str, tmp_path: Path, start: Start) -> None:
    results = tmp_path / "results"
    process = start(words(places, results, "--workers 2"))
    wait_for_results(results, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    early = {path: path.stat().st_mtime_ns for path in results.glob("*/*/*.parquet")}
    assert main(words(places, results)) == 0
    assert_equal_results(results, whole)
    assert {path: path.stat().st_mtime_ns for path in early} == early


def test_sigterm_ends_the_run_and_leaves_nothing_behind(places: str, tmp_path: Path, start: Start) -> None:
    results = tmp_path / "results"
    more = "--workers 2 --seeds 0 1 2 3 4 5 6 7"
    process = start(words(places, results, more))
    wait_for_results(results, process)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143 and "stopped by SIGTERM" in errors and "Traceback" not in errors
    assert list(tmp_path.glob("ser-fold-*")) == []
    assert all(fold.about["epochs"] == 3 for fold in read_fold_scores(results))


def test_a_damaged_file_is_computed_again(
    whole: Path, places: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for fold in read_fold_scores(whole):
        fold.save(tmp_path)
    damaged = tmp_path / "polish" / "model-1" / "seed-0_fold-1.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    assert main(words(places, tmp_path)) == 0
    output = capsys.readouterr()
    assert output.err.count("seed-0_fold-1.parquet is damaged and is computed again") == 1
    assert "3 of 4 folds are finished" in output.out and "all 1 done" in output.out
    assert_equal_results(tmp_path, whole)


def test_every_fold_fine_tunes_a_model_that_has_heard_nobody_it_is_tested_on(
    whole: Path, places: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    small = "--hidden_size 8 --dense_size 8 --num_train_epochs 1 --use_cpu true"
    run = tmp_path / "run"
    assert train(shlex.split(f"--corpus polish {places} --fold 0 {small} --output_dir {run}")) == 0
    capsys.readouterr()
    results = tmp_path / "results"
    command = words(places, results, "--seeds 0")
    begin = command.index("--set")
    command[begin + 1 : begin + 5] = [f"model_name_or_path={run}", "num_train_epochs=1"]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: run was trained with speaker(s) ") and "Traceback" not in error
    assert "who are to " in error and list(results.glob("*/*/*.parquet")) == []

    report = json.loads((run / "results.json").read_text())
    (run / "results.json").unlink()
    assert main(command) == 1
    assert f"Nobody knows whom {run} has heard" in capsys.readouterr().err
    report["title"] = "Another corpus"  # whose speakers only have the same names
    (run / "results.json").write_text(json.dumps(report))
    assert main(command) == 0
    fold = FoldScores.load(results / "polish" / "model-1" / "seed-0_fold-1.parquet")
    anew = FoldScores.load(whole / "polish" / "model-1" / "seed-0_fold-1.parquet")
    assert not np.array_equal(fold.scores, anew.scores)
    assert fold.about["starts_from"] == "run" and str(tmp_path) not in json.dumps(fold.about)
    (line,) = commands(gather_systems(read_fold_scores(results)))
    assert "--set num_train_epochs=1 model_name_or_path=run" in line

    other = [word if word != "model-1" else "model-3" for word in command]
    capsys.readouterr()
    assert main(other) == 1
    told = capsys.readouterr().err
    assert "model-3 reads mel + deepspeech with the fusion 'frame', but run, the model to start from, mel with" in told
    assert not (results / "polish" / "model-3").exists()

    weights = load_file(run / "model.safetensors")
    weights["classifier.out_proj.bias"] += 1
    save_file(weights, run / "model.safetensors", {"format": "pt"})
    assert main(command) == 1  # other weights under the same name
    assert "system.starts_from is" in capsys.readouterr().err


def test_figures_are_drawn_of_whole_seeds(places: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    small = "--set hidden_size=8 dense_size=8 num_train_epochs=1 --device cpu --threads 1"
    command = f"--corpus polish --scheme k-fold --num_folds 3 --systems model-1 {small} {places} --results {tmp_path}"
    assert main([*shlex.split(command), "--no-figures"]) == 0
    assert "Drew" not in capsys.readouterr().out and not (tmp_path / "figures").exists()
    tables = tmp_path / "tables"
    assert main([*shlex.split(command), "--tables", str(tables)]) == 0
    assert f"Drew 4 figures into {tables / 'figures'}" in capsys.readouterr().out
    drawn = {path.relative_to(tables / "figures").as_posix() for path in tables.rglob("*.png")}
    (corpus,) = {path.split("/")[0] for path in drawn}
    assert drawn == {
        f"{corpus}/ua.png",
        *(f"{corpus}/model-1/{n}.png" for n in ("confusion", "curves", "reliability")),
    }


def test_results_of_other_recordings_are_refused(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    scores = FoldScores.load(whole / "polish" / "model-1" / "seed-0_fold-0.parquet")
    scores.save(tmp_path / "results")
    corpus = write_polish(tmp_path / "polish")
    places = f"--data_dir {corpus} --cache_dir {tmp_path / 'cache'}"
    command = words(places, tmp_path / "results", "--seeds 0 --folds 0")
    assert main(command) == 0  # the same samples in other files
    assert "1 of 1 folds are finished" in capsys.readouterr().out
    path = next(corpus.rglob("*.wav"))
    samples, rate = soundfile.read(path, dtype="int16")
    samples[100] ^= 1
    soundfile.write(path, samples, rate)
    assert main(command) == 1
    message = capsys.readouterr().err
    assert "seed-0_fold-0.parquet was made with something else than is asked for: its clips are other recor" in message
    del scores.about["settings"]["audio"]  # as files of before tell nothing of it
    scores.save(tmp_path / "results")
    assert main(command) == 0
    assert "1 of 1 folds are finished" in capsys.readouterr().out


def test_results_of_other_settings_are_refused(
    whole: Path, places: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    FoldScores.load(whole / "polish" / "model-1" / "seed-0_fold-0.parquet").save(tmp_path)
    command = words(places, tmp_path, "--seeds 0 --folds 0")
    command[command.index("hidden_size=8")] = "hidden_size=16"
    assert main(command) == 1
    message = capsys.readouterr().err
    assert "seed-0_fold-0.parquet was made with something else" in message and "--overwrite" in message
    assert "system.model.hidden_size is 8 there and 16 here" in message
    assert main([*command, "--overwrite"]) == 0
    assert FoldScores.load(tmp_path / "polish/model-1/seed-0_fold-0.parquet").about["parameters"] > 2000


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_fold_is_named(places: str, tmp_path: Path, capsys: pytest.CaptureFixture, workers: int) -> None:
    command = words(places, tmp_path, f"--seeds 0 --workers {workers}")
    command[command.index("learning_rate=0.003")] = "learning_rate=1e30"
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "error: polish model-1 seed 0 fold" in error and "FloatingPointError" in error
    assert "Traceback" in error and "in train_fold" in error  # in a worker, too
    assert list(tmp_path.glob("*/*/*.parquet")) == []


def test_a_fold_that_another_command_computes_is_awaited(
    whole: Path, places: str, tmp_path: Path, start: Start
) -> None:
    mine = FoldKey("polish", "model-1", 0, 0)
    for fold in read_fold_scores(whole):
        if (fold.seed, fold.fold) != (0, 0):
            fold.save(tmp_path)
    with sole_computation(mine, tmp_path) as held:
        assert held
        process = start(words(places, tmp_path))
        assert process.stdout.readline().startswith("3 of 4 folds are finished")
        time.sleep(1)
        assert process.poll() is None
        FoldScores.load(whole / "polish" / "model-1" / mine.path(whole).name).save(tmp_path)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "computed by another command" in output
    assert_equal_results(tmp_path, whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--folds 0 7", "polish has the folds 0 to 4, and no fold 7"),
        ("--systems model-9", "There is no system 'model-9'"),
        ("--set epochs=3", "There is no setting 'epochs'"),
        ("--set seed=3", "seed is decided by the cross-validation"),
        ("--set hidden_size=big", "hidden_size"),
        ("--workers 0", "--workers must be at least 1"),
        ("--seeds 1 1", "--seeds names something twice"),
        ("--scheme k-fold", "--num_folds"),
    ],
)
def test_what_cannot_be_is_said(
    places: str, tmp_path: Path, capsys: pytest.CaptureFixture, change: str, message: str
) -> None:
    assert ser(["cross-validate", *words(places, tmp_path, change)]) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.glob("*/*/*.parquet")) == []
