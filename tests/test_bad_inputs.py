"""What users get wrong: the command says why, exits with 1, and leaves nothing half-written."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from dataset_scripts import load_corpus, save_fold, speaker_folds
from speech_emotion.cli.train import main as train
from tests.synthetic import tone, write_polish, write_ravdess

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")
RATE = 16000


def missing_corpus(folder: Path) -> list[str]:
    return ["--data_dir", str(folder / "nowhere")]


def empty_corpus(folder: Path) -> list[str]:
    (folder / "empty").mkdir()
    return ["--data_dir", str(folder / "empty")]


def other_corpus(folder: Path) -> list[str]:
    return ["--data_dir", str(write_ravdess(folder / "ravdess", actors=(1,)))]


def twice_the_same_clip(folder: Path) -> list[str]:
    corpus = write_polish(folder / "polish")
    (corpus / "copy").mkdir()
    (corpus / "copy" / "m1.a_nie_1.wav").write_bytes((corpus / "m1.a_nie_1.wav").read_bytes())
    return ["--data_dir", str(corpus)]


def broken_clip(folder: Path) -> list[str]:
    corpus = write_polish(folder / "polish")
    samples = tone()
    samples[123] = float("nan")
    soundfile.write(corpus / "m4.s_tak_2.wav", samples, RATE, subtype="FLOAT")
    return ["--data_dir", str(corpus)]


def two_speakers(folder: Path) -> list[str]:
    return ["--data_dir", str(write_polish(folder / "polish", speakers=(1, 2)))]


def leaking_fold(folder: Path) -> list[str]:
    corpus = write_polish(folder / "polish", repetitions=(1,))
    rows = load_corpus("polish", data_dir=corpus, cache_dir=folder / "cache")
    path = folder / "fold.jsonl"
    save_fold(speaker_folds(rows)[0], rows, path)
    path.write_text(path.read_text().replace('"train"', '"test"', 1))
    return ["--data_dir", str(corpus), "--folds_file", str(path)]


def good(folder: Path, *more: str) -> list[str]:
    return ["--data_dir", str(write_polish(folder / "polish", repetitions=(1,))), *more]


def earlier_run(folder: Path) -> list[str]:
    (folder / "model" / "checkpoint-5").mkdir(parents=True)
    (folder / "model" / "checkpoint-5" / "trainer_state.json").write_text("{}")
    return good(folder)


def same_audio_of_two_speakers(folder: Path) -> list[str]:
    corpus = write_polish(folder / "polish", repetitions=(1,))
    samples, _ = soundfile.read(corpus / "m1.a_nie_1.wav", dtype="int16")
    (corpus / "m4.s_tak_1.wav").unlink()
    soundfile.write(corpus / "m4.s_tak_1.flac", samples, RATE)
    return ["--data_dir", str(corpus)]


TRAININGS: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "missing corpus folder": (missing_corpus, r"nowhere does not exist"),
    "empty corpus folder": (empty_corpus, r"no \.wav, \.flac or \.ogg file"),
    "another corpus": (other_corpus, "none of the .* is a clip of the corpus"),
    "duplicate clip ids": (twice_the_same_clip, "'m1.a_nie_1'"),
    "a clip with NaN": (broken_clip, r"Clip 'm4\.s_tak_2'.*NaN"),
    "too few speakers": (two_speakers, "at least 3 groups of speakers"),
    "unknown label": (lambda folder: good(folder, "--labels", "anger", "bliss"), "no clips labelled bliss"),
    "fold out of range": (lambda folder: good(folder, "--fold", "7"), "There is no fold 7"),
    "two folds": (lambda folder: good(folder, "--scheme", "k-fold", "--num_folds", "2"), "k of at least 3"),
    "no sessions": (lambda folder: good(folder, "--scheme", "leave-one-session-out"), "needs the session"),
    "a speaker in two splits": (leaking_fold, r"the speaker 'm\d' is in"),
    "a recording in two splits": (
        same_audio_of_two_speakers,
        "'m4.s_tak_1' of train and 'm1.a_nie_1' of test are the same",
    ),
    "missing fold file": (lambda folder: good(folder, "--folds_file", "gone.jsonl"), r"gone\.jsonl"),
    "another run's folder": (earlier_run, "holds checkpoints of another run"),
    "nothing to resume": (
        lambda folder: good(folder, "--resume_from_checkpoint", "true"),
        "holds no whole checkpoint to resume from",
    ),
    "no such model": (lambda folder: good(folder, "--model_name_or_path", str(folder / "gone")), "gone"),
    "unknown stream": (lambda folder: good(folder, "--streams", "glottal"), "'glottal' needs --encoder"),
    "negative patience": (
        lambda folder: good(folder, "--early_stopping_patience", "-1"),
        "patience must be 0 or more",
    ),
    "a stem without mel bands": (
        lambda folder: good(folder, "--streams", "deepspeech", "mel", "--stem_channels", "4"),
        "the first stream is 'deepspeech'",
    ),
    "impossible size": (lambda folder: good(folder, "--hidden_size", "30"), "cannot be divided among 4 heads"),
}


@pytest.mark.parametrize("kind", TRAININGS)
def test_a_training_that_cannot_be_says_why_and_saves_nothing(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, message = TRAININGS[kind]
    words = make(tmp_path)
    output = tmp_path / "model"
    before = set(output.rglob("*"))
    common = shlex.split("--preset paper --corpus polish --use_cpu true --num_train_epochs 1 --hidden_size 8")
    places = ["--output_dir", str(output), "--cache_dir", str(tmp_path / "cache")]
    assert train([*common, *places, *words]) == 1
    errors = capsys.readouterr().err
    assert re.search(f"error: (.|\n)*{message}", errors), errors
    assert "Traceback" not in errors
    left = {path.name for path in output.rglob("*")} - {path.name for path in before}
    assert left <= {".training.lock"}
    # The lock files of datasets stay; folders and files under construction do not.
    assert not [path for path in tmp_path.rglob("*incomplete*") if path.suffix != ".lock"]
    assert not list(tmp_path.rglob("*.partial"))
