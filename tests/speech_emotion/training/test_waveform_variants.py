"""Variants of clips: the same in every process, of training clips only, and drawn anew in every epoch."""

import hashlib
import os
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest
from scipy import signal

from dataset_scripts import load_corpus, speaker_folds
from feature_extraction import SERFeatureExtractor
from speech_emotion.training import run_training
from speech_emotion.training.batches import LengthGroupedSampler
from speech_emotion.training.feature_cache import cache_features
from speech_emotion.training.splits import make_splits
from speech_emotion.training.waveform_effects import (
    CODECS,
    NOISES,
    RATE,
    at_half_rate,
    band_limited,
    coded,
    echoing,
    noisy,
    telephone,
)
from speech_emotion.training.waveform_variants import make_variant
from tests.speech_emotion.training.trainings import arguments, emotion_task, read_json
from tests.subprocess_tools import run_python_json

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")
LABELS = ["anger", "fear", "neutral"]


@pytest.fixture(scope="module")
def rows(polish_dir: Path, cache_dir: Path) -> datasets.Dataset:
    return load_corpus("polish", data_dir=polish_dir, cache_dir=cache_dir)


def chirp(seconds: float = 1.0) -> np.ndarray:
    times = np.arange(int(seconds * RATE)) / RATE
    return (0.3 * signal.chirp(times, 100, times[-1], 7000)).astype(np.float32)


def decibels(samples: np.ndarray) -> float:
    return 10 * np.log10(np.square(samples, dtype=np.float64).mean())


# Effects -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
def test_coding_keeps_length_level_and_what_is_beyond_full_scale(codec: str) -> None:
    for scale in (1.0, 8.0):
        changed = coded(scale * chirp(), codec, 0.7)
        assert len(changed) == RATE
        assert abs(decibels(changed) - decibels(scale * chirp())) < 1.5
        assert np.abs(changed - scale * chirp()).max() > 1e-3


@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_as_loud_as_was_asked_for(noise: str) -> None:
    added = noisy(chirp(), 15, noise, np.random.default_rng(0)) - chirp()
    assert decibels(added) == pytest.approx(decibels(chirp()) - 15, abs=0.01)


def test_bands_are_those_asked_for() -> None:
    times = np.arange(RATE) / RATE

    def through(frequency: float, effect: object, *settings: float) -> float:
        return decibels(effect(np.sin(2 * np.pi * frequency * times), *settings)[2000:-2000]) + 3.01

    for effect, settings in ((telephone, ()), (band_limited, (300.0, 3400.0))):
        assert through(1000, effect, *settings) == pytest.approx(0, abs=0.2)
        assert through(50, effect, *settings) < -20
        assert through(6000, effect, *settings) < -25
    assert through(100, at_half_rate) == pytest.approx(0, abs=0.1)
    assert through(5000, at_half_rate) < -40


def test_echoes_fade_by_sixty_decibels() -> None:
    click = np.zeros(100)
    click[0] = 1.0
    response = echoing(click, 0.5, 0.0, np.random.default_rng(0))[1:]
    assert decibels(response[7600:7900]) - decibels(response[100:400]) == pytest.approx(-56, abs=3)
    assert np.square(response).sum() == pytest.approx(1, rel=0.05)


# Variants ------------------------------------------------------------------------------------------------------------


def test_variants_are_the_same_in_every_process(tmp_path: Path) -> None:
    code = """
import hashlib, json, numpy as np
from tests.speech_emotion.training.test_waveform_variants import chirp
from speech_emotion.training.waveform_variants import make_variant
print(json.dumps([hashlib.sha256(make_variant(chirp(), "03a01Fa", n)).hexdigest() for n in range(6)]))
"""
    here = [hashlib.sha256(make_variant(chirp(), "03a01Fa", number)).hexdigest() for number in range(6)]
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    assert run_python_json(code, env=env, cwd=tmp_path, with_project=True) == here
    assert len(set(here)) == 6
    assert hashlib.sha256(make_variant(chirp(), "03a02Fa", 1)).hexdigest() not in here


@pytest.mark.parametrize("samples", [1, 2, 50, 399, 5000])
def test_variants_of_short_and_silent_clips_are_finite(samples: int) -> None:
    for clip in (chirp()[:samples], np.zeros(samples, np.float32)):
        for number in range(1, 16):
            variant = make_variant(clip, "clip", number)
            assert len(variant) >= samples
            assert variant.dtype == np.float32 and np.isfinite(variant).all()


def test_the_clip_itself_is_number_none_and_untouched() -> None:
    clip = chirp()
    assert make_variant(clip, "clip", 0) is clip
    make_variant(clip, "clip", 1)
    np.testing.assert_array_equal(clip, chirp())


# Training ------------------------------------------------------------------------------------------------------------


def test_only_training_clips_have_variants_and_each_has_its_own(rows: datasets.Dataset) -> None:
    extractor = SERFeatureExtractor()
    clean, *variants = (cache_features(rows, extractor, variant=variant) for variant in range(3))
    assert len({one._fingerprint for one in (clean, *variants)}) == 3
    splits = make_splits(rows, clean, speaker_folds(rows)[0], LABELS, variants)
    assert (len(splits.train.variants), splits.validation.variants, splits.test.variants) == (2, (), ())
    place = {clip: index for index, clip in enumerate(rows["id"])}
    for index in (0, len(splits.train) - 1):
        clip = splits.train.ids[index]
        waveform = extractor.load_audio(rows[place[clip]]["audio"])
        for number in range(3):
            item = splits.train[index + number * len(splits.train)]
            expected = extractor.extract([make_variant(waveform, clip, number)])["input_features"][0].numpy()
            np.testing.assert_array_equal(item["input_features"], expected.reshape(-1))
            assert item["labels"] == splits.train.labels[index]
    with pytest.raises(IndexError):
        splits.test[len(splits.test)]


def test_variants_of_other_clips_are_refused(rows: datasets.Dataset) -> None:
    features = cache_features(rows, SERFeatureExtractor())
    with pytest.raises(ValueError, match="not of the same clips"):
        make_splits(rows, features, speaker_folds(rows)[0], LABELS, [features.select(range(len(features) - 1))])


def test_each_epoch_draws_a_variant_of_every_clip() -> None:
    lengths = np.random.default_rng(0).integers(10, 500, 300)
    plain = list(LengthGroupedSampler(lengths, batch_size=16, seed=3))
    sampler = LengthGroupedSampler(lengths, batch_size=16, seed=3, variants=2)
    first = list(sampler)
    assert [index % 300 for index in first] == plain
    assert all(70 < count < 130 for count in Counter(index // 300 for index in first).values())
    sampler.set_epoch(1)
    assert dict(map(reversed, map(lambda index: divmod(index, 300), sampler))) != dict(
        map(reversed, map(lambda index: divmod(index, 300), first))
    )


def test_a_training_with_variants_repeats_and_says_so(polish_dir: Path, cache_dir: Path, tmp_path: Path) -> None:
    results = [
        run_training(emotion_task(polish_dir, cache_dir, variants=2, front="speech"), arguments(tmp_path / name))
        for name in ("one", "two")
    ]
    curves = [one.curve for one in results]
    assert curves[0] == curves[1]
    told = read_json(tmp_path / "one" / "results.json")["arguments"]
    assert (told["variants"], told["front"]) == (2, "speech")
    assert read_json(tmp_path / "one" / "preprocessor_config.json")["front"] == "speech"
    plain = run_training(emotion_task(polish_dir, cache_dir, front="speech"), arguments(tmp_path / "plain"))
    assert plain.curve != curves[0]
    with pytest.raises(ValueError, match="variants=-1"):
        emotion_task(polish_dir, cache_dir, variants=-1)
