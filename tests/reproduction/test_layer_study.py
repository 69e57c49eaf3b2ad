"""The layer study: numbers on inputs whose answer is known, and a whole run on a small corpus."""

import argparse
import csv
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dataset_scripts import load_corpus, speaker_folds
from feature_extraction import DeepSpeechFeatureExtractor, DeepSpeechModel
from feature_extraction.audio_decoding import load_audio
from feature_extraction.speech_encoders import DeepSpeechEncoder, load_encoder
from reproduction.studies import layer_measures
from reproduction.studies.command import add_studies
from reproduction.studies.layer_measures import (
    CONDITIONS,
    Take,
    logistic_probe,
    pair_masks,
    ravdess_takes,
    resample_frames,
    summarize_correlations,
    ua_by_layer,
)
from reproduction.studies.layer_study import layer_activations, layer_names, load_layers, read_clips
from speech_emotion.cli.command import run_command
from speech_emotion.evaluation import classification_metrics
from tests.feature_extraction.small_encoders import saved_encoder
from tests.synthetic import speech_like, write_ravdess

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")


def run_study(*words: object) -> int:
    """Run a study as `python -m reproduction` does."""
    parser = argparse.ArgumentParser()
    add_studies(parser.add_subparsers())
    return run_command(parser, [str(word) for word in words])


@pytest.fixture(scope="module")
def deepspeech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_encoder("deepspeech", tmp_path_factory.mktemp("encoders") / "tiny-deepspeech")


def test_all_layers_come_from_one_pass_and_equal_the_features_of_each(
    deepspeech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = [torch.from_numpy(speech_like(seconds=seconds, seed=2)) for seconds in (0.5, 0.9)]
    encoder = load_encoder(str(deepspeech))
    assert isinstance(encoder, DeepSpeechEncoder)
    calls, forward = [], DeepSpeechModel.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return forward(*args, **kwargs)

    monkeypatch.setattr(DeepSpeechModel, "forward", counted)
    clips = layer_activations(encoder, waves)
    assert len(calls) == 1
    assert [layer.shape for layer in clips[0]] == [(25, 26), *[(25, 24)] * 5, (25, 29)]
    for number in range(1, 7):
        alone = load_encoder(str(deepspeech), layer=number)(waves)
        for clip, expected in zip(clips, alone, strict=True):
            np.testing.assert_allclose(clip[number], expected.numpy(), atol=1e-5)
    coefficients = DeepSpeechFeatureExtractor()(waves[1].numpy(), sampling_rate=16000)["input_features"][0]
    np.testing.assert_allclose(clips[1][0], coefficients, atol=1e-5)


def test_whispers_layers_are_those_of_clips_at_their_own_length(tmp_path: Path) -> None:
    saved_encoder("whisper", tmp_path)
    waves = [torch.from_numpy(speech_like(seconds=seconds, seed=2)) for seconds in (0.5, 0.9)]
    encoder = load_layers(str(tmp_path))
    names = layer_names(encoder)
    assert names == [str(number) for number in encoder.layers] and len(names) > 2
    clips = layer_activations(encoder, waves)
    for number in encoder.layers:
        alone = load_encoder(str(tmp_path), layer=number, context="clip")(waves)
        for clip, expected in zip(clips, alone, strict=True):
            np.testing.assert_allclose(clip[number], expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 7, 50, 131])
def test_resampling_is_torchs_linear_interpolation(frames: int) -> None:
    values = np.random.default_rng(frames).standard_normal((frames, 3)).astype(np.float32)
    columns = torch.from_numpy(values.T.copy())[None]  # (1, units, frames)
    expected = torch.nn.functional.interpolate(columns, size=50, mode="linear", align_corners=True)[0].T
    # torch places the frames in float32, so its shares are off by some 1e-5.
    np.testing.assert_allclose(resample_frames(values, 50), expected.numpy(), atol=1e-4)


def every_take(speakers: int = 3) -> list[Take]:
    return [
        Take(f"s{speaker}", sentence, emotion, "01", repetition)
        for speaker in range(speakers)
        for sentence in ("01", "02")
        for emotion in ("anger", "calm")
        for repetition in ("01", "02")
    ]


def test_pairs_differ_in_one_thing() -> None:
    takes = every_take()
    for name, field in CONDITIONS.items():
        mask = pair_masks(takes)[name]
        assert (mask == mask.T).all()
        for one, other in np.ndindex(mask.shape):
            differing = [key for key in Take._fields if getattr(takes[one], key) != getattr(takes[other], key)]
            assert mask[one, other] == (differing == [field])


def test_correlations_are_averaged_over_pairs_and_speakers() -> None:
    takes = every_take()
    of_speaker = {"s0": 0.2, "s1": 0.4, "s2": 0.9}
    matrix = np.zeros((len(takes), len(takes)))
    for one, other in np.ndindex(matrix.shape):
        a, b = takes[one], takes[other]
        if a.speaker != b.speaker:
            matrix[one, other] = {"s0s1": 0.1, "s0s2": 0.3, "s1s2": 0.8}["".join(sorted((a.speaker, b.speaker)))]
        elif a.emotion != b.emotion:
            matrix[one, other] = of_speaker[a.speaker]
        else:
            matrix[one, other] = 0.95
    found = summarize_correlations(matrix, takes)
    np.testing.assert_allclose(found["r, two repetitions"], 0.95)
    # Of 3 speakers all draws are of s0 alone, or of s2 alone, in 1 of 27 cases each: more than 2.5%.
    np.testing.assert_allclose(found["r, two emotions"], [0.5, 0.2, 0.9])
    np.testing.assert_allclose(found["r, two speakers"], [0.4, 0.1, 0.8])
    np.testing.assert_allclose(found["effect of the emotion"], [0.45, 0.05, 0.75])
    assert found["effect of the speaker"][0] == pytest.approx(0.55)


def test_speakers_without_pairs_are_named() -> None:
    takes = [take for take in every_take() if (take.speaker, take.repetition) != ("s1", "02")]
    with pytest.raises(ValueError, match="two repetitions for s1"):
        summarize_correlations(np.eye(len(takes)), takes)
    takes = every_take(1)
    with pytest.raises(ValueError, match="only s0"):
        summarize_correlations(np.eye(len(takes)), takes)


def test_takes_are_read_from_ravdess_names() -> None:
    row = {"speaker": "Actor_03", "sentence": "02", "label": "calm"}
    (take,) = ravdess_takes([row | {"file": "Actor_03/03-01-02-01-02-02-03.flac"}])
    assert take == Take("Actor_03", "02", "calm", "01", "02")
    with pytest.raises(ValueError, match=r"03a01Wa\.wav"):
        ravdess_takes([row | {"file": "03a01Wa.wav"}])


PROBED = [
    {"id": f"{speaker}{label}{number}", "speaker": speaker, "label": label, "sex": "f"}
    for speaker in "abcd"
    for label in ("anger", "calm")
    for number in range(6)
]
IDS, SPEAKERS = ([row[name] for row in PROBED] for name in ("id", "speaker"))
CLASSES = np.array([row["label"] == "calm" for row in PROBED], dtype=int)


def test_a_probe_reads_what_is_there_and_nothing_else() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((len(PROBED), 3))
    features = {
        "clear": CLASSES[:, None] * 2.0 + noise,
        "speaker": np.array([[ord(speaker)] for speaker in SPEAKERS], dtype=float),
    }
    found = ua_by_layer(features, IDS, CLASSES, SPEAKERS, speaker_folds(PROBED))
    assert (found["clear"].value, found["clear"].low, found["clear"].high) == (1, 1, 1)
    assert found["speaker"].value == pytest.approx(0.5)


def test_a_probe_is_given_the_speakers_of_its_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(values: np.ndarray, truth: np.ndarray, *parts: np.ndarray) -> np.ndarray:
        people = [{SPEAKERS[index] for index in part} for part in parts]
        assert list(map(len, people)) == [2, 1, 1] and len(set.union(*people)) == 4
        return np.zeros(len(parts[-1]), dtype=int)

    monkeypatch.setattr(layer_measures, "logistic_probe", probe)
    features = {"1": np.zeros((len(IDS), 1))}
    assert ua_by_layer(features, IDS, CLASSES, SPEAKERS, speaker_folds(PROBED))["1"].value == 0.5


def test_the_probe_chooses_by_validation_and_scales_by_training() -> None:
    random = np.random.default_rng(0)
    labels = np.tile([0, 1, 2], 20)
    features = np.eye(3)[labels] * [1.0, 1000.0, 1e-3] + random.standard_normal((60, 3)) * [0.2, 200, 2e-4]
    predicted = logistic_probe(features, labels, *np.split(np.arange(60), [30, 45]))
    assert classification_metrics(labels[45:], predicted, 3)["ua"] > 0.9


def test_the_layer_study_from_corpus_to_files(
    deepspeech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: no figures")
    corpus = write_ravdess(tmp_path / "ravdess", actors=range(1, 5), seconds=0.3)
    places = [
        "--data_dir",
        corpus,
        "--encoder",
        deepspeech,
        "--output_dir",
        tmp_path,
        "--cache_dir",
        tmp_path / "cache",
    ]
    assert run_study("layers", *places, "--corpora", "ravdess", "--num_folds", 4) == 0
    output = tmp_path / deepspeech.name
    printed = capsys.readouterr().out
    names = {path.name for path in output.iterdir()}
    assert names == {"activations.png", "layers.csv", "layers.json", "layers.png", "layers.svg"}
    text = (output / "layers.json").read_text()
    facts = json.loads(text)
    assert facts["correlated"]["clips"] == 4 * 2 * 2 * 5  # speakers, sentences, repetitions, emotions
    (probe,) = facts["probes"].values()
    assert (len(probe["emotion"]), probe["sentence"]) == (8, ["01", "02"])
    assert (probe["clips"], probe["folds"], probe["speakers"]) == (128, 4, 4)
    assert facts["encoder"] == "tiny-deepspeech" and str(tmp_path) not in text
    rows = list(csv.DictReader((output / "layers.csv").open()))
    for what in ("emotion", "sentence"):
        layers = [row["layer"] for row in rows if row["quantity"] == f"probe of the {what}, ravdess"]
        assert layers == ["MFCC", "1", "2", "3", "4", "5", "6"]
    for row in rows:
        assert float(row["low"]) <= float(row["estimate"]) <= float(row["high"])
        assert row["quantity"] in printed
    values = {(row["layer"], row["quantity"]): float(row["estimate"]) for row in rows}
    # The clips' sound depends on the emotion: its takes are more alike than its neighbors'.
    assert values["MFCC", "centered effect of the emotion"] > 0.1

    # One number by hand: the plain correlation of two emotions in layer 1.
    encoder = load_encoder(str(deepspeech), layer=1)
    clips = {
        row["file"]: resample_frames(encoder([torch.from_numpy(load_audio(row["audio"]))])[0].numpy()).ravel()
        for row in load_corpus("ravdess", data_dir=corpus, cache_dir=tmp_path / "cache")
    }
    paper = ("02", "03", "04", "05", "06")  # calm, happy, sad, angry, fearful

    def clip(actor: int, emotion: str, sentence: int, repetition: int) -> np.ndarray:
        return clips[f"Actor_{actor:02}/03-01-{emotion}-01-{sentence:02}-{repetition:02}-{actor:02}.wav"]

    expected = [
        np.corrcoef(clip(actor, one, sentence, repetition), clip(actor, other, sentence, repetition))[0, 1]
        for actor in range(1, 5)
        for sentence in (1, 2)
        for repetition in (1, 2)
        for one in paper
        for other in paper
        if one < other
    ]
    assert values["1", "plain r, two emotions"] == pytest.approx(np.mean(expected), abs=1e-5)


def test_a_recording_that_occurs_twice_enters_once(deepspeech: Path, tmp_path: Path) -> None:
    corpus = write_ravdess(tmp_path / "ravdess", actors=(1,), emotions=("calm",), seconds=0.3)
    files = sorted(corpus.rglob("*.wav"))
    files[1].write_bytes(files[0].read_bytes())
    rows = load_corpus("ravdess", data_dir=corpus, cache_dir=tmp_path / "cache")
    kept, statistics, sequences = read_clips(rows, load_encoder(str(deepspeech)), [True] * 4)
    assert kept == [0, 2, 3]
    assert [len(clip) for clip in statistics] == [7, 7, 7]
    assert [layer.shape for layer in sequences] == [(3, 50, 26), *[(3, 50, 24)] * 5, (3, 50, 29)]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("--labels anger joy", "joy"),
        ("--labels anger calm --intensity strong", "anger, calm"),
        ("--intensity loud", "loud"),
        ("--encoder no/such/folder", "no/such/folder"),
    ],
)
def test_what_the_layer_study_cannot_do_is_named(
    more: str, named: str, deepspeech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: no figures")
    corpus = write_ravdess(tmp_path / "ravdess", actors=(1,), emotions=("angry", "calm"), seconds=0.1)
    places = ["--data_dir", corpus, "--corpora", "ravdess", "--encoder", deepspeech]
    places += ["--output_dir", tmp_path / "o", "--cache_dir", tmp_path]
    assert run_study("layers", *places, *shlex.split(more)) == 1
    assert named in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
