"""Systems with networks of others: they learn, repeat themselves, and what they read is right."""

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import EvalPrediction

from feature_extraction import DeepSpeechConfig, DeepSpeechFeatureExtractor, DeepSpeechForCTC
from feature_extraction.tokenizer_deepspeech import ENGLISH
from reproduction import yenigalla_2018
from reproduction.compared_features import SpectrogramExtractor
from reproduction.compared_network import (
    NO_SYMBOL,
    ComparedSystem,
    ComparedTask,
    Items,
    Recipe,
    clip_scores,
    collate,
    stretches,
)
from reproduction.lakomkin_2017 import JointOutput, Lakomkin, LakomkinConfig, encode_letters
from reproduction.lakomkin_2017 import make_system as lakomkin_2017
from reproduction.lee_2015 import Lee, LeeConfig, LeeFeatureExtractor, pitch_and_voicing
from reproduction.satt_2017 import Satt, SattConfig
from reproduction.systems import PAPERS, SHUFFLED_MODELS, TITLES, get_system, system_title
from reproduction.yenigalla_2018 import Yenigalla, YenigallaConfig, phonemes_of
from speech_emotion.cross_validation.system import FoldTask
from speech_emotion.evaluation import classification_metrics
from speech_emotion.training.batches import LengthGroupedSampler, NoLoneItem
from tests.speech_emotion.cross_validation.compared_problems import LABELS, make_task
from tests.synthetic import speech_like, tone

YENIGALLA = YenigallaConfig(
    num_mel_bins=24,
    num_frames=128,
    kernel_sizes=((3, 4), (4, 6)),
    num_filters=4,
    stride=2,
    num_text_filters=8,
    dense_sizes=(16, 12),
    dropout=0.1,
)
ADADELTA = Recipe(epochs=8, patience=8, batch_size=8, optimizer="adadelta", learning_rate=1.0, weight_decay=0.0)
ADAM = Recipe(epochs=8, patience=8, batch_size=8, learning_rate=1e-2)
SATT = SattConfig(num_bins=24, channels=(2, 3, 4), hidden_size=8, dropout=0.1)
SMALL: dict[str, Callable[[], ComparedSystem]] = {
    "satt": lambda: Satt("satt", "S", SATT, ADAM),
    "spectrogram": lambda: Yenigalla("y-spectrogram", "Y", YENIGALLA, ADADELTA),
    "phonemes": lambda: Yenigalla("y-phonemes", "Y", YENIGALLA, ADADELTA),
    "combined": lambda: Yenigalla("y-combined", "Y", YENIGALLA, ADADELTA),
    "lee": lambda: Lee("lee", "L", LeeConfig(hidden_size=16, dropout=0.1), ADAM),
    "lakomkin": lambda: Lakomkin("l", "L", None, LakomkinConfig(activation_size=32, hidden_size=8, dropout=0.1), ADAM),
}


HAS_ESPEAK = all(map(importlib.util.find_spec, ("espeakng_loader", "phonemizer")))


@pytest.fixture(autouse=True)
def phonemes_or_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where espeak-ng is not installed, letters stand in for phonemes; what is tested of networks is the same."""
    if not HAS_ESPEAK:
        monkeypatch.setattr(yenigalla_2018, "phonemes_of", lambda text, _: tuple(text))


@pytest.mark.parametrize("name", SMALL)
def test_it_learns_and_repeats_itself(name: str, tmp_path: Path) -> None:
    system = SMALL[name]()
    # Classes far apart, so that a network that learns at all tells them apart whatever the seed and the machine.
    task = make_task(tmp_path, feature_size=system.make_extractor().feature_size, noise=0.5)
    outcome = system.fit(task)
    truth = np.array(task.splits.test.labels)
    assert outcome.test.shape == (12, 3) and outcome.validation.shape == (12, 3)
    for scores in (outcome.validation, outcome.test):
        np.testing.assert_allclose(scores.sum(axis=1), 1.0)
    assert (outcome.test.argmax(axis=1) == truth).mean() >= 2 / 3
    curve = outcome.about["curve"]
    assert min(point["train_loss"] for point in curve) < 0.8 * curve[0]["train_loss"]
    assert outcome.about["epochs"] == len(curve)
    json.dumps([outcome.about, system.settings()])

    torch.manual_seed(99)  # whatever was drawn before
    assert np.array_equal(SMALL[name]().fit(task).test, outcome.test)
    assert not np.array_equal(system.fit(replace(task, seed=1)).test, outcome.test)


def test_names_titles_and_settings_tell_the_systems_apart() -> None:
    systems = {name: get_system(name) for name in PAPERS}
    assert all((system.name, system.title) == (name, system_title(name)) for name, system in systems.items())
    assert len({json.dumps(system.settings(), sort_keys=True) for system in systems.values()}) == len(systems)
    assert {*PAPERS, *SHUFFLED_MODELS, "model-1-ensemble", "opensmile-compare-svm"} <= set(TITLES)
    assert len({system_title(name) for name in TITLES}) == len(TITLES)
    assert get_system("model-3", {"hidden_size": 8}).model.hidden_size == 8
    with pytest.raises(ValueError, match="no-such"):
        get_system("no-such")


def test_a_control_is_of_the_system_that_its_name_begins_with() -> None:
    control = get_system("lee-2015-permuted")
    assert control.name == "lee-2015-permuted" and control.title.startswith(system_title("lee-2015"))
    assert control.settings()["system"] == get_system("lee-2015").settings()
    shuffled, trained = (get_system(name, {"hidden_size": 8}) for name in ("model-2-shuffled", "model-2"))
    assert shuffled.name == "model-2-shuffled"
    own = shuffled.settings()
    assert own.pop("encoder_weights") == {"shuffled_with_seed": 0} and own == trained.settings()
    of_both = [system.make_extractor().to_dict()["encoders"]["deepspeech"] for system in (shuffled, trained)]
    assert of_both[0] != of_both[1]
    with pytest.raises(ValueError, match="model-2-shuffled"):
        get_system("model-2-shuffled", encoder="another")


@pytest.mark.parametrize("name", ["satt-2017", "yenigalla-2018-spectrogram", "lee-2015"])
def test_the_extractors_serve_the_networks(name: str) -> None:
    # From a voice to logits, at the sizes of the tables.
    system = get_system(name)
    extractor = system.make_extractor()
    clips = [speech_like("angry"), speech_like("sad", seconds=0.9), np.zeros(50, np.float32)]
    features = extractor.extract(clips)
    assert features["input_features"].shape[::2] == (3, extractor.feature_size)
    assert features["input_features"].isfinite().all()
    json.dumps(extractor.to_dict())
    for row, clip in enumerate(clips):  # a batch changes nothing
        alone = extractor.extract([clip])["input_features"][0]
        assert int(features["attention_mask"][row].sum()) == len(alone)
        torch.testing.assert_close(features["input_features"][row, : len(alone)], alone)
    network = system.make_network(FoldTask(None, None, LABELS, 0, Path()))
    assert network.eval()(**features).shape == (3, 3)


def test_clips_are_cut_into_equal_stretches_and_scored_by_their_mean(tmp_path: Path) -> None:
    clips = make_task(tmp_path, feature_size=4, frames=(5, 25)).splits.validation
    items = Items(clips, (torch.zeros(4), torch.ones(4)), longest=10)
    assert max(items.num_frames) <= 10
    assert np.array_equal(np.bincount(items.clip_of_item, items.num_frames).astype(int), clips.num_frames)
    batch = collate([items[index] for index in range(len(items))])
    assert [int(count) for count in batch["attention_mask"].sum(dim=1)] == items.num_frames.tolist()
    assert batch["labels"].tolist() == [[clips.labels[clip], clip] for clip in items.clip_of_item]
    logits = batch["input_features"].sum(dim=1)  # (items, 4)
    scores = clip_scores(logits.numpy(), items.clip_of_item)
    for number, count in enumerate(clips.num_frames):
        frames = torch.from_numpy(clips[number]["input_features"].reshape(-1, 4))
        parts = [frames[start:end].sum(dim=0).double().softmax(dim=0) for start, end in stretches(int(count), 10)]
        np.testing.assert_allclose(scores[number], torch.stack(parts).mean(dim=0), atol=1e-5)
    measured = ComparedTask.metrics(None, EvalPrediction(logits[:, :3].numpy(), batch["labels"].numpy()))
    of_clips = clip_scores(logits[:, :3].numpy(), items.clip_of_item)
    assert measured["ua"] == classification_metrics(clips.labels, of_clips.argmax(axis=1), 3)["ua"]
    assert measured["loss"] == pytest.approx(-np.log(of_clips[np.arange(12), clips.labels]).mean())


def test_batches_are_normalized_by_training_clips_and_zero_where_padded(tmp_path: Path) -> None:
    task = make_task(tmp_path, feature_size=32)
    statistics = SMALL["lee"]().statistics(task)
    train = task.splits.train
    frames = np.concatenate([train[index]["input_features"].reshape(-1, 32) for index in range(36)])
    np.testing.assert_allclose(statistics[0], frames.mean(axis=0), rtol=1e-5)
    items = Items(train, statistics, symbols=[[1, 2, 3], [4]] * 18)
    inputs = collate([items[index] for index in range(36)])
    real = inputs["attention_mask"].bool()
    np.testing.assert_allclose(inputs["input_features"][real].mean(dim=0), np.zeros(32), atol=1e-5)
    np.testing.assert_allclose(inputs["input_features"][real].std(dim=0), np.ones(32), atol=1e-3)
    assert (inputs["input_features"][~real] == 0).all()
    assert inputs["symbols"][:2].tolist() == [[1, 2, 3], [4, NO_SYMBOL, NO_SYMBOL]]
    assert inputs["labels"][:, 0].tolist() == train.labels


def test_no_batch_of_transcripts_is_one_text(tmp_path: Path) -> None:
    # Sorted by length, most would be: each class has a text of its own, and batch normalization would make it vanish.
    train = make_task(tmp_path, feature_size=4).splits.train
    items = Items(train, symbols=[[1] * (4 + label) for label in train.labels])
    batches = NoLoneItem(LengthGroupedSampler(items.num_frames, batch_size=12, seed=0), 12, drop_last=False)
    assert all(len({train.labels[index] for index in batch}) == 3 for batch in batches)


def test_the_best_epochs_weights_are_kept_and_patience_ends_training(tmp_path: Path) -> None:
    task = make_task(tmp_path, feature_size=24, clips=(37, 12, 12), noise=5.0)  # 37 = 3 · 12 + 1
    trained = Satt("satt", "S", SATT, Recipe(epochs=30, patience=3, batch_size=12, learning_rate=0.1)).train(task)
    about, truth = trained.about, np.array(task.splits.validation.labels)
    uas = [point["validation_ua"] for point in about["curve"]]
    assert about["best_epoch"] == 1 + int(np.argmax(uas))
    assert about["epochs"] == len(uas) == min(30, about["best_epoch"] + 3)
    assert about["parameters"] == sum(weights.numel() for weights in trained.network.parameters())
    # Classes have as many clips each, so that UA is the share of right ones.
    assert (trained.scores[0].argmax(axis=1) == truth).mean() == pytest.approx(max(uas))
    best = about["curve"][about["best_epoch"] - 1]
    loss = -np.log(trained.scores[0][np.arange(12), truth]).mean()
    assert best["validation_loss"] == pytest.approx(loss, rel=1e-5)
    items = trained.items["validation"]
    batch = collate([items[index] for index in range(12)])
    with torch.no_grad():
        logits = trained.network.eval()(batch["input_features"], batch["attention_mask"])
    np.testing.assert_allclose(trained.scores[0], logits.double().softmax(dim=1), atol=1e-6)


def test_recipes_say_which_optimizer() -> None:
    network = torch.nn.Linear(2, 2)
    assert isinstance(ADADELTA.make_optimizer(network), torch.optim.Adadelta)
    (group,) = Recipe(weight_decay=0.2).make_optimizer(network).param_groups
    assert group["weight_decay"] == 0.2 and len(group["params"]) == 2
    assert not ComparedTask.lone_items


def test_spectrograms_against_librosa() -> None:
    voice = speech_like("happy", seconds=0.5)
    linear = SpectrogramExtractor(win_length=640, hop_length=160, max_frequency=4000.0)
    mel = SpectrogramExtractor(800, 375, 8000.0, num_mel_bins=128, n_fft=1024)
    window = np.hamming(641)[:640]
    stft = librosa.stft(voice, n_fft=640, hop_length=160, window=window, center=False)
    expected = np.log(np.maximum(np.abs(stft[:160] / window.sum()) ** 2, 1e-10))
    np.testing.assert_allclose(linear.extract([voice])["input_features"][0].T, expected, atol=1e-2)
    bands = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=128, norm=None)
    np.testing.assert_allclose(mel.filters.T, bands, atol=1e-6)
    assert mel.extract([np.zeros(96000, np.float32)])["input_features"].shape == (1, 254, 128)
    # A sine of amplitude a has the power a²/4 in its own bin.
    peak = linear.extract([tone(1000.0, level=0.5)])["input_features"][0].max(dim=1)
    assert peak.indices.unique().tolist() == [40]
    np.testing.assert_allclose(peak.values, np.log(0.5**2 / 4), atol=1e-3)


@pytest.mark.parametrize("pitch", [65.0, 110.0, 217.3, 390.0])
def test_pitch_of_a_harmonic_sound(pitch: float) -> None:
    time = np.arange(16000) / 16000
    sound = sum(np.sin(2 * np.pi * pitch * k * time + k) / k for k in range(1, 6))
    frames = np.lib.stride_tricks.sliding_window_view(sound, 640)[::160]
    found, voicing = pitch_and_voicing(frames, 16000)
    np.testing.assert_allclose(found, pitch, rtol=0.005)
    assert voicing.min() > 0.95
    quiet, _ = pitch_and_voicing(0.001 * frames, 16000)
    np.testing.assert_allclose(quiet, pitch, rtol=0.005)


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.random.default_rng(0).standard_normal((50, 640))
    pitch, voicing = pitch_and_voicing(noise, 16000)
    assert (pitch == 0).mean() > 0.9 and voicing.mean() < 0.5
    pitch, voicing = pitch_and_voicing(np.zeros((2, 640)), 16000)
    assert (pitch == 0).all() and (voicing == 0).all()


def test_lees_features_are_the_ones_named() -> None:
    loud = tone(200.0, seconds=0.5, level=0.5)
    sound = np.concatenate([loud, 0.01 * loud])
    features = LeeFeatureExtractor().extract([sound])["input_features"][0].numpy()  # (frames, 32)
    assert features.shape == (101, 32)
    middle = features[[20, 80]]
    np.testing.assert_allclose(middle[:, 0], 200.0, rtol=0.01)
    np.testing.assert_allclose(middle[:, 1], 1.0, atol=0.01)
    np.testing.assert_allclose(middle[:, 2], 400 / 16000, rtol=0.1)  # a sine crosses zero twice a period
    np.testing.assert_allclose(middle[:, 15], np.log([0.5**2 / 2, 0.005**2 / 2]), atol=0.01)
    assert features[50, 31] < -0.5 and abs(features[20, 31]) < 0.05  # Δ of the energy, at the fall and before
    mfcc = librosa.feature.mfcc(y=sound.astype(np.float64), sr=16000, n_mfcc=13, n_fft=640, hop_length=160, n_mels=40)
    np.testing.assert_allclose(features[:, 3:15], mfcc[1:].T, rtol=1e-4, atol=1e-3)


def test_letters_are_deepspeechs() -> None:
    spelled = "".join(ENGLISH[letter] for letter in encode_letters("Was sind denn das für TÜTEN, die's — naïf, 3×?"))
    assert spelled == "was sind denn das fuer tueten die's naif"
    assert encode_letters(None) == [] and encode_letters("ሰላም") == []


def test_letters_count_in_the_loss_of_the_clips_with_a_transcript() -> None:
    torch.manual_seed(0)
    logits, mask = torch.randn(3, 12, 29), torch.tensor([[1] * 12, [1] * 12, [1] * 9 + [0] * 3])
    letters = torch.tensor([[3, 4, 4], [-100] * 3, [7, -100, -100]])
    expected = [
        F.ctc_loss(logits[i, :n].log_softmax(-1)[:, None], torch.tensor([y]), [n], [len(y)], blank=28) for i, n, y in
        ((0, 12, [3, 4, 4]), (2, 9, [7]))
    ]  # fmt: skip
    emotions, labels = torch.randn(3, 3), torch.tensor([0, 1, 2])

    def letter_loss(logits: torch.Tensor, mask: torch.Tensor, letters: torch.Tensor) -> torch.Tensor:
        inputs = {"input_features": logits, "attention_mask": mask, "symbols": letters}
        loss, scores = SMALL["lakomkin"]().forward(lambda **_: JointOutput(emotions, logits), inputs, labels)
        assert scores is emotions
        return (loss - F.cross_entropy(emotions, labels)) / 0.1

    torch.testing.assert_close(letter_loss(logits, mask, letters), torch.stack(expected).mean())
    for none in (torch.full((3, 0), -100), letters[1:2].expand(3, 3)):
        assert letter_loss(logits, mask, none) == 0
    assert letter_loss(logits[:, :2], mask[:, :2], letters[:1].expand(3, 3)) == 0  # too long for two frames


def test_the_recognizer_starts_from_weights_that_are_given(tmp_path: Path) -> None:
    torch.manual_seed(0)
    recognizer = DeepSpeechForCTC(DeepSpeechConfig(hidden_size=16))
    recognizer.save_pretrained(tmp_path / "speech")
    DeepSpeechFeatureExtractor(mfcc="tensorflow").save_pretrained(tmp_path / "speech")
    system = lakomkin_2017("l", "L", tmp_path / "speech")
    system.recipe = Recipe(epochs=1, batch_size=8)
    assert system.make_extractor().mfcc == "tensorflow"
    task = make_task(tmp_path, feature_size=26, transcripts=["ja", None, "በጎ"])
    weights = system.make_network(task).recognizer.state_dict()
    for name, tensor in recognizer.state_dict().items():
        assert torch.equal(weights[name], tensor)
    about = system.fit(task).about
    assert about["recognizer_starts_from"] == "speech" and about["transcribed_training_clips"] == 12
    assert str(tmp_path) not in json.dumps(system.settings())
    torch.manual_seed(1)
    DeepSpeechForCTC(DeepSpeechConfig(hidden_size=16)).save_pretrained(tmp_path / "other" / "speech")
    assert lakomkin_2017("l", "L", tmp_path / "other" / "speech").settings() != system.settings()


def test_phonemes_are_numbered_by_the_training_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yenigalla_2018, "phonemes_of", lambda text, _: tuple(text))
    task = make_task(tmp_path, feature_size=4, transcripts=["ab", "b", "cab"])
    unheard = task.rows.map(lambda row: {"transcript": "xb" if row["id"] == "2-0" else row["transcript"]})
    task, system = replace(task, rows=unheard), SMALL["phonemes"]()
    train, test = (system.make_items(task, clips, None).symbols for clips in (task.splits.train, task.splits.test))
    assert train[:3] == [[1, 2], [2], [3, 1, 2]] and test[:2] == [[0, 2], [2]]
    assert system.make_network(task).phonemes.embedding.num_embeddings == 4


def test_a_clip_without_a_transcript_is_refused_by_name(tmp_path: Path) -> None:
    task = make_task(tmp_path, feature_size=128, transcripts=["ja", None, "nein"])
    for system in (get_system("yenigalla-2018-phonemes"), get_system("yenigalla-2018-combined")):
        with pytest.raises(ValueError, match="0-1"):
            system.fit(task)


@pytest.mark.skipif(not HAS_ESPEAK, reason="phonemizer and espeakng-loader are extras")
def test_phonemes_of_german_and_english() -> None:
    german = phonemes_of("Der Lappen liegt auf dem Eisschrank.", "de")
    english = phonemes_of("Kids are talking by the door", "en")
    assert german[:8] == ("d", "ɛ", "ɾ", "l", "a", "p", "ə", "n")
    assert english[:4] == ("k", "ɪ", "d", "z")
    assert not any(" " in phoneme or "ˈ" in phoneme for phoneme in german + english)
    with pytest.raises(ValueError, match="'xx'"):
        phonemes_of("ja", "xx")
    with pytest.raises(ValueError, match=r"'\?!'"):
        phonemes_of("?!", "de")


def test_without_espeak_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ModuleNotFoundError, match=r"espeakng_loader: pip install 'modeling-ser\[bench\]'"):
        phonemes_of("a text of no other test", "de-x")
