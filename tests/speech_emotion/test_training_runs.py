"""Whole trainings from the command line: one process and two, stopped and resumed, saved and loaded by strangers."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
import torch
from safetensors.torch import load_file

from speech_emotion.cli.main import main as ser
from speech_emotion.cli.train import main as train
from speech_emotion.inference.saved_model import load_saved
from speech_emotion.training.run_record import heard_speakers
from tests.subprocess_tools import PROJECT_ROOT, offline_environment, run_command, run_python_json
from tests.synthetic import write_polish

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")

TITLE = "Emotions in Polish speech"
SMALL = "--corpus polish --hidden_size 8 --dense_size 8 --use_cpu true"


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 clips a speaker in three batches of 16; 144 train."""
    return write_polish(tmp_path_factory.mktemp("polish"), repetitions=range(1, 9))


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    threads = {"OMP_NUM_THREADS": "1"}  # two processes on two cores, and the same sums in both
    return offline_environment(tmp_path_factory.mktemp("home")) | threads


def words(corpus_dir: Path, cache_dir: Path, output_dir: Path, more: str = "") -> list[str]:
    places = ["--data_dir", str(corpus_dir), "--cache_dir", str(cache_dir), "--output_dir", str(output_dir)]
    return [*shlex.split(SMALL), *places, *shlex.split(more)]


@pytest.fixture(scope="module")
def finished(corpus_dir: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("finished") / "model"
    assert train(words(corpus_dir, cache_dir, folder, "--num_train_epochs 3 --fold 1")) == 0
    yield folder


def test_a_run_leaves_model_card_fold_figures_and_scores(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    assert results["fold"] == "leave-one-speaker-out-m2"
    assert (results["test"]["speakers"], results["validation"]["speakers"]) == (["m2"], ["m3"])
    assert results["train"]["speakers"] == ["m1", "m4", "m5"]
    scores = [json.loads(line) for line in (finished / "scores.jsonl").read_text().splitlines()]
    tested = [score for score in scores if score["split"] == "test"]
    assert len({score["id"] for score in tested}) == results["test"]["clips"] == 48
    assert sum(map(sum, results["test"]["confusion"])) == 48
    hits = sum(score["prediction"] == score["label"] for score in tested)
    assert results["test"]["metrics"]["wa"] == pytest.approx(hits / 48)
    assert all(sum(score["scores"].values()) == pytest.approx(1) for score in scores)
    fold = [json.loads(line) for line in (finished / "fold.jsonl").read_text().splitlines()]
    assert {row["split"] for row in fold if row["speaker"] == "m2"} == {"test"}
    card = (finished / "README.md").read_text()
    assert f"| test | {results['test']['metrics']['wa']:.1%} | {results['test']['metrics']['ua']:.1%} | 33.3%" in card
    assert "Training speakers: m1, m4, m5" in card
    assert "model-index" in card
    assert "{{" not in card
    assert not list(finished.rglob("*.bin"))
    # What is shared names no folder of the machine that trained.
    assert str(finished.parent) not in (finished / "results.json").read_text() + card


def test_a_stranger_gets_the_trainers_scores_from_the_folder(
    finished: Path, corpus_dir: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    expected = {}
    for line in (finished / "scores.jsonl").read_text().splitlines():
        score = json.loads(line)
        expected[score["id"]] = score["scores"]
    files = {clip: str(corpus_dir / f"{clip}.wav") for clip in list(expected)[:20]}
    given = run_python_json(
        f"""
        import json, soundfile
        from pathlib import Path
        from transformers import pipeline
        classifier = pipeline("audio-classification", model={str(finished)!r}, trust_remote_code=True)
        files = {files!r}
        paths = list(files.values())
        def named(results):
            return [{{entry["label"]: entry["score"] for entry in result}} for result in results]
        arrays = [dict(zip(("array", "sampling_rate"), soundfile.read(path))) for path in paths]
        print(json.dumps({{
            "path": named([classifier(path) for path in paths]),
            "bytes": named(classifier([Path(path).read_bytes() for path in paths])),
            "array": named(classifier(arrays)),
            "batch": named(classifier(paths, batch_size=8)),
        }}))
        """,
        env=environment,
        cwd=tmp_path,
    )
    for way, results in given.items():
        for clip, scores in zip(files, results, strict=True):
            assert scores == pytest.approx(expected[clip], abs=1e-5), (way, clip)


def test_half_precision_trains_on_a_fold_of_a_file_and_scores_in_float32(
    finished: Path, corpus_dir: Path, cache_dir: Path, tmp_path: Path
) -> None:
    folder, file = tmp_path / "half", finished / "fold.jsonl"
    more = f"--folds_file {shlex.quote(str(file))} --num_train_epochs 1 --bf16 true"
    assert train(words(corpus_dir, cache_dir, folder, more)) == 0
    assert (folder / "fold.jsonl").read_text() == file.read_text()
    lines = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    assert {line["split"] for line in lines} == {"validation", "test"}
    network, extractor = load_saved(str(folder))
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32}
    classify = network.as_pipeline(extractor)
    for line in lines[::12]:
        answer = {entry["label"]: entry["score"] for entry in classify(str(corpus_dir / f"{line['id']}.wav"))}
        assert answer == pytest.approx(line["scores"], abs=1e-5)


def test_two_processes_train_as_one(
    corpus_dir: Path, cache_dir: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    more = (
        "--dropout 0 --attention_dropout 0 --max_steps 20 --logging_strategy steps --logging_steps 1 "
        "--class_weights balanced --per_device_eval_batch_size 20"
    )
    one, two = (tmp_path / name for name in ("one", "two"))
    assert train(words(corpus_dir, cache_dir, one, f"{more} --per_device_train_batch_size 16")) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    run_command(
        [
            *torchrun,
            PROJECT_ROOT / "train.py",
            *words(corpus_dir, cache_dir, two, f"{more} --per_device_train_batch_size 8"),
        ],
        env=environment | {"PYTHONPATH": str(PROJECT_ROOT)},
        cwd=tmp_path,
    )
    results = [json.loads((folder / "results.json").read_text()) for folder in (one, two)]
    states = [
        json.loads((folder / "checkpoint-20" / "trainer_state.json").read_text())["log_history"]
        for folder in (one, two)
    ]
    losses, evaluations = ([[e[key] for e in state if key in e] for state in states] for key in ("loss", "eval_loss"))
    assert len(losses[0]) == 20
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert evaluations[0] == pytest.approx(evaluations[1], abs=1e-4)
    for split in ("validation", "test"):
        assert results[1][split]["clips"] == sum(map(sum, results[1][split]["confusion"])) == 48
        assert results[0][split]["confusion"] == results[1][split]["confusion"]


def test_sigterm_exits_143_and_the_resumed_run_reports_the_same(
    corpus_dir: Path, cache_dir: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    # A stop comes when it comes; the epochs are many enough that the signal, sent at the first line of the table,
    # falls into one of them.
    more = "--num_train_epochs 6 --early_stopping_patience 0"
    command = [sys.executable, str(PROJECT_ROOT / "train.py")]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    torch.set_num_threads(1)  # as in the subprocess: another number of threads sums in another order
    assert train(words(corpus_dir, cache_dir, whole, more)) == 0
    process = subprocess.Popen(
        [*command, *words(corpus_dir, cache_dir, parts, more)],
        env=environment | {"PYTHONPATH": str(PROJECT_ROOT)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.split()[:1] == ["1.0"]:
            process.send_signal(signal.SIGTERM)
            break
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 143, "".join(lines) + rest
    assert "--resume_from_checkpoint true" in rest
    assert not (parts / "results.json").exists()
    assert not (parts / "README.md").exists()

    with pytest.raises(SystemExit) as refused:  # neither resumed nor overwritten by mistake
        sys.exit(train(words(corpus_dir, cache_dir, parts, more)))
    assert refused.value.code == 1
    assert train(words(corpus_dir, cache_dir, parts, f"{more} --resume_from_checkpoint true")) == 0
    results = [json.loads((folder / "results.json").read_text()) for folder in (whole, parts)]
    for split in ("validation", "test"):
        assert results[0][split] == results[1][split]
    assert (whole / "model.safetensors").read_bytes() == (parts / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            "--fold 2",
            "run with other train speakers: m1, m4, m5, not m1, m2, m5 and other validation speakers: m3, not",
        ),
        ("--fold 1 --labels neutral fear anger", "other labels: anger, fear, neutral, not neutral, fear, anger"),
        ("--fold 1 --win_length 800", "is of a run with other features. Resume it with"),
        ("--fold 1 --learning_rate 0.5", "is of a run with other learning_rate: 0.001, not 0.5. Resume it with"),
    ],
    ids=["fold", "labels", "features", "what a checkpoint brings back"],
)
def test_a_run_of_something_else_is_not_resumed(
    finished: Path,
    corpus_dir: Path,
    cache_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    other: str,
    message: str,
) -> None:
    run = tmp_path / "model"
    shutil.copytree(finished, run)
    before = (run / "results.json").read_bytes()
    more = f"--num_train_epochs 4 {other} --resume_from_checkpoint true"
    assert train(words(corpus_dir, cache_dir, run, more)) == 1
    assert message in capsys.readouterr().err
    assert (run / "results.json").read_bytes() == before
    assert json.loads((run / "run.json").read_text())["test"]["speakers"] == ["m2"]
    assert len(list(run.glob("checkpoint-*/run.json"))) == len(list(run.glob("checkpoint-*"))) > 0


def test_a_run_on_other_recordings_of_the_same_names_is_not_resumed(
    finished: Path, corpus_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run, corpus = tmp_path / "model", tmp_path / "polish"
    shutil.copytree(finished, run)
    shutil.copytree(corpus_dir, corpus)
    path = next(path for path in corpus.rglob("*.wav") if "m1" in path.name.lower() or "m1" in path.parent.name)
    samples, rate = soundfile.read(path, dtype="int16")
    samples[100] ^= 1
    soundfile.write(path, samples, rate)
    more = "--num_train_epochs 4 --fold 1 --resume_from_checkpoint true"
    assert train(words(corpus, tmp_path / "cache", run, more)) == 1
    assert (
        "is of a run with other train recordings (or Opus, Vorbis or MP3 that another machine"
        in capsys.readouterr().err
    )


def test_a_resumption_with_other_settings_is_told_on_the_card(
    finished: Path, corpus_dir: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "model"
    shutil.copytree(finished, run)  # and so its best checkpoint is no longer where it was noted
    more = "--num_train_epochs 4 --fold 1 --dropout 0.5 --resume_from_checkpoint true"
    assert train(words(corpus_dir, cache_dir, run, more)) == 0
    results = json.loads((run / "results.json").read_text())
    assert [stage["settings"]["dropout"] for stage in results["stages"]] == [0.3, 0.5]
    card = " ".join((run / "README.md").read_text().split())
    assert "After epoch 3 it was resumed with dropout 0.5 instead of 0.3, num_train_epochs 4.0 instead of 3.0." in card
    for file, message in (("optimizer.pt", "optimizer.pt, the optimizer's state"), ("run.json", "whom its run was")):
        for path in run.glob(f"checkpoint-*/{file}"):
            path.unlink()
        assert train(words(corpus_dir, cache_dir, run, more)) == 1
        assert message in (error := capsys.readouterr().err) and "is missing" in error


def test_a_checkpoint_kept_by_hand_remembers_whom_it_heard(
    finished: Path, corpus_dir: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "model"
    shutil.copytree(finished, run)
    (last,) = sorted(run.glob("checkpoint-27"))
    last.rename(run / "checkpoint-best")
    again = f"--num_train_epochs 4 --fold 0 --resume_from_checkpoint {shlex.quote(str(run / 'checkpoint-best'))}"
    assert train(words(corpus_dir, cache_dir, tmp_path / "other", again)) == 1
    assert "is of a run with other train speakers: m1, m4, m5, not m3, m4, m5" in capsys.readouterr().err


def test_a_run_ended_by_early_stopping_stays_ended(corpus_dir: Path, cache_dir: Path, tmp_path: Path) -> None:
    more = "--num_train_epochs 30 --early_stopping_patience 1 --learning_rate 1e-9"
    assert train(words(corpus_dir, cache_dir, tmp_path, more)) == 0
    before = json.loads((tmp_path / "results.json").read_text())
    assert before["epochs"] < 30
    weights = (tmp_path / "model.safetensors").read_bytes()
    assert train(words(corpus_dir, cache_dir, tmp_path, f"{more} --resume_from_checkpoint true")) == 0
    after = json.loads((tmp_path / "results.json").read_text())
    assert after == before and (tmp_path / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("launcher", "message"),
    [
        ("-m accelerate.commands.launch --cpu --num_processes 2", "starts a single process"),
        ("-m torch.distributed.run --standalone --nproc_per_node 2", "--use_cpu true"),
    ],
    ids=["accelerate --cpu", "torchrun without --use_cpu"],
)
def test_launchers_that_would_train_apart_are_stopped(
    launcher: str, message: str, corpus_dir: Path, cache_dir: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    if torch.cuda.is_available():
        pytest.skip("with GPUs torchrun needs no --use_cpu")
    run = [word for word in words(corpus_dir, cache_dir, tmp_path / "model") if word not in ("--use_cpu", "true")]
    command = [sys.executable, *shlex.split(launcher), str(PROJECT_ROOT / "train.py"), *run]
    done = run_command(command, env=environment | {"PYTHONPATH": str(PROJECT_ROOT)}, cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert message in done.stderr + done.stdout
    assert not (tmp_path / "model" / "config.json").exists()


def test_fine_tuning_starts_from_a_saved_model_with_other_labels(
    finished: Path, corpus_dir: Path, cache_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tuned"
    model = f"--model_name_or_path {shlex.quote(str(finished))}"
    more = f"{model} --labels fear anger --fold 1 --num_train_epochs 1 --learning_rate 0 --dropout 0.5"
    assert train(words(corpus_dir, cache_dir, folder, more)) == 0
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "fear", "1": "anger"}
    assert (config["hidden_size"], config["dropout"]) == (8, 0.5)
    asked = json.loads((folder / "results.json").read_text())["arguments"]
    assert (asked["hidden_size"], asked["conv_kernel_size"]) == (8, config["conv_kernel_size"])
    heard = {TITLE: {"train": ["m1", "m4", "m5"], "validation": ["m3"]}}
    assert json.loads((folder / "results.json").read_text())["heard_before"] == heard
    assert "| speakers never seen in training | WA |" in (folder / "README.md").read_text()
    # Nothing is learned: all is what was loaded, the last layer too, whose emotions stand in another order now.
    before, after = (load_file(run / "model.safetensors") for run in (finished, folder))
    kept = [name for name in before if "running" not in name and not name.startswith("classifier.out_proj")]
    assert {"ser.feature_mean", "ser.feature_std", "ser.streams.0.conv1.conv.weight"} <= set(kept) < set(before)
    assert all(torch.equal(before[name], after[name]) for name in kept)
    for name in ("classifier.out_proj.weight", "classifier.out_proj.bias"):
        assert torch.equal(after[name], before[name][[1, 0]])  # of anger, fear, neutral


def test_fine_tuning_is_not_tested_on_those_whom_the_model_has_heard(
    finished: Path, corpus_dir: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = f"--model_name_or_path {shlex.quote(str(finished))} --num_train_epochs 1"
    assert train(words(corpus_dir, cache_dir, tmp_path / "leak", f"{more} --fold 0")) == 1
    assert f"was trained with speaker(s) m1 of {TITLE}, who are to test it here" in capsys.readouterr().err
    assert not (tmp_path / "leak" / "config.json").exists()
    unknown = shutil.copytree(finished, tmp_path / "unknown")
    (unknown / "results.json").unlink()
    folder = tmp_path / "tuned"
    more = f"--model_name_or_path {shlex.quote(str(unknown))} --num_train_epochs 1 --fold 0"
    assert train(words(corpus_dir, cache_dir, folder, more)) == 0
    assert json.loads((folder / "results.json").read_text())["heard_before"] is None
    card = (folder / "README.md").read_text()
    assert "| speakers not in this training | WA |" in card and "had heard is not known" in card
    # Nor does a model tuned from that one know.
    assert heard_speakers(str(folder)) is None


def test_fine_tuning_refuses_what_the_loaded_model_would_not_heed(
    finished: Path, corpus_dir: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, message in (
        ("--hidden_size 16", "hidden_size is asked to be 16, but the model to fine-tune has 8"),
        ("--hidden_size 128", "hidden_size is asked to be 128, but the model to fine-tune has 8"),  # the default
        ("--dynamic_range 60", "dynamic_range is asked to be 60.0, but the model to fine-tune has 0.0"),
        ("--encoder you/words", "encoder is asked to be 'you/words'"),
    ):
        start = f"--model_name_or_path {shlex.quote(str(finished))} --num_train_epochs 1 --fold 1 {more}"
        assert train(words(corpus_dir, cache_dir, tmp_path / "tuned", start)) == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "tuned" / "config.json").exists()


# ser predict ---------------------------------------------------------------------------------------------------------


def test_predict_prints_a_table(finished: Path, corpus_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(corpus_dir / name) for name in ("m1.a_nie_1.wav", "m1.n_tak_2.wav")]
    assert ser(["predict", *files, "--model", str(finished)]) == 0
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "prediction", "score"]
    assert [line.split()[0] for line in lines] == files


def test_predict_writes_every_score_as_csv(finished: Path, corpus_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.csv"
    assert ser(["predict", str(corpus_dir), "--model", str(finished), "--output", str(output)]) == 0
    header, *lines = output.read_text().splitlines()
    assert header == "file,prediction,anger,fear,neutral"
    assert len(lines) == 240
    expected = {}
    for line in (finished / "scores.jsonl").read_text().splitlines():
        score = json.loads(line)
        expected[score["id"]] = score["scores"]
    for line in lines:
        file, prediction, *scores = line.split(",")
        if Path(file).stem in expected:
            assert [float(score) for score in scores] == pytest.approx(
                list(expected[Path(file).stem].values()), abs=1e-5
            )
        assert prediction in ("anger", "fear", "neutral")


def test_predict_skips_bad_files_only_if_asked(
    finished: Path, tmp_path: Path, corpus_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, rate = soundfile.read(corpus_dir / "m1.a_nie_1.wav")
    soundfile.write(tmp_path / "good.wav", samples, rate)
    (tmp_path / "bad.wav").write_text("no audio at all")
    output = tmp_path / "scores.csv"
    call = ["predict", str(tmp_path), "--model", str(finished), "--output", str(output)]
    assert ser(call) == 1
    assert "bad.wav" in capsys.readouterr().err
    assert not output.exists()
    assert ser([*call, "--skip-bad"]) == 0
    assert "bad.wav" in capsys.readouterr().err
    assert len(output.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("files", "model", "message"),
    [
        (["missing.wav"], None, "There is no file missing.wav"),
        (["."], None, "holds no audio file"),
        (["clip.wav"], "no/such/folder", "no/such/folder"),
    ],
)
def test_predict_names_what_is_missing(
    files: list[str],
    model: str | None,
    message: str,
    finished: Path,
    corpus_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if files == ["clip.wav"]:
        os.link(corpus_dir / "m1.a_nie_1.wav", tmp_path / "clip.wav")
    assert ser(["predict", *files, "--model", model or str(finished)]) == 1
    assert message in capsys.readouterr().err


def test_help_imports_no_torch() -> None:
    code = "import sys; from speech_emotion.cli.main import get_parser; get_parser(); print('torch' in sys.modules)"
    done = run_command(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}, cwd=PROJECT_ROOT, timeout=60
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["corpus", "list"], 0, "ravdess"),
        (["convert", "gone.pbmm", "model"], 1, "gone.pbmm"),
        (["train", "--corpus", "ravdes", "--use_cpu", "true"], 1, "Did you mean 'ravdess'?"),
    ],
)
def test_other_parts_are_passed_on(
    words: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ser(words) == code
    printed = capsys.readouterr()
    assert message in printed.out + printed.err


# The demo ------------------------------------------------------------------------------------------------------------


def test_the_demo_compares_three_models_and_classifies_an_unseen_speaker_in_a_fresh_process(
    corpus_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from speech_emotion.cli import demo

    short = ["--num_train_epochs", "6"]
    monkeypatch.setattr(demo, "train", lambda call: train([*call, *short, "--cache_dir", str(tmp_path / "cache")]))
    assert ser(["demo", "--output_dir", str(tmp_path / "demo"), "--data_dir", str(corpus_dir)]) == 0
    printed = capsys.readouterr().out
    compared = printed.split("The three models on the unseen speaker m1")[1].splitlines()
    models = {words[0]: words[1:] for line in compared if (words := line.split()) and words[0] in demo.MODELS}
    assert list(models) == ["Model-1", "Model-2", "Model-3"]
    for name, (streams, _) in demo.MODELS.items():
        report = demo.read_report(tmp_path / "demo" / name.lower())
        assert report.arguments["streams"] == list(streams)
        assert models[name][-1] == f"{100 * report.test.metrics['ua']:.1f}%"
    table = printed.split("fresh process:")[1].splitlines()
    rows = [line.split() for line in table if line.startswith("m1.")]
    assert len(rows) == 12
    assert {truth for _, truth, *_ in rows} == {"anger", "fear", "neutral"}
    assert sum(truth == prediction for _, truth, prediction, _ in rows) >= 8

    # A second time it does not train again, and says so; with another seed it does.
    def trained(call: list[str]) -> int:
        raise AssertionError("trained again")

    monkeypatch.setattr(demo, "train", trained)
    again = ["demo", "--output_dir", str(tmp_path / "demo"), "--data_dir", str(corpus_dir)]
    assert ser(again) == 0
    second = capsys.readouterr().out
    assert "--retrain" in second
    assert second.split("fresh process:")[1] == printed.split("fresh process:")[1]
    for change in (["--seed", "7"], ["--retrain"]):
        with pytest.raises(AssertionError, match="trained again"):
            ser([*again, *change])
