"""The timeline of a recording: scores of its windows, a summary, and the outline of its waveform."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from modeling_ser.windows import Span, parts
from speech_emotion.evaluation.figures_timeline import NO_SPEECH, timeline_figure

from .emotion_stream import Compute, cutter_of, logits_of_windows
from .saved_model import check_emotions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from modeling_ser import SERPipeline

OUTLINE_STEP = 0.01  # s


@dataclass(frozen=True)
class Timeline:
    """What is heard in a recording, and when.

    `windows` and `parts` are (windows, 2), beginning and end in seconds: of each window, and of what it speaks for,
    which together is the recording, each moment once. `scores` are (windows, labels), and no numbers where nobody
    speaks; `summary` is their mean over the time of speech, before any smoothing, (labels,). `lowest` and `highest`
    are the waveform's outline, one value each 10 ms.
    """

    labels: list[str]
    windows: np.ndarray
    parts: np.ndarray
    scores: np.ndarray
    summary: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return float(self.parts[-1, 1])

    @property
    def spoken(self) -> float:
        """Seconds of the recording that are scored."""
        return float(np.diff(self.parts, axis=1)[~np.isnan(self.scores).any(axis=1)].sum())

    def rows(self) -> Iterator[tuple[str, tuple[float, float], str, dict[str, float | None]]]:
        """Give of the whole, and of each window, beginning and end in seconds, the label, and the score of each.

        Where nobody speaks the label is "no_speech", and the scores are None.
        """
        rows = [("whole", (0.0, self.seconds), self.summary)]
        rows += [("window", times, scores) for times, scores in zip(self.windows, self.scores, strict=True)]
        for part, (start, end), scores in rows:
            values = [None if np.isnan(score) else float(score) for score in scores]
            by_label = dict(zip(self.labels, values, strict=True))
            yield part, (float(start), float(end)), best_label(self.labels, scores), by_label

    def runs(self) -> Iterator[tuple[float, float, str, float]]:
        """Join neighbors of one label: beginning and end in seconds, the label, and its mean score over that time.

        Where nobody speaks the label is "no_speech", and the score not a number.
        """
        best = [best_label(self.labels, row) for row in self.scores]
        for label, group in groupby(range(len(best)), key=best.__getitem__):
            places = list(group)
            score = np.nan
            if not np.isnan(self.scores[places]).any():
                seconds = np.diff(self.parts[places], axis=1)[:, 0]
                score = float(np.average(self.scores[places, self.labels.index(label)], weights=seconds))
            yield float(self.parts[places[0], 0]), float(self.parts[places[-1], 1]), label, score


def timeline_of(
    classifier: "SERPipeline",
    source: Any,
    window_s: float = 4.0,
    hop_s: float = 2.0,
    smooth_s: float = 0.0,
    batch_size: int = 8,
    vad: bool = False,
    compute: Compute | None = None,
) -> Timeline:
    """Score a recording of any length window by window, while it is decoded: its sound is never whole in memory.

    Args:
        classifier: The pipeline of a saved model; its `channel` and `max_seconds` hold.
        source: The recording, as for the pipeline.
        window_s: Length of a window in seconds, as the clips that the model was trained on.
        hop_s: From the beginning of a window to that of the next, in seconds. The last window is moved back until it
            is as long as the others.
        smooth_s: Average each window's scores with those of windows less than so many seconds away, which count the
            less the further away they are; 0 for no smoothing.
        batch_size: Windows that are scored together.
        vad: Whether to cut and score only stretches of speech, as silero-vad (the extra `vad`) finds them: one shorter
            than a window is a window by itself, and what lies between them is told as no speech.
        compute: Gives logits in place of the model, as of `EmotionStream`.

    Returns:
        The timeline. Its windows and, without smoothing, their scores are those of the pipeline with
        `chunk_length_s=window_s` and strides of `window_s - hop_s` together, and, with `vad` too, of `EmotionStream`.

    Raises:
        ValueError: The recording cannot be used, a number is out of its range, or the model gives values, which
            `EmotionStream` and the pipeline's `chunk_length_s` follow over time.
        ModuleNotFoundError: `vad` is asked for, and silero-vad is not installed.

    Example:
        >>> timeline_of(classifier, "meeting.flac", smooth_s=10).runs()  # doctest: +SKIP
    """
    check_emotions(classifier, "A timeline")
    if not 0 <= smooth_s < np.inf:
        raise ValueError(f"smooth_s={smooth_s!r}: must be a number of seconds, 0 for no smoothing.")
    rate = classifier.feature_extractor.sampling_rate
    outline = _Outline(round(OUTLINE_STEP * rate))
    windows = windows_of(classifier, source, window_s, hop_s, vad, outline.add)
    cut = list(logits_of_windows(classifier, windows, batch_size, compute))
    spans, heard = [span for span, _ in cut], np.array([logits is not None for _, logits in cut])
    times = np.array([(span.start, span.end) for span in spans]) / rate
    labels = [label for _, label in sorted(classifier.model.config.id2label.items())]
    scores, summary = np.full((len(cut), len(labels)), np.nan), np.full(len(labels), np.nan)
    if heard.any():
        outputs = [{"logits": logits[None], "span": span} for span, logits in cut if logits is not None]
        found = classifier.postprocess(outputs)
        own = np.array([_in_order(chunk["scores"], labels) for chunk in found["chunks"]])
        scores[heard] = smoothed(own, times[heard].mean(axis=1), smooth_s) if smooth_s else own
        summary[:] = _in_order(found["scores"], labels)
    return Timeline(labels, times, np.array(parts(spans)) / rate, scores, summary, *outline.finish())


def windows_of(
    classifier: "SERPipeline",
    source: Any,
    window_s: float,
    hop_s: float,
    vad: bool,
    tell: Callable[[np.ndarray], None] = lambda block: None,
) -> Iterator[tuple[Span, np.ndarray | None]]:
    """Cut a recording, block by block, each of which is told, as `timeline_of` does; no speech has no samples."""
    cutter = cutter_of(window_s, hop_s, classifier.feature_extractor.sampling_rate, vad)
    for block in blocks_of(classifier, source):
        tell(block)
        yield from cutter.push(block)
    yield from cutter.finish()


def blocks_of(classifier: "SERPipeline", source: Any) -> Iterator[np.ndarray]:
    """Decode a recording block by block, to the samples that the pipeline reads."""
    reading = {name: value for name, value in classifier._preprocess_params.items() if "length_s" not in name}
    return classifier.feature_extractor.load_audio_blocks(source, **reading)


def best_label(labels: Sequence[str], scores: np.ndarray) -> str:
    """Name the best of some scores, (labels,), or that nobody speaks where they are not numbers."""
    return NO_SPEECH if np.isnan(scores).any() else labels[scores.argmax()]


def smoothed(scores: np.ndarray, times: np.ndarray, reach: float) -> np.ndarray:
    """Average scores, (windows, labels), with those less than `reach` away, weights falling evenly to 0 there.

    >>> smoothed(np.array([[1.0], [0.0], [0.0]]), np.arange(3.0), 2.0)[:, 0].tolist()
    [0.6666666666666666, 0.25, 0.0]
    """
    first, end = np.searchsorted(times, times - reach), np.searchsorted(times, times + reach)
    return np.array(
        [
            np.average(scores[a:b], axis=0, weights=1 - np.abs(times[a:b] - time) / reach)
            for time, a, b in zip(times, first, end, strict=True)
        ]
    )


def draw_timeline(found: Timeline, title: str | None = None, width: float = 10.0) -> "Figure":
    """Draw a timeline, so many inches wide."""
    return timeline_figure(found.labels, found.parts, found.scores, found.lowest, found.highest, title, width)


class _Outline:
    """The lowest and the highest of each so many samples of a sound that comes in blocks."""

    def __init__(self, step: int) -> None:
        self.step, self._rest = step, np.zeros(0, np.float32)
        self._lowest: list[np.ndarray] = []
        self._highest: list[np.ndarray] = []

    def add(self, block: np.ndarray) -> None:
        samples = np.concatenate([self._rest, block])
        whole = len(samples) // self.step * self.step
        columns, self._rest = samples[:whole].reshape(-1, self.step), samples[whole:]  # (columns, step)
        self._lowest.append(columns.min(axis=1))
        self._highest.append(columns.max(axis=1))

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        if len(self._rest):
            self.add(np.repeat(self._rest[-1], self.step - len(self._rest)))
        return np.concatenate(self._lowest), np.concatenate(self._highest)


def _in_order(scores: list[dict[str, Any]], labels: list[str]) -> list[float]:
    by_label = {entry["label"]: entry["score"] for entry in scores}
    return [by_label[label] for label in labels]
