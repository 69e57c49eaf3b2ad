"""Whole DeepSpeech trainings from the command line: figures, card, half precision, strangers' transcripts."""

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dataset_scripts import load_corpus, save_fold
from feature_extraction import DeepSpeechFeatureExtractor
from speech_emotion.evaluation import error_rates
from speech_emotion.training import ctc_run
from speech_emotion.training.ctc_arguments import CTCDataArguments
from speech_emotion.training.ctc_main import main as train
from speech_emotion.training.ctc_speakers import choose_transcribed_fold, speaker_rows
from speech_emotion.training.ctc_trainer import CTCTrainer
from speech_emotion.training.hub_push import shared_files
from tests.speech_emotion.interrupted_runs import SignalAt
from tests.speech_emotion.spelled_speech import SPEAKERS, write_spelled
from tests.subprocess_tools import PROJECT_ROOT, offline_environment, run_command, run_python_json

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")

SMALL = (
    "--hidden_size 64 --dropout 0 --tempo 0 --gain 0 --time_masks 0 --feature_masks 0 --validation_speakers 2 "
    "--per_device_train_batch_size 4 --learning_rate 3e-3 --warmup_steps 0.3 --use_cpu true"
)


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spelled(tmp_path_factory.mktemp("spelled"))


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return offline_environment(tmp_path_factory.mktemp("home")) | {"OMP_NUM_THREADS": "1"}


def words(corpus_dir: Path, cache_dir: Path, output_dir: Path, more: str = "") -> list[str]:
    places = ["--data_dir", str(corpus_dir), "--cache_dir", str(cache_dir), "--output_dir", str(output_dir)]
    return [*shlex.split(SMALL), *places, *shlex.split(more)]


@pytest.fixture(scope="module")
def finished(corpus_dir: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "model"
    torch.set_num_threads(1)
    assert train(words(corpus_dir, cache_dir, folder, "--num_train_epochs 30 --half true --evaluate_test true")) == 0
    return folder


def read_transcripts(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "transcripts.jsonl").read_text().splitlines()]


def test_it_learns_and_the_figures_are_those_of_the_transcripts(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    assert results["curve"][0]["eval_cer"] > 0.9
    assert results["test"]["errors"]["all"]["cer"] < 0.25
    rows = read_transcripts(finished)
    for split in ("validation", "test"):
        for group, errors in results[split]["errors"].items():
            members = [row for row in rows if row["split"] == split and group in (row["group"], "all")]
            rates = error_rates([row["reference"] for row in members], [row["hypothesis"] for row in members])
            assert (errors["clips"], errors["cer"], errors["wer"]) == (len(members), rates.cer, rates.wer)
            assert errors["speakers"] == len({row["speaker"] for row in members})
        assert set(results[split]["errors"]) == {"adults", "children", "all"}
    best = min(results["curve"], key=lambda entry: entry["eval_cer"])
    assert results["best_epoch"] == best["epoch"]


def test_no_speaker_is_in_two_splits_and_the_test_is_the_official_half(finished: Path) -> None:
    fold = [json.loads(line) for line in (finished / "fold.jsonl").read_text().splitlines()]
    members: dict[str, set[str]] = {}
    for row in fold:
        members.setdefault(row["split"], set()).add(row["speaker"])
    assert members["test"] == {name for name, (half, *_) in SPEAKERS.items() if half == "test"}
    assert not members["train"] & members["validation"]
    assert len(members["train"] | members["validation"]) == 8


def test_the_card_is_filled_and_names_no_folder_of_this_machine(finished: Path) -> None:
    card, results = (finished / "README.md").read_text(), (finished / "results.json").read_text()
    errors = json.loads(results)["test"]["errors"]["children"]
    assert f"| test | children | 1 | 6 | {errors['cer']:.1%} | {errors['wer']:.1%} |" in card
    assert "convert_deepspeech" in card
    assert "read once" in card
    assert "float16" in card
    assert "pipeline_tag: automatic-speech-recognition" in card
    assert "config: children" in card
    assert "{{" not in card
    assert "{%" not in card
    assert str(finished.parent) not in card + results


def test_weights_are_half_and_the_figures_theirs_for_a_stranger(
    finished: Path, corpus_dir: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    assert {tensor.dtype for tensor in load_file(finished / "model.safetensors").values()} == {torch.float16}
    rows = [row for row in read_transcripts(finished) if row["split"] == "test"]
    files = [str(corpus_dir / "WAVE" / f"SPEAKER{row['speaker']}" / f"{row['id']}.WAV") for row in rows]
    given = run_python_json(
        f"""
        import json
        from transformers import pipeline
        recognizer = pipeline("automatic-speech-recognition", model={str(finished)!r}, trust_remote_code=True)
        files = {files!r}
        print(json.dumps({{
            "dtype": str(recognizer.model.dtype),
            "layer": type(recognizer.model.deepspeech.layer_1).__name__,
            "texts": [result["text"] for result in recognizer(files)],
            "batch": [result["text"] for result in recognizer(files, batch_size=5)],
        }}))
        """,
        env=environment,
        cwd=tmp_path,
    )
    assert (given["dtype"], given["layer"]) == ("torch.float32", "Linear")
    assert given["texts"] == given["batch"] == [row["hypothesis"] for row in rows]


def test_what_is_shared_loads_and_holds_no_training_state(finished: Path) -> None:
    checkpoint = next(finished.glob("checkpoint-*"))
    for folder in (finished, checkpoint):
        names = set(shared_files(folder))
        assert {"model.safetensors", "config.json", "preprocessor_config.json", "vocab.json"} <= names
        assert {"modeling_deepspeech.py", "pipeline_deepspeech.py", "frontend_deepspeech.py"} <= names
        assert not {name for name in names if name.endswith((".pt", ".bin", ".jsonl"))}


def test_the_test_half_is_not_decoded_unless_asked_for(
    corpus_dir: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, sources = DeepSpeechFeatureExtractor.load_audio, []

    def note(self: DeepSpeechFeatureExtractor, source: Any) -> Any:
        sources.append(str(source["path"]))
        return load(self, source)

    monkeypatch.setattr(DeepSpeechFeatureExtractor, "load_audio", note)
    fresh = tmp_path / "cache"
    assert train(words(corpus_dir, fresh, tmp_path / "run", "--num_train_epochs 1")) == 0
    assert len(sources) == 48
    assert not [source for source in sources if "SPEAKER0009" in source or "SPEAKER0010" in source]
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["test"] is None
    assert "have not been read" in " ".join((tmp_path / "run" / "README.md").read_text().split())
    assert {tensor.dtype for tensor in load_file(tmp_path / "run" / "model.safetensors").values()} == {torch.float32}


def test_a_file_that_is_no_audio_is_skipped_only_if_asked(
    corpus_dir: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "speechocean762"
    shutil.copytree(corpus_dir, folder)
    bad = sorted(folder.rglob("*.WAV"))[0]
    bad.write_text("version https://git-lfs.github.com/spec/v1\n")
    run = words(folder, tmp_path / "cache", tmp_path / "run", "--num_train_epochs 1")
    assert train(run) == 1
    assert bad.name in capsys.readouterr().err
    assert train([*run, "--skip_bad", "true"]) == 0


def test_a_stopped_run_exits_with_143_and_reports_nothing(
    corpus_dir: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    class Stopped(CTCTrainer):
        def __init__(self, *args: Any, callbacks: list, **kwargs: Any) -> None:
            super().__init__(*args, callbacks=[*callbacks, SignalAt("on_step_begin", 3)], **kwargs)

    run = words(corpus_dir, cache_dir, tmp_path / "run", "--num_train_epochs 2")
    with monkeypatch.context() as patch:
        patch.setattr(ctc_run, "CTCTrainer", Stopped)
        assert train(run) == 143
    assert "--resume_from_checkpoint true" in capsys.readouterr().out
    assert not (tmp_path / "run" / "results.json").exists()
    assert train(run) == 1
    assert "--resume_from_checkpoint true" in capsys.readouterr().err
    assert train([*run, "--resume_from_checkpoint", "true"]) == 0
    whole = tmp_path / "whole"
    assert train(words(corpus_dir, cache_dir, whole, "--num_train_epochs 2")) == 0
    assert (whole / "model.safetensors").read_bytes() == (tmp_path / "run" / "model.safetensors").read_bytes()


def test_two_processes_train_as_one(
    corpus_dir: Path, cache_dir: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    more = (
        "--max_steps 4 --logging_strategy steps --logging_steps 1 --evaluate_test true --per_device_eval_batch_size 5"
    )
    # Four full batches: the fifth, of 4 clips, would be filled up among two processes.
    one, two = (tmp_path / name for name in ("one", "two"))
    assert train(words(corpus_dir, cache_dir, one, f"{more} --per_device_train_batch_size 8")) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    run_command(
        [*torchrun, PROJECT_ROOT / "train_deepspeech.py", *words(corpus_dir, cache_dir, two, more)],
        env=environment | {"PYTHONPATH": str(PROJECT_ROOT)},
        cwd=tmp_path,
    )
    results = [json.loads((folder / "results.json").read_text()) for folder in (one, two)]
    losses = [
        [
            entry["loss"]
            for entry in json.loads((folder / "checkpoint-4" / "trainer_state.json").read_text())["log_history"]
            if "loss" in entry
        ]
        for folder in (one, two)
    ]
    assert len(losses[0]) == 4
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for split in ("validation", "test"):
        # Adam divides a gradient by its own size: where one nearly vanishes, rounding alone moves the weight.
        assert results[1][split]["loss"] == pytest.approx(results[0][split]["loss"], rel=1e-2)
        assert results[1][split]["errors"]["all"]["clips"] == 12


def test_a_file_of_folds_says_who_is_who(corpus_dir: Path, cache_dir: Path, tmp_path: Path) -> None:
    rows = load_corpus("speechocean762", data_dir=corpus_dir, cache_dir=cache_dir)
    fold = choose_transcribed_fold(rows, CTCDataArguments(validation_speakers=3))
    file = tmp_path / "mine.jsonl"
    save_fold(fold, speaker_rows(rows), file)
    again = choose_transcribed_fold(rows.remove_columns("split"), CTCDataArguments(folds_file=str(file)))
    assert again.splits == fold.splits
    assert again.name == "mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--corpus polish", "folds_file"),
        ("--validation_speakers 8", "Cannot take 8 of 8"),
        ("--time_mask_frames -1", "time_mask_frames"),
        ("--tempo 1.5", "tempo must lie"),
        ("--label_smoothing_factor 0.1", "label_smoothing"),
        ("--folds_file missing.jsonl", "missing.jsonl"),
    ],
)
def test_settings_that_do_not_fit_end_the_run(
    change: str,
    message: str,
    corpus_dir: Path,
    cache_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    if "polish" in change:
        from tests.synthetic import write_polish

        corpus_dir = write_polish(tmp_path / "polish", repetitions=(1,))
    assert train(words(corpus_dir, cache_dir, tmp_path / "run", change)) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_transcript_outside_the_alphabet_names_its_clip(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = write_spelled(tmp_path / "corpus", texts=("AB", "BA"))
    table = folder / "train" / "text"
    table.write_text(table.read_text().replace("000020002\tBA", "000020002\tB-A"))
    assert train(words(folder, tmp_path / "cache", tmp_path / "run")) == 1
    assert "'000020002', 'b-a', has '-'" in capsys.readouterr().err


def test_help_lists_what_can_be_said(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        train(["--help"])
    assert "--evaluate_test" in capsys.readouterr().out
