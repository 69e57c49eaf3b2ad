"""Live and over time: the stream, the timeline and the pipeline say the same of the same windows."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from modeling_ser import SERPipeline
from modeling_ser.windows import parts
from speech_emotion.evaluation.figures import save_figure
from speech_emotion.evaluation.figures_timeline import timeline_figure
from speech_emotion.inference import EmotionStream, timeline_of
from speech_emotion.inference.emotion_stream import cutter_of
from speech_emotion.inference.timeline import draw_timeline, smoothed
from tests.modeling_ser.small_pipeline import LABELS, by_label
from tests.modeling_ser.test_windows import LONG

WINDOW, HOP = 1.0, 0.3001  # 4802 samples: what is shared cannot be halved


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.wav"
    soundfile.write(path, LONG, 16000, subtype="FLOAT")
    return path


def offline(classifier: SERPipeline, source: Any) -> dict[str, Any]:
    cutter = cutter_of(WINDOW, HOP, 16000)
    left = cutter.length - cutter.step - cutter.right
    return classifier(source, chunk_length_s=WINDOW, stride_length_s=(left / 16000, cutter.right / 16000))


def assert_same(windows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [window["timestamp"] for window in windows] == [window["timestamp"] for window in expected]
    for window, other in zip(windows, expected, strict=True):
        assert by_label(window["scores"]) == pytest.approx(by_label(other["scores"]), abs=1e-5)


@pytest.mark.parametrize("size", [1, 320, 16000, len(LONG)])
def test_the_stream_is_the_pipeline(classifier: SERPipeline, recording: Path, size: int) -> None:
    sound = LONG[:30000] if size == 1 else LONG
    stream, windows = EmotionStream(classifier, WINDOW, HOP), []
    for start in range(0, len(sound), size):
        new = stream.push(sound[start : start + size])
        pushed = min(start + size, len(sound)) / 16000
        assert all(window["timestamp"][1] <= pushed for window in new)
        windows += new
        assert pushed < WINDOW or pushed - windows[-1]["timestamp"][1] < HOP + 1e-4  # no later than it is said
    assert_same(windows + stream.finish(), offline(classifier, {"array": sound, "sampling_rate": 16000})["chunks"])
    with pytest.raises(ValueError, match="This stream is finished"):
        stream.push(sound)


def test_a_stream_of_another_rate_and_type(classifier: SERPipeline) -> None:
    sound = (soxr.resample(LONG, 16000, 44100) * 32767).astype(np.int16)
    stream = EmotionStream(classifier, WINDOW, HOP, sampling_rate=44100)
    windows = [window for piece in np.array_split(sound, 50) for window in stream.push(piece)]
    assert_same(windows + stream.finish(), offline(classifier, (44100, sound))["chunks"])


def test_short_and_empty_streams(classifier: SERPipeline) -> None:
    assert EmotionStream(classifier).finish() == []
    stream = EmotionStream(classifier)
    assert stream.push(LONG[:4000]) == []
    (window,) = stream.finish()
    assert window["timestamp"] == (0.0, 0.25)


@pytest.mark.parametrize("samples", [np.zeros((2, 100)), np.array([0.0, np.nan])])
def test_samples_without_sense(classifier: SERPipeline, samples: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must be finite and of one channel"):
        EmotionStream(classifier).push(samples)


@pytest.mark.parametrize(("window", "hop", "complaint"), [(4, 5, "hop_s=5"), (4, 0, "hop_s=0"), (0.01, 0.01, "0.1")])
def test_windows_without_sense(classifier: SERPipeline, window: float, hop: float, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        EmotionStream(classifier, window, hop)


def test_the_timeline_is_the_pipeline(classifier: SERPipeline, recording: Path) -> None:
    found, expected = timeline_of(classifier, recording, WINDOW, HOP), offline(classifier, recording)
    assert found.labels == list(LABELS)
    assert found.windows.tolist() == [list(chunk["timestamp"]) for chunk in expected["chunks"]]
    for scores, chunk in zip([*found.scores, found.summary], [*expected["chunks"], expected], strict=True):
        assert dict(zip(LABELS, scores, strict=True)) == pytest.approx(by_label(chunk["scores"]), abs=1e-5)
    assert found.seconds == len(LONG) / 16000 and found.parts[0, 0] == 0
    assert (found.parts[1:, 0] == found.parts[:-1, 1]).all()
    np.testing.assert_allclose(np.diff(found.parts, axis=1)[:, 0] @ found.scores / found.seconds, found.summary, 1e-5)
    runs = list(found.runs())
    assert all(a[1] == b[0] and a[2] != b[2] for a, b in itertools.pairwise(runs))
    assert (runs[0][0], runs[-1][1]) == (0, found.seconds)
    # The outline holds every sample between its lowest and its highest.
    assert len(found.lowest) == -(-len(LONG) // 160)
    assert found.lowest.min() == LONG.min() and found.highest.max() == LONG.max()


def test_smoothing_is_a_mean_and_leaves_the_summary(classifier: SERPipeline, recording: Path) -> None:
    plain, smooth = (timeline_of(classifier, recording, WINDOW, HOP, reach) for reach in (0.0, 1.0))
    np.testing.assert_allclose(smooth.scores.sum(axis=1), 1, atol=1e-6)
    assert np.abs(np.diff(smooth.scores, axis=0)).sum() < 0.8 * np.abs(np.diff(plain.scores, axis=0)).sum()
    np.testing.assert_array_equal(smooth.summary, plain.summary)
    np.testing.assert_array_equal(smoothed(plain.scores, np.arange(len(plain.scores)), 0.5), plain.scores)
    with pytest.raises(ValueError, match="smooth_s=-1"):
        timeline_of(classifier, recording, smooth_s=-1)


@pytest.mark.parametrize("width", [4.0, 30.0])
def test_the_picture_at_any_width(classifier: SERPipeline, recording: Path, tmp_path: Path, width: float) -> None:
    found = timeline_of(classifier, recording, WINDOW, HOP)
    fig = draw_timeline(found, "long.wav", width)
    areas = fig.axes[1]
    assert [text.get_text() for text in areas.get_legend().get_texts()] == list(LABELS)[::-1]
    tops = [area.get_paths()[0].vertices[:, 1].max() for area in areas.collections]
    assert tops[-1] == pytest.approx(1, abs=1e-6) and areas.get_xlim() == (0, found.seconds)
    assert save_figure(fig, tmp_path / "a.png").stat().st_size > 5000
    fig.draw_without_rendering()
    boxes = [
        text.get_window_extent() for text in areas.get_xticklabels() if 0 <= text.get_position()[0] <= found.seconds
    ]
    assert len(boxes) >= 3 and all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_no_speech_lies_above_in_gray() -> None:
    labels = ["no_speech", *(f"emotion {number}" for number in range(9))]
    scores = np.full((5, 10), 0.1)
    edges = 800.0 * np.arange(6)
    fig = timeline_figure(labels, np.c_[edges[:-1], edges[1:]], scores, -np.ones(7), np.ones(7))
    areas = fig.axes[1]
    assert areas.get_legend().get_texts()[0].get_text() == "no_speech"
    looks = [tuple(area.get_facecolor()[0]) for area in areas.collections]
    assert len(set(looks)) == 10 and len(set(looks[-1][:3])) == 1
    with pytest.raises(ValueError, match=re.escape("Parts of shape (4, 2)")):
        timeline_figure(labels, np.zeros((4, 2)), scores, np.zeros(2), np.zeros(2))


def test_what_is_too_fine_to_be_seen_is_averaged() -> None:
    edges = np.linspace(0, 3600, 1801)
    scores = np.tile([[1.0, 0.0], [0.0, 1.0], [np.nan, np.nan]], (600, 1))  # a, b, and nobody speaks
    fig = timeline_figure(["a", "b"], np.c_[edges[:-1], edges[1:]], scores, -np.ones(7), np.ones(7))
    areas = fig.axes[1]
    assert "18 s" in areas.get_ylabel()  # of which each third has one
    tops = [area.get_paths()[0].vertices[:, 1] for area in areas.collections]
    assert [top.max() for top in tops] == pytest.approx([1 / 3, 2 / 3, 1])
    assert max(map(len, tops)) < 1000


def test_parts_of_one_window() -> None:
    cutter = cutter_of(1, 1, 16000)
    spans = [span for span, _ in [*cutter.push(np.zeros(16000)), *cutter.finish()]]
    assert parts(spans) == [(0, 16000)]
