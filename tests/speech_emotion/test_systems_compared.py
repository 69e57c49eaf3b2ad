"""Systems with networks of others: they learn, repeat themselves, and what they read is right."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from feature_extraction import DeepSpeechConfig, DeepSpeechFeatureExtractor, DeepSpeechForCTC
from reproduction import phonemes as phonemes_module
from reproduction.compared_items import NO_SYMBOL, Items, statistics_of, stretches
from reproduction.compared_system import NetworkSystem
from reproduction.compared_training import Recipe, batches_of, score_clips, train_network
from reproduction.lee_features import LeeFeatureExtractor, pitch_and_voicing
from reproduction.letters import ALPHABET, encode_letters
from reproduction.modeling_lakomkin import LakomkinConfig
from reproduction.modeling_lee import LeeConfig
from reproduction.modeling_satt import SattConfig
from reproduction.modeling_yenigalla import YenigallaConfig
from reproduction.phonemes import phonemes_of
from reproduction.spectrogram_extractor import SpectrogramExtractor
from reproduction.systems_compared_lakomkin import Lakomkin, lakomkin_2017, letter_loss
from reproduction.systems_compared_lee import Lee, lee_2015
from reproduction.systems_compared_satt import Satt, satt_2017
from reproduction.systems_compared_yenigalla import (
    Yenigalla,
    yenigalla_2018_combined,
    yenigalla_2018_phonemes,
    yenigalla_2018_spectrogram,
)
from speech_emotion.cross_validation.system import FoldTask, System
from speech_emotion.training.sampler import LengthGroupedSampler
from tests.speech_emotion.compared_problems import LABELS, WORDS, make_task
from tests.synthetic import speech_like, tone

FACTORIES = (
    satt_2017,
    yenigalla_2018_spectrogram,
    yenigalla_2018_phonemes,
    yenigalla_2018_combined,
    lee_2015,
    lakomkin_2017,
)
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


def small_satt() -> NetworkSystem:
    return Satt("satt", "Satt", SattConfig(num_bins=24, channels=(2, 3, 4), hidden_size=8, dropout=0.1), ADAM)


def small_spectrogram() -> NetworkSystem:
    return Yenigalla("y", "Y", spectrogram=True, phonemes=False, config=YENIGALLA, recipe=ADADELTA)


def small_phonemes() -> NetworkSystem:
    return Yenigalla("y", "Y", spectrogram=False, phonemes=True, config=YENIGALLA, recipe=ADADELTA)


def small_combined() -> NetworkSystem:
    return Yenigalla("y", "Y", spectrogram=True, phonemes=True, config=YENIGALLA, recipe=ADADELTA)


def small_lee() -> NetworkSystem:
    return Lee("lee", "Lee", LeeConfig(hidden_size=16, dropout=0.1), ADAM)


def small_lakomkin() -> NetworkSystem:
    return Lakomkin("lakomkin", "L", None, LakomkinConfig(hidden_size=8, dropout=0.1), ADAM, hidden_size=32)


SMALL = (small_satt, small_spectrogram, small_phonemes, small_combined, small_lee, small_lakomkin)


@pytest.fixture(autouse=True)
def phonemes_or_letters(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where espeak-ng is not installed, letters stand in for phonemes; what is tested of networks is the same."""
    if not has_espeak():
        monkeypatch.setattr(phonemes_module, "_phonemize", lambda texts, _: [list(text) for text in texts])


def has_espeak() -> bool:
    try:
        import espeakng_loader  # noqa: F401
        import phonemizer  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("make", SMALL)
def test_it_learns_and_repeats_itself(make: Callable[[], NetworkSystem], tmp_path: Path) -> None:
    system = make()
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
    assert np.array_equal(make().fit(task).test, outcome.test)
    other = system.fit(FoldTask(**vars(task) | {"seed": 1}))
    assert not np.array_equal(other.test, outcome.test)


def test_names_titles_and_settings_tell_the_systems_apart() -> None:
    systems = [factory() for factory in FACTORIES]
    assert [system.name for system in systems] == [factory.__name__.replace("_", "-") for factory in FACTORIES]
    assert len({json.dumps(system.settings(), sort_keys=True) for system in systems}) == len(systems)
    assert len({system.title for system in systems}) == len(systems)
    for factory, system in zip(FACTORIES, systems, strict=True):
        made = sys.modules[factory.__module__].make_system(system.name)
        assert isinstance(made, System) and made.settings() == system.settings()


def test_the_extractors_serve_the_networks() -> None:
    # Each from a voice to logits at the sizes that the benchmark uses.
    for factory in (satt_2017, yenigalla_2018_spectrogram, lee_2015):
        system = factory()
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
    assert stretches(301, 300) == [(0, 150), (150, 301)]
    assert stretches(300, 300) == [(0, 300)] and stretches(300, None) == [(0, 300)]
    clips = make_task(tmp_path, feature_size=4, frames=(5, 25)).splits.validation
    items = Items(clips, (torch.zeros(4), torch.ones(4)), longest=10)
    assert max(items.lengths) <= 10
    assert np.array_equal(np.bincount(items.clip_of_item, items.lengths).astype(int), clips.num_frames)

    def network(input_features: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return input_features.sum(dim=1)

    module = torch.nn.Module()
    module.forward = network
    scores = score_clips(module, items, batch_size=5)
    for number, count in enumerate(clips.num_frames):
        frames = torch.from_numpy(clips[number]["input_features"].reshape(-1, 4))
        parts = [frames[start:end].sum(dim=0).double().softmax(dim=0) for start, end in stretches(int(count), 10)]
        np.testing.assert_allclose(scores[number], torch.stack(parts).mean(dim=0), atol=1e-5)


def test_batches_are_normalized_by_training_clips_and_zero_where_padded(tmp_path: Path) -> None:
    splits = make_task(tmp_path, feature_size=5).splits
    statistics = statistics_of(splits.train, 5)
    frames = np.concatenate([splits.train[index]["input_features"].reshape(-1, 5) for index in range(36)])
    np.testing.assert_allclose(statistics[0], frames.mean(axis=0), rtol=1e-5)
    inputs, labels = Items(splits.train, statistics, symbols=[[1, 2, 3], [4]] * 18).batch(range(36))
    real = inputs["attention_mask"].bool()
    np.testing.assert_allclose(inputs["input_features"][real].mean(dim=0), np.zeros(5), atol=1e-5)
    np.testing.assert_allclose(inputs["input_features"][real].std(dim=0), np.ones(5), atol=1e-3)
    assert (inputs["input_features"][~real] == 0).all()
    assert inputs["symbols"][:2].tolist() == [[1, 2, 3], [4, NO_SYMBOL, NO_SYMBOL]]
    assert labels.tolist() == splits.train.labels
    with pytest.raises(ValueError, match="frames, symbols or both"):
        Items(splits.train)
    with pytest.raises(ValueError, match="cannot be cut"):
        Items(splits.train, statistics, [[1]] * 36, longest=3)


def test_no_batch_of_transcripts_is_one_text(tmp_path: Path) -> None:
    # Sorted by length, most would be: each class has a text of its own, and batch normalization would make it vanish.
    splits = make_task(tmp_path, feature_size=4).splits
    items = Items(splits.train, symbols=[[1] * (4 + label) for label in splits.train.labels])
    order = list(LengthGroupedSampler(items.lengths, batch_size=12, seed=0))
    assert all(len(set(items.labels[batch])) == 3 for batch in batches_of(order, Recipe(batch_size=12)))


def test_the_best_epochs_weights_are_kept_and_patience_ends_training(tmp_path: Path) -> None:
    splits = make_task(tmp_path, feature_size=4, noise=4.0).splits
    statistics = statistics_of(splits.train, 4)
    train, validation = Items(splits.train, statistics), Items(splits.validation, statistics)

    class Mean(torch.nn.Linear):
        def forward(self, input_features: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return super().forward(input_features.sum(dim=1) / attention_mask.sum(dim=1, keepdim=True))

    torch.manual_seed(0)
    network = Mean(4, 3)
    recipe = Recipe(epochs=30, patience=3, batch_size=8, learning_rate=0.3)
    about = train_network(network, recipe, train, validation, seed=0)
    uas = [point["validation_ua"] for point in about["curve"]]
    assert about["best_epoch"] == 1 + int(np.argmax(uas))
    assert about["epochs"] == min(30, about["best_epoch"] + 3)
    assert about["parameters"] == 15
    scores = score_clips(network, validation, 8)
    recalls = [(scores.argmax(1) == validation.labels)[validation.labels == label].mean() for label in range(3)]
    assert np.mean(recalls) == pytest.approx(max(uas))
    with pytest.raises(FloatingPointError, match="learning_rate"):
        train_network(Mean(4, 3), recipe, train, validation, 0, loss=lambda *_: torch.tensor(float("nan")))


def test_recipes_are_checked_and_no_clip_is_left_alone() -> None:
    with pytest.raises(ValueError, match="no optimizer 'sgd'"):
        Recipe(optimizer="sgd")
    with pytest.raises(ValueError, match="patience must be positive"):
        Recipe(patience=0)
    assert batches_of([3], Recipe(batch_size=2)) == [[3]]
    assert batches_of([0, 1, 2, 3], Recipe(batch_size=2)) == [[0, 1], [2, 3]]


def test_spectrograms_against_librosa() -> None:
    voice = speech_like("happy", seconds=0.5)
    linear = SpectrogramExtractor(win_length=640, hop_length=160, max_frequency=4000.0)
    mel = SpectrogramExtractor(800, 375, 8000.0, num_mel_bins=128, n_fft=1024)
    window = np.hamming(641)[:640]
    stft = librosa.stft(voice, n_fft=640, hop_length=160, window=window, center=False)
    expected = np.log(np.maximum(np.abs(stft[:160] / window.sum()) ** 2, 1e-10))
    np.testing.assert_allclose(linear.extract([voice])["input_features"][0].T, expected, atol=1e-2)
    bands = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=128, norm=None)
    np.testing.assert_allclose(mel._filters.T, bands, atol=1e-6)
    assert mel.extract([np.zeros(96000, np.float32)])["input_features"].shape == (1, 254, 128)
    # A sine of amplitude a has the power a²/4 in its own bin.
    peak = linear.extract([tone(1000.0, level=0.5)])["input_features"][0].max(dim=1)
    assert peak.indices.unique().tolist() == [40]
    np.testing.assert_allclose(peak.values, np.log(0.5**2 / 4), atol=1e-3)
    with pytest.raises(ValueError, match="does not hold"):
        SpectrogramExtractor(400, 500, 4000.0)
    with pytest.raises(ValueError, match="max_frequency"):
        SpectrogramExtractor(400, 160, 9000.0)


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
    assert len(ALPHABET) + 1 == DeepSpeechConfig().vocab_size
    spelled = "".join(ALPHABET[letter] for letter in encode_letters("Was sind denn das für TÜTEN, die's — naïf, 3×?"))
    assert spelled == "was sind denn das fuer tueten die's naif"
    assert encode_letters(None) == [] and encode_letters("ሰላም") == []


def test_letter_loss_is_over_the_clips_with_a_transcript() -> None:
    torch.manual_seed(0)
    logits, mask = torch.randn(3, 12, 29), torch.tensor([[1] * 12, [1] * 12, [1] * 9 + [0] * 3])
    letters = torch.tensor([[3, 4, 4], [-100] * 3, [7, -100, -100]])
    expected = [
        F.ctc_loss(logits[i, :n].log_softmax(-1)[:, None], torch.tensor([y]), [n], [len(y)], blank=28) for i, n, y in
        ((0, 12, [3, 4, 4]), (2, 9, [7]))
    ]  # fmt: skip
    torch.testing.assert_close(letter_loss(logits, mask, letters), torch.stack(expected).mean())
    assert letter_loss(logits, mask, torch.full((3, 0), -100)) == 0
    assert letter_loss(logits[:, :2], mask[:, :2], letters[:1].expand(3, 3)) == 0  # too long for two frames


def test_the_recognizer_starts_from_weights_that_are_given(tmp_path: Path) -> None:
    torch.manual_seed(0)
    recognizer = DeepSpeechForCTC(DeepSpeechConfig(hidden_size=16))
    recognizer.save_pretrained(tmp_path / "speech")
    DeepSpeechFeatureExtractor(mfcc="tensorflow").save_pretrained(tmp_path / "speech")
    system = lakomkin_2017(tmp_path / "speech")
    system.recipe = Recipe(epochs=1, batch_size=8)
    assert "random" not in system.title and "random" in lakomkin_2017(None).title
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
    assert lakomkin_2017(tmp_path / "other" / "speech").settings() != system.settings()


def test_a_clip_without_a_transcript_is_refused_by_name(tmp_path: Path) -> None:
    task = make_task(tmp_path, feature_size=128, transcripts=["ja", None, "nein"])
    for system in (yenigalla_2018_phonemes(), yenigalla_2018_combined()):
        with pytest.raises(ValueError, match="Clip '0-1' has no transcript"):
            system.fit(task)


@pytest.mark.skipif(not has_espeak(), reason="phonemizer and espeakng-loader are extras")
def test_phonemes_of_german_and_english() -> None:
    german, english, again = phonemes_of(
        [
            ("Der Lappen liegt auf dem Eisschrank.", "de"),
            ("Kids are talking by the door", "en"),
            (WORDS["anger"], "de"),
        ]
    )
    assert german[:8] == ["d", "ɛ", "ɾ", "l", "a", "p", "ə", "n"]
    assert english[:4] == ["k", "ɪ", "d", "z"]
    assert again and not any(" " in phoneme or "ˈ" in phoneme for phoneme in german + english + again)
    with pytest.raises(ValueError, match="does not know the language 'xx'"):
        phonemes_of([("ja", "xx")])
    with pytest.raises(ValueError, match="no phoneme in the de transcript"):
        phonemes_of([("?!", "de")])


def test_without_espeak_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(phonemes_module, "_espeak", phonemes_module._espeak.__wrapped__)
    with pytest.raises(ModuleNotFoundError, match=r"espeakng_loader: pip install 'modeling-ser\[bench\]'"):
        phonemes_module._espeak()
