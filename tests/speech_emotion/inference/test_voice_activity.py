"""Voice activity: what silero-vad says, stretches of speech, and what is told as no speech."""

import itertools
import sys
from typing import Any

import numpy as np
import pytest
import torch

from modeling_ser import SERPipeline
from modeling_ser.windows import WindowCutter, parts
from speech_emotion.inference import EmotionStream, emotion_stream, timeline_of, voice_activity
from speech_emotion.inference.speech_cutter import BEGINS, ENDS, SpeechCutter
from speech_emotion.inference.timeline import draw_timeline
from tests.babble import babble
from tests.modeling_ser.small_pipeline import LABELS, by_label
from tests.modeling_ser.test_windows import LONG

RATE, FRAME, AROUND = 16000, 512, 1600
PAUSE = np.zeros(20 * FRAME, np.float32)  # 0.64 s
SPEECH = 0.1 + np.abs(LONG)


class Loud:
    """Takes a frame for speech in which no sample is silent."""

    def __init__(self) -> None:
        self.rest = np.zeros(0, np.float32)

    def push(self, samples: np.ndarray) -> np.ndarray:
        self.rest = np.concatenate([self.rest, samples])
        whole = len(self.rest) // FRAME * FRAME
        frames, self.rest = self.rest[:whole].reshape(-1, FRAME), self.rest[whole:]
        return (frames != 0).all(axis=1).astype(np.float32)

    def finish(self) -> np.ndarray:
        return np.array([float(self.rest.all())] if len(self.rest) else [], np.float32)


def cut(sound: np.ndarray, sizes: list[int], length: int = 1000, left: int = 100, right: int = 200) -> list[Any]:
    cutter = SpeechCutter(lambda: WindowCutter(length * 16, left * 16, right * 16), activity=Loud())
    pieces = np.split(sound, np.minimum(np.cumsum(sizes), len(sound)))
    return [*itertools.chain.from_iterable(map(cutter.push, pieces)), *cutter.finish()]


def speech(frames: int) -> np.ndarray:
    return SPEECH[: frames * FRAME]


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emotion_stream, "SpeechCutter", lambda *args: SpeechCutter(*args, activity=Loud()))


def test_stretches_are_cut_as_recordings_and_pauses_are_told() -> None:
    sound = np.concatenate([PAUSE, speech(80), PAUSE, speech(10), PAUSE, PAUSE, PAUSE, speech(20)])
    found = cut(sound, [])
    first = (20 * FRAME - AROUND, 100 * FRAME + AROUND)
    second = (120 * FRAME - AROUND, 130 * FRAME + AROUND)
    third = (190 * FRAME - AROUND, len(sound))
    expected: list[tuple[int, int]] = []
    for begin, end in (first, second, third):
        before = expected[-1][1] if expected else 0
        expected += [(a, min(a + 16000, begin)) for a in range(before, begin, 16000)]
        starts = range(begin, max(begin, end - 16000) + 1, 11200)
        inside = [(start, min(start + 16000, end)) for start in starts]
        expected += inside if inside[-1][1] == end else [*inside, (end - 16000, end)]
    assert [(span.start, span.end) for span, _ in found] == expected
    for span, window in found:
        silent = not any(begin <= span.start < end for begin, end in (first, second, third))
        assert (window is None) == silent
        if not silent:
            np.testing.assert_array_equal(window, sound[span.start : span.end])
    covered = parts([span for span, _ in found])
    assert covered[0][0] == 0 and covered[-1][1] == len(sound)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(covered))


@pytest.mark.parametrize("seed", range(6))
def test_how_samples_come_changes_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    sound = np.concatenate(
        [part for _ in range(8) for part in (speech(random.integers(0, 60)), np.zeros(random.integers(0, 30000)))]
    ).astype(np.float32)
    sound = sound[: random.integers(1, len(sound))]
    whole = cut(sound, [])
    assert np.concatenate([sound[a:b] for a, b in parts([span for span, _ in whole])]).tolist() == sound.tolist()
    for sizes in ([1] * 2000, list(random.integers(0, 4000, 80)), [512] * 1000):
        for (span, window), (other, its) in zip(whole, cut(sound, sizes), strict=True):
            assert span == other
            np.testing.assert_array_equal(window, its)


def test_what_is_too_short_for_a_pause_is_none_at_the_beginning() -> None:
    sound = np.concatenate([PAUSE[: 15 * FRAME], speech(40)])
    found = cut(sound, [])
    assert found[0][0][:2] == (0, 16000) and all(window is not None for _, window in found)


def test_a_click_is_no_speech_and_a_short_pause_is() -> None:
    assert all(window is None for _, window in cut(np.concatenate([PAUSE, speech(5), PAUSE]), []))
    ((_, window),) = cut(np.concatenate([speech(12), PAUSE[: 8 * FRAME], speech(8)]), [])
    assert len(window) == 28 * FRAME


def test_nothing_is_told_later_than_a_window_and_a_pause() -> None:
    cutter = SpeechCutter(lambda: WindowCutter(16000), activity=Loud())
    until = 0
    sound = np.concatenate([PAUSE, PAUSE, PAUSE, SPEECH, PAUSE, speech(20), PAUSE, PAUSE])
    for start in range(0, len(sound), 160):
        for span, _ in cutter.push(sound[start : start + 160]):
            until = span.end
        assert start + 160 - until < 16000 + 0.6 * RATE


def test_only_speech_has_scores_and_the_stream_is_the_timeline(classifier: SERPipeline, loud: None) -> None:
    sound = np.concatenate([PAUSE, SPEECH, PAUSE, PAUSE, speech(20)])
    array = {"array": sound, "sampling_rate": RATE}
    found = timeline_of(classifier, array, 1, 0.5, vad=True)
    stream = EmotionStream(classifier, 1, 0.5, vad=True)
    windows = [window for piece in np.array_split(sound, 70) for window in stream.push(piece)] + stream.finish()
    assert [window["timestamp"] for window in windows] == list(map(tuple, found.windows))
    for window, scores in zip(windows, found.scores, strict=True):
        assert bool(window["scores"]) != np.isnan(scores).any()
        if window["scores"]:
            start, end = (round(second * RATE) for second in window["timestamp"])
            alone = by_label(classifier({"array": sound[start:end], "sampling_rate": RATE}))
            assert by_label(window["scores"]) == pytest.approx(alone, abs=1e-5)
            assert dict(zip(LABELS, scores, strict=True)) == pytest.approx(alone, abs=1e-5)
    seconds = np.diff(found.parts, axis=1)[:, 0]
    heard = ~np.isnan(found.scores).any(axis=1)
    assert found.spoken == pytest.approx(seconds[heard].sum()) and 0.4 < found.spoken / found.seconds < 0.95
    np.testing.assert_allclose(np.average(found.scores[heard], axis=0, weights=seconds[heard]), found.summary, 1e-4)
    assert [label for _, _, label, score in found.runs() if np.isnan(score)] == ["no_speech"] * 2
    smooth = timeline_of(classifier, array, 1, 0.5, 1.0, vad=True)
    assert (np.isnan(smooth.scores) == np.isnan(found.scores)).all()
    areas = draw_timeline(found).axes[1]
    assert areas.get_legend().get_texts()[0].get_text() == "no_speech"
    assert areas.collections[-1].get_paths()[0].vertices[:, 1].min() == 0  # nothing lies under it where nobody speaks


def test_where_nobody_speaks_nothing_is_scored(classifier: SERPipeline, loud: None) -> None:
    found = timeline_of(classifier, {"array": np.tile(PAUSE, 5), "sampling_rate": RATE}, 2, 1, 1.0, vad=True)
    assert np.isnan(found.summary).all() and found.spoken == 0
    assert [label for _, _, label, _ in found.runs()] == ["no_speech"]
    draw_timeline(found)


def test_a_model_of_another_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="found at 16000 Hz, and this model hears 8000 Hz"):
        emotion_stream.cutter_of(1, 1, 8000, vad=True)


def test_without_the_package_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    with pytest.raises(ModuleNotFoundError, match=r"modeling-ser\[vad\]"):
        voice_activity._network.__wrapped__()


@pytest.mark.parametrize("sizes", [[], [100] * 200, [5000] * 10])
def test_probabilities_are_those_of_silero(sizes: list[int]) -> None:
    threads = torch.get_num_threads()
    silero = pytest.importorskip("silero_vad")  # sets the number of threads
    torch.set_num_threads(threads)
    sound = np.concatenate([PAUSE, babble(1), PAUSE, babble(0.5), LONG[:20011]])
    expected = silero.load_silero_vad().audio_forward(torch.from_numpy(sound), RATE)[0]
    activity = voice_activity.VoiceActivity()
    pieces = np.split(sound, np.cumsum(sizes)[np.cumsum(sizes) < len(sound)] if sizes else [])
    found = np.concatenate([*map(activity.push, pieces), activity.finish()])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.max() > BEGINS and found.min() < ENDS
