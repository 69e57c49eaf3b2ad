"""Whole cross-validations: one worker and two, packed, killed and resumed, stopped, refused."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from dataset_scripts import load_corpus
from speech_emotion.cli.cross_validate import get_parser, main
from speech_emotion.cli.main import main as ser
from speech_emotion.cli.train import main as train
from speech_emotion.cross_validation.corpus_conditions import get_condition
from speech_emotion.cross_validation.folds_run import FoldError, cross_validate
from speech_emotion.cross_validation.plan import Plan, sole_computation
from speech_emotion.cross_validation.score_store import FoldKey, FoldScores, pack, read_fold_scores
from speech_emotion.cross_validation.system import ClipFeatures, FoldOutcome, FoldTask, System
from speech_emotion.cross_validation.systems import get_system
from tests.subprocess_tools import PROJECT_ROOT, offline_environment
from tests.synthetic import write_polish

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")
SMALL = "hidden_size=8 dense_size=8 num_train_epochs=3 learning_rate=0.003"
FIRST = FoldKey("polish", "model-1", 0, 0)
FOLDS = 4  # of `words`


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
    return shlex.split(f"{what} {places} --results {results} --finished {more}")


@pytest.fixture(scope="module")
def whole(places: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("whole")
    assert main(words(places, results)) == 0
    return results


def assert_equal_results(*folders: Path) -> None:
    """Compare scores and all that is told of the training, bit for bit; times differ."""
    ours, theirs = map(read_fold_scores, folders)
    assert len(ours) == len(theirs) == FOLDS
    for fold, twin in zip(ours, theirs, strict=True):
        assert (fold.key, fold.clips) == (twin.key, twin.clips)
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


def wait_for_results(results: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while not list(results.glob("*/*/*.parquet")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "no fold was finished in 5 minutes"
        time.sleep(0.05)


def test_what_is_kept_of_a_fold(whole: Path) -> None:
    fold = FoldScores.load(FoldKey("polish", "model-1", 1, 0).path(whole))
    assert fold.labels == ["anger", "fear", "neutral"]
    assert [len(fold.select(split).scores) for split in ("validation", "test")] == [18, 18]
    assert set(fold.select("test").clips["speaker"]) == {"m1"}
    assert fold.about["fold_name"] == "leave-one-speaker-out-m1"
    assert (fold.about["train_speakers"], fold.about["train_clips"], fold.about["folds"]) == (3, 54, 5)
    assert [point["epoch"] for point in fold.about["curve"]] == [1.0, 2.0, 3.0]
    best = max(point["validation_ua"] for point in fold.about["curve"])
    assert fold.about["curve"][fold.about["best_epoch"] - 1]["validation_ua"] == best
    assert fold.about["parameters"] > 1000 and fold.about["versions"]["torch"] == version("torch")
    assert fold.about["settings"]["system"]["model"]["hidden_size"] == 8
    assert str(Path.home()) not in json.dumps(fold.about)


def test_a_fold_is_trained_as_train_py_trains_it(whole: Path, places: str, tmp_path: Path) -> None:
    settings = " ".join(f"--{word.replace('=', ' ')}" for word in SMALL.split())
    run = f"--preset paper --corpus polish {places} {settings} --seed 1 --fold 0 --use_cpu --output_dir {tmp_path}/run"
    torch.set_num_threads(1)
    assert train(shlex.split(run)) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "scores.jsonl").read_text().splitlines()]
    fold = FoldScores.load(FoldKey("polish", "model-1", 1, 0).path(whole))
    assert [line["id"] for line in lines] == fold.clips["id"]
    scores = np.array([[line["scores"][label] for label in fold.labels] for line in lines])
    # A saved model's scores are calibrated; those of a fold are kept as they came, and calibrated where they are read.
    raw = scores ** json.loads((tmp_path / "run" / "config.json").read_text())["temperature"]
    raw /= raw.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(raw, fold.scores, atol=5e-4)  # float16's rounding


def test_two_workers_give_what_one_gives(
    whole: Path, places: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(places, tmp_path, f"--workers 2 --scores-jsonl {tmp_path / 'scores.jsonl'}")) == 0
    output = capsys.readouterr()
    assert_equal_results(tmp_path, whole)
    assert output.out.count("validation UA") == FOLDS and "all 4 done" in output.out
    lines = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert len(lines) == FOLDS * 36
    assert {line["prediction"] == max(line["scores"], key=line["scores"].get) for line in lines} == {True}


def test_packed_folds_are_finished_and_others_are_written_beside_them(
    whole: Path, places: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results").mkdir()  # where a checkout has the scores that come along
    for scores in read_fold_scores(whole)[1:]:
        scores.save(tmp_path / "some")
    pack(tmp_path / "some", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    command = words(places, Path("outputs/folds"))
    command.remove("--finished")
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "3 of 4 folds are finished in results." in told and "all 1 done" in told
    assert_equal_results(Path("outputs/folds"), whole)  # which holds all that was compared
    assert len(Path("outputs/folds/results.jsonl").read_text().splitlines()) == FOLDS * 36
    # With other settings they are passed over.
    assert main([*command, "--set", "num_train_epochs=1", "--folds", "0", "--results", "outputs/other"]) == 0
    assert "all 2 done" in capsys.readouterr().out
    assert [fold.about["epochs"] for fold in read_fold_scores("outputs/other")] == [1, 1]


def test_a_launcher_is_refused(
    places: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(words(places, tmp_path)) == 1
    assert "A launcher started 2 processes" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_killed_run_leaves_no_worker_and_goes_on_to_the_same_results(
    whole: Path, places: str, tmp_path: Path, start: Start
) -> None:
    results = tmp_path / "results"
    process = start(words(places, results, "--workers 2"))
    wait_for_results(results, process)
    workers = [child for child in psutil.Process(process.pid).children() if "spawn_main" in "".join(child.cmdline())]
    assert len(workers) == 2
    process.kill()
    process.wait()
    end = time.monotonic() + 60
    while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers):
        assert time.monotonic() < end, "a worker outlived its parent by a minute"
        time.sleep(0.1)
    early = {path: path.stat().st_mtime_ns for path in results.glob("*/*/*.parquet")}
    assert main(words(places, results)) == 0
    assert_equal_results(results, whole)
    assert {path: path.stat().st_mtime_ns for path in early} == early


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_and_leaves_nothing_behind(
    places: str, tmp_path: Path, start: Start, number: signal.Signals
) -> None:
    results = tmp_path / "results"
    process = start(words(places, results, "--workers 2 --seeds 0 1 2 3 4 5 6 7"))
    wait_for_results(results, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number and number.name in errors and "Traceback" not in errors
    assert "the same command goes on" in errors
    assert list(tmp_path.glob("ser-fold-*")) == []
    assert all(fold.about["epochs"] == 3 for fold in read_fold_scores(results))


class Doomed(System):
    """A system whose process dies on the fold that tests the speaker `m1`."""

    def make_extractor(self) -> ClipFeatures:
        return get_system("model-1").make_extractor()

    def settings(self) -> dict[str, Any]:
        return {"kind": "doomed"}

    def fit(self, task: FoldTask) -> FoldOutcome:
        if "m1" in task.splits.test.speakers:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(2)
        sizes = len(task.splits.validation), len(task.splits.test)
        return FoldOutcome(*(np.full((size, len(task.labels)), 1 / len(task.labels)) for size in sizes))


def make_doomed(name: str, overrides: Mapping[str, Any], encoder: str | None) -> System:
    return Doomed(name, "Doomed")


def test_a_worker_that_dies_is_told_with_its_fold_and_exit_code(places: str, tmp_path: Path) -> None:
    _, data, _, cache = places.split()
    plan = Plan(
        (get_condition("polish"),), ("doomed",), (0,), None, tmp_path, data_dir=data, cache_dir=cache,
        make_system=make_doomed,
    )  # fmt: skip
    with pytest.raises(FoldError, match=r"^polish doomed seed 0 fold 0: .*exit code -9"):
        cross_validate(plan, workers=2, threads=1)
    # The other worker finished the fold that it was at, and began no other.
    assert [scores.fold for scores in read_fold_scores(tmp_path)] == [1]


def test_a_damaged_file_is_computed_again(
    whole: Path, places: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for fold in read_fold_scores(whole):
        fold.save(tmp_path)
    damaged = FoldKey("polish", "model-1", 0, 1).path(tmp_path)
    damaged.write_bytes(damaged.read_bytes()[:-200])
    assert main(words(places, tmp_path)) == 0
    output = capsys.readouterr()
    assert output.err.count(f"{damaged.name} is damaged") == 1
    assert "3 of 4 folds are finished" in output.out and "all 1 done" in output.out
    assert_equal_results(tmp_path, whole)


def test_every_fold_fine_tunes_a_model_that_has_heard_nobody_it_is_tested_on(
    whole: Path, places: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = "--preset paper --hidden_size 8 --dense_size 8 --num_train_epochs 1 --use_cpu true"
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
    assert list(results.glob("*/*/*.parquet")) == []

    report = json.loads((run / "results.json").read_text())
    (run / "results.json").unlink()
    assert main(command) == 1
    assert f"Nobody knows whom {run} has heard" in capsys.readouterr().err
    report["title"] = "Another corpus"  # whose speakers only have the same names
    (run / "results.json").write_text(json.dumps(report))
    assert main(command) == 0
    fold, anew = (FoldScores.load(FoldKey("polish", "model-1", 0, 1).path(folder)) for folder in (results, whole))
    assert not np.array_equal(fold.scores, anew.scores)
    assert fold.about["starts_from"] == "run" and str(tmp_path) not in json.dumps(fold.about)

    other = [word if word != "model-1" else "model-3" for word in command]
    capsys.readouterr()
    assert main(other) == 1
    assert "model-3 reads mel + deepspeech" in capsys.readouterr().err
    assert not (results / "polish" / "model-3").exists()

    weights = load_file(run / "model.safetensors")
    weights["classifier.out_proj.bias"] += 1
    save_file(weights, run / "model.safetensors", {"format": "pt"})
    assert main(command) == 1  # other weights under the same name
    assert "system.starts_from is" in capsys.readouterr().err


def test_tables_and_figures_are_made_of_whole_seeds(
    places: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = "--set hidden_size=8 dense_size=8 num_train_epochs=1 --device cpu --threads 1 --finished"
    command = f"--corpus polish --scheme k-fold --num_folds 3 --systems model-1 {small} {places} --results {tmp_path}"
    assert main([*shlex.split(command), "--no-figures"]) == 0
    assert "Drew" not in capsys.readouterr().out and not (tmp_path / "figures").exists()
    tables = tmp_path / "tables"
    assert main([*shlex.split(command), "--tables", str(tables)]) == 0
    assert f"Drew 4 figures into {tables / 'figures'}" in capsys.readouterr().out
    assert {path.name for path in tables.iterdir()} == {
        "figures", "polish-3-fold.csv", "polish-3-fold.md", "polish-3-fold.tex",
    }  # fmt: skip
    assert {path.relative_to(tables / "figures").as_posix() for path in tables.rglob("*.png")} == {
        "polish-3-fold/ua.png",
        *(f"polish-3-fold/model-1/{name}.png" for name in ("confusion", "curves", "reliability")),
    }


def test_results_of_other_recordings_are_refused(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = FoldScores.load(FIRST.path(whole))
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
    assert str(FIRST) in message and "its clips are other recordings" in message
    del scores.about["settings"]["audio"]  # as files of before tell nothing of it
    scores.save(tmp_path / "results")
    assert main(command) == 0
    assert "1 of 1 folds are finished" in capsys.readouterr().out


def test_results_of_other_settings_are_refused(
    whole: Path, places: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FoldScores.load(FIRST.path(whole)).save(tmp_path)
    command = words(places, tmp_path, "--seeds 0 --folds 0")
    command[command.index("hidden_size=8")] = "hidden_size=16"
    assert main(command) == 1
    message = capsys.readouterr().err
    assert str(FIRST) in message and "--overwrite" in message
    assert "system.model.hidden_size is 8 there and 16 here" in message
    assert main([*command, "--overwrite"]) == 0
    assert FoldScores.load(FIRST.path(tmp_path)).about["parameters"] > 2000


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_fold_is_named(
    places: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    command = words(places, tmp_path, f"--seeds 0 --workers {workers}")
    command[command.index("learning_rate=0.003")] = "learning_rate=1e30"
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "error: polish model-1 seed 0 fold" in error and "FloatingPointError" in error
    assert "Traceback" in error and "in run_training" in error  # in a worker, too
    assert list(tmp_path.glob("*/*/*.parquet")) == []


def test_a_fold_that_another_command_computes_is_awaited(
    whole: Path, places: str, tmp_path: Path, start: Start
) -> None:
    first, *others = read_fold_scores(whole)
    for fold in others:
        fold.save(tmp_path)
    with sole_computation(FIRST, tmp_path) as held:
        assert held
        process = start(words(places, tmp_path))
        assert process.stdout.readline().startswith("3 of 4 folds are finished")
        time.sleep(1)
        assert process.poll() is None
        first.save(tmp_path)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "computed by another command" in output
    assert_equal_results(tmp_path, whole)


def test_a_fold_is_held_once(tmp_path: Path) -> None:
    other = FoldKey("polish", "model-1", 0, 4)
    with sole_computation(FIRST, tmp_path) as mine, sole_computation(other, tmp_path) as another:
        assert mine and another
        with sole_computation(FIRST, tmp_path) as twice:
            assert not twice
    with sole_computation(FIRST, tmp_path) as again:
        assert again
    assert (tmp_path / ".locks" / ".gitignore").read_text() == "*\n"


def test_the_command_runs_a_control_and_keeps_true_labels(places: str, tmp_path: Path) -> None:
    small = "--set hidden_size=8 dense_size=8 num_train_epochs=1"
    assert main(words(places, tmp_path, f"--systems model-1-permuted --seeds 0 --folds 0 {small}")) == 0
    (scores,) = read_fold_scores(tmp_path, system="model-1-permuted")
    _, corpus, _, cache = places.split()
    rows = load_corpus("polish", data_dir=corpus, cache_dir=cache)
    truth = dict(zip(rows["id"], rows["label"], strict=True))
    assert scores.clips["label"] == [truth[clip] for clip in scores.clips["id"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--folds 0 7", "polish has the folds 0 to 4, and no fold 7"),
        ("--systems model-9", "There is no system 'model-9'"),
        ("--set epochs=3", "There is no setting 'epochs'"),
        ("--workers 0", "--workers must be at least 1"),
        ("--seeds 1 1", "--seeds names something twice"),
        ("--scheme k-fold", "--num_folds"),
        ("--systems opensmile-egemaps-svm", "--set is for the paper's models"),
        ("--data_dir /nowhere", "/nowhere"),
    ],
)
def test_what_cannot_be_is_said(
    places: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, message: str
) -> None:
    assert ser(["cross-validate", *words(places, tmp_path, change)]) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.glob("*/*/*.parquet")) == []


@pytest.mark.parametrize("word", ["-1", "x", "1.5"])
def test_seeds_are_whole_numbers(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        get_parser().parse_args(["--corpus", "polish", "--systems", "model-1", "--seeds", word])
    assert f"--seeds: must be a whole number of at least 0, not {word}" in capsys.readouterr().err
