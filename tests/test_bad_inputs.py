"""What users get wrong: each mistake is answered by an error that names it, and nothing half-written is left."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from dataset_scripts import load_corpus, load_fold, save_fold, speaker_folds
from feature_extraction import SERFeatureExtractor
from modeling_ser import SERConfig, SERForAudioClassification, SERPipeline
from speech_emotion.cli.train import main as train
from tests.synthetic import tone, write_polish, write_ravdess

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")
RATE = 16000


@pytest.fixture(scope="module")
def classifier() -> SERPipeline:
    torch.manual_seed(0)
    return SERForAudioClassification(SERConfig(num_labels=3, hidden_size=8)).as_pipeline(SERFeatureExtractor())


def wav(path: Path, samples: np.ndarray) -> Path:
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return path


def cut(path: Path, part: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    return path


def ogg(path: Path) -> Path:
    noise = 0.1 * np.random.default_rng(0).standard_normal(10 * RATE)  # which takes many pages
    soundfile.write(path, noise, RATE, format="OGG", subtype="VORBIS")
    return path


def holed(samples: np.ndarray, value: float) -> np.ndarray:
    samples[123] = value
    return samples


def empty(path: Path) -> Path:
    path.touch()
    return path


def text(path: Path) -> Path:
    path.write_text("This is not speech.")
    return path


CLIPS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing file": (lambda folder: folder / "gone.wav", r"gone\.wav: no such file"),
    "folder": (lambda folder: folder, "is a folder"),
    "empty file": (lambda folder: empty(folder / "clip.wav"), r"clip\.wav: is empty"),
    "text named .wav": (lambda folder: text(folder / "clip.wav"), r"clip\.wav: no audio file"),
    "truncated wav": (lambda folder: cut(wav(folder / "clip.wav", tone()), 0.5), r"clip\.wav: truncated"),
    "truncated ogg": (lambda folder: cut(ogg(folder / "clip.ogg"), 0.6), r"clip\.ogg: truncated"),
    "no samples": (lambda folder: wav(folder / "clip.wav", tone()[:0]), r"clip\.wav: holds 0 samples"),
    "NaN in a file": (
        lambda folder: wav(folder / "clip.wav", holed(tone(), np.nan)),
        r"clip\.wav: 1 of \d+ samples is",
    ),
    "infinite sample": (lambda folder: holed(tone(), np.inf), "array: 1 of .* samples is NaN or infinite"),
    "bytes of nothing": (lambda folder: b"", "bytes: is empty"),
    "square array": (
        lambda folder: {"array": np.zeros((40, 40)), "sampling_rate": RATE},
        "does not tell channels from samples",
    ),
    "rate of one": (lambda folder: {"array": tone(), "sampling_rate": 1}, "a sampling rate of 1 Hz is none of a rec"),
    "rate of zero": (lambda folder: {"array": tone(), "sampling_rate": 0}, "a sampling rate of 0 Hz is impossible"),
    "no rate": (lambda folder: {"array": tone()}, 'no "sampling_rate"'),
    "words for samples": (lambda folder: {"array": ["a", "b"], "sampling_rate": RATE}, "is no waveform"),
    "URL of another kind": (lambda folder: "ftp://example.org/clip.wav", "http and https only"),
    "a whole data set": (
        lambda folder: datasets.Dataset.from_dict({"id": ["a"]}),
        r'from a Dataset .*; of a data set give its column of audio, such as rows\["audio"\]',
    ),
    "a number": (lambda folder: 3.5, "cannot read audio from a float"),
}


@pytest.mark.parametrize("kind", CLIPS)
def test_the_pipeline_names_a_bad_clip(kind: str, classifier: SERPipeline, tmp_path: Path) -> None:
    make, message = CLIPS[kind]
    with pytest.raises((ValueError, OSError, TypeError), match=message):
        classifier(make(tmp_path))


WAVEFORMS: dict[str, tuple[Callable[[SERFeatureExtractor], object], str]] = {
    "two channels": (lambda extractor: extractor(np.zeros((2, 1000)), sampling_rate=RATE), r"shape \(2, 1000\)"),
    "another rate": (lambda extractor: extractor(tone(), sampling_rate=8000), "8000 Hz, .* 16000 Hz"),
    "no waveforms": (lambda extractor: extractor([], sampling_rate=RATE), "empty list"),
    "no samples": (lambda extractor: extractor(tone()[:0], sampling_rate=RATE), "holds 0 samples"),
    "one bad of two": (lambda extractor: extractor([tone(), holed(tone(), np.nan)], sampling_rate=RATE), "waveform 1"),
    "padding unknown": (lambda extractor: extractor(tone(), sampling_rate=RATE, padding="left"), "padding='left'"),
}


@pytest.mark.parametrize("kind", WAVEFORMS)
def test_the_extractor_names_a_bad_waveform(kind: str) -> None:
    call, message = WAVEFORMS[kind]
    with pytest.raises(ValueError, match=message):
        call(SERFeatureExtractor())


def test_settings_that_nobody_knows_are_refused() -> None:
    with pytest.raises(ValueError, match="'hop_lenght'"):
        SERFeatureExtractor(hop_lenght=200)
    with pytest.raises(ValueError, match="'hiden_size'"):
        SERConfig(hiden_size=64)


def without(name: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        weights = load_file(path)
        del weights[name]
        save_file(weights, path, metadata={"format": "pt"})

    return change


def with_stranger(path: Path) -> None:
    save_file(load_file(path) | {"stranger": torch.zeros(2)}, path, metadata={"format": "pt"})


CHECKPOINTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing buffer": (without("ser.feature_mean"), r"missing: ser\.feature_mean"),
    "missing statistics": (without("ser.streams.0.conv1.norm.running_var"), r"missing: .*running_var"),
    "missing head": (without("classifier.out_proj.weight"), r"missing: classifier\.out_proj\.weight"),
    "unexpected weight": (with_stranger, "unexpected: stranger"),
    "truncated weights": (lambda path: cut(path, 0.5), "(?i)safetensors|header|incomplete"),
    "no weights": (lambda path: path.unlink(), "model.safetensors"),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_checkpoint_that_does_not_fit_is_refused(kind: str, tmp_path: Path) -> None:
    SERForAudioClassification(SERConfig(num_labels=3, hidden_size=8)).save_pretrained(tmp_path)
    change, message = CHECKPOINTS[kind]
    change(tmp_path / "model.safetensors")
    with pytest.raises(Exception, match=message) as raised:
        SERForAudioClassification.from_pretrained(tmp_path)
    assert isinstance(raised.value, RuntimeError | OSError) or "Safetensor" in type(raised.value).__name__


# Corpora, folds and trainings: whatever is wrong, the command says so, exits with 1 and saves nothing. ---------------


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
    wav(corpus / "m4.s_tak_2.wav", holed(tone(), np.nan))
    return ["--data_dir", str(corpus)]


def two_speakers(folder: Path) -> list[str]:
    return ["--data_dir", str(write_polish(folder / "polish", speakers=(1, 2)))]


def fold_with(change: Callable[[list[dict]], list[dict]]) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        corpus = write_polish(folder / "polish", repetitions=(1,))
        rows = load_corpus("polish", data_dir=corpus, cache_dir=folder / "cache")
        path = folder / "fold.jsonl"
        save_fold(speaker_folds(rows)[0], rows, path)
        entries = change([json.loads(line) for line in path.read_text().splitlines()])
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        return ["--data_dir", str(corpus), "--folds_file", str(path)]

    return make


def leak(entries: list[dict]) -> list[dict]:
    first = next(entry for entry in entries if entry["split"] == "train")
    return [entry | {"split": "test"} if entry is first else entry for entry in entries]


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
    "a speaker in two splits": (fold_with(leak), r"the speaker 'm\d' is in"),
    "a recording in two splits": (
        same_audio_of_two_speakers,
        "'m4.s_tak_1' of train and 'm1.a_nie_1' of test are the same",
    ),
    "unknown clip in a fold": (fold_with(lambda rows: [{**rows[0], "id": "m9"}, *rows[1:]]), "line 1: the clip 'm9'"),
    "clip missing from a fold": (fold_with(lambda rows: rows[1:]), "in no split"),
    "changed label": (fold_with(lambda rows: [{**rows[0], "label": "calm"}, *rows[1:]]), "the label of the clip"),
    "unknown split": (fold_with(lambda rows: [{**rows[0], "split": "dev"}, *rows[1:]]), "the split is 'dev'"),
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


def test_an_unknown_corpus_lists_the_known_ones(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert train(["--corpus", "ravdes", "--use_cpu", "true", "--output_dir", str(tmp_path / "model")]) == 1
    assert "Did you mean 'ravdess'?" in capsys.readouterr().err


def test_a_malformed_line_is_named_by_its_number(tmp_path: Path) -> None:
    rows = load_corpus("polish", data_dir=write_polish(tmp_path / "p", repetitions=(1,)), cache_dir=tmp_path / "c")
    (tmp_path / "fold.jsonl").write_text("not json\n")
    with pytest.raises(ValueError, match=r"fold\.jsonl, line 1: not a JSON object"):
        load_fold(tmp_path / "fold.jsonl", rows)


def test_eight_channels_at_192_khz_are_good_input(classifier: SERPipeline, tmp_path: Path) -> None:
    samples = np.repeat(tone(seconds=0.5, rate=192_000)[:, None], 8, axis=1)
    # Unrounded: in the bands that a pure tone leaves empty, the noise of 16 bits would be all there is.
    soundfile.write(tmp_path / "clip.wav", samples, 192_000, subtype="DOUBLE")
    scores = {entry["label"]: entry["score"] for entry in classifier(tmp_path / "clip.wav")}
    mono = {entry["label"]: entry["score"] for entry in classifier({"array": samples[:, 0], "sampling_rate": 192_000})}
    assert scores == pytest.approx(mono, abs=1e-5)
