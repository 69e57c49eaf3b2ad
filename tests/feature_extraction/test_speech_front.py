"""The front: neither the gain of a clip nor the silence at its ends says anything; times stay those of the clip."""

from pathlib import Path

import numpy as np
import pytest
import torch

from feature_extraction import SERFeatureExtractor
from feature_extraction.speech_front import LEVEL, speech_part

RATE = 16000


def words(seed: int = 0, seconds: float = 1.5, level: float = 0.1) -> np.ndarray:
    """Make noise in syllables, as loud at its ends as in between."""
    generator = np.random.default_rng(seed)
    samples = generator.standard_normal(int(seconds * RATE))
    return (level * samples * (1.2 - np.cos(np.arange(len(samples)) * 2 * np.pi * 4 / RATE))).astype(np.float32)


def speech_of(clip: np.ndarray) -> tuple[np.ndarray, int]:
    speech, start = speech_part(torch.from_numpy(clip))
    return speech.numpy(), start


@pytest.mark.parametrize("decibels", [-90.0, -12.0, 12.0])
def test_gain_changes_nothing(decibels: float) -> None:
    clip = np.concatenate([1e-4 * words(1), words(), 1e-4 * words(2)])
    louder = clip * np.float32(10 ** (decibels / 20))
    (speech, start), (other, other_start) = speech_of(clip), speech_of(louder)
    assert start == other_start > 0
    np.testing.assert_allclose(other, speech, atol=1e-6)


def test_digital_silence_at_the_ends_changes_nothing() -> None:
    clip = words()
    speech, start = speech_of(clip)
    for before, after in ((RATE, RATE), (1, 0), (0, 7), (12345, 54321)):
        other, other_start = speech_of(np.pad(clip, (before, after)))
        np.testing.assert_array_equal(other, speech)
        assert other_start == start + before


@pytest.mark.parametrize("noise", [0.0, 1e-4, 0.02])  # none, a quiet room's, and 15 dB below the speech
def test_a_rooms_noise_at_the_ends_is_cut_off(noise: float) -> None:
    clip = np.pad(words(), RATE) + noise * np.random.default_rng(3).standard_normal(len(words()) + 2 * RATE)
    speech, start = speech_of(clip.astype(np.float32))
    assert abs(start - RATE) <= 320
    assert abs(len(speech) - len(words())) <= 640
    assert abs(np.sqrt(np.square(speech).mean()) / LEVEL - 1) < 0.2


def test_pauses_within_speech_stay() -> None:
    clip = np.concatenate([words(), np.zeros(2 * RATE, np.float32), words(1)])
    assert len(speech_of(clip)[0]) == len(clip)


@pytest.mark.parametrize("samples", [1, 100, 161, 700, 1500])
def test_short_clips_are_kept(samples: int) -> None:
    speech, start = speech_of(words()[:samples])
    assert 0 < len(speech) <= samples
    assert start + len(speech) <= samples
    assert np.isfinite(speech).all()


def test_digital_silence_stays_as_it_is() -> None:
    speech, start = speech_of(np.zeros(500, np.float32))
    assert start == 0
    assert not speech.any() and len(speech) == 500


def test_the_quietest_sounds_are_brought_to_the_level() -> None:
    speech, _ = speech_of(words(level=1e-38))
    assert np.isfinite(speech).all()
    assert np.sqrt(np.square(speech).mean()) > LEVEL / 2


def test_an_extractor_with_it_is_the_same_alone_in_a_batch_louder_and_in_silence() -> None:
    extractor = SERFeatureExtractor(front="speech")
    clips = [words(0), words(1, 0.7), words(2, 2.0)]
    batch = extractor.extract(clips)
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    for index, clip in enumerate(clips):
        here = batch["input_features"][index, : lengths[index]]
        for other in (clip, np.pad(clip, 777), 0.25 * clip):
            torch.testing.assert_close(extractor.extract([other])["input_features"][0], here, rtol=0, atol=1e-4)


def test_times_are_those_of_the_clip() -> None:
    extractor = SERFeatureExtractor(front="speech")
    clip = np.pad(words(), RATE)
    start = speech_of(clip)[1] / RATE
    times = extractor.frame_times(3, clip)
    np.testing.assert_allclose(times, start + np.arange(3) * 0.025)
    np.testing.assert_allclose(extractor.frame_times(3), np.arange(3) * 0.025)
    np.testing.assert_allclose(SERFeatureExtractor().frame_times(3, clip), np.arange(3) * 0.025)


def test_it_is_a_saved_setting_that_is_off_and_not_written_by_default(tmp_path: Path) -> None:
    plain, fronted = SERFeatureExtractor(), SERFeatureExtractor(front="speech")
    assert "front" not in plain.to_dict()
    fronted.save_pretrained(tmp_path)
    assert SERFeatureExtractor.from_pretrained(tmp_path).front == "speech"
    clip = np.pad(words(), RATE)
    assert len(plain.extract([clip])["input_features"][0]) > len(fronted.extract([clip])["input_features"][0])
    with pytest.raises(ValueError, match="front='loud': choose one of none, speech"):
        SERFeatureExtractor(front="loud")
