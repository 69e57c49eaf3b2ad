"""Live speech: samples in as they come, scores out as soon as a window is full."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from feature_extraction.audio_decoding import to_float
from modeling_ser.windows import Span, WindowCutter

from .clip_scores import logits_of
from .speech_cutter import Cutter, SpeechCutter

if TYPE_CHECKING:
    from modeling_ser import SERPipeline

Compute = Callable[[Sequence[np.ndarray]], torch.Tensor]


class EmotionStream:
    """Scores speech while it is spoken, from a microphone or a socket.

    The windows and their scores are those that the pipeline gives for the whole recording with
    `chunk_length_s=window_s` and strides that together are `window_s - hop_s`. The first scores come when `window_s`
    were pushed, and further ones each time that another `hop_s` were: what is said is in a window that is scored
    `hop_s` later at the latest, and computing that takes some hundredths of a second. No more than a window and a hop
    of samples are held, however long the stream is.

    With `vad`, only speech is scored: each stretch of it is cut into windows as if it were a recording, and a shorter
    one is a window by itself, known half a second after its end. Where nobody speaks, that is told, of as much as a
    window at a time.

    Args:
        model: The pipeline of a saved model.
        window_s: Length of a window in seconds, as the clips that the model was trained on; 0.1 at least.
        hop_s: From the beginning of a window to that of the next, in seconds; `window_s` at most.
        sampling_rate: Of the samples that are pushed, in Hz; by default that of the model's extractor. Any other is
            resampled, which holds samples back for a few milliseconds.
        batch_size: Windows that are scored together where more than one is complete.
        vad: Whether to score speech only, as silero-vad (the extra `vad`) finds it.
        compute: Takes clips, each (samples,) at the extractor's rate, and gives their logits, (clips, num_labels), in
            place of the model: `SharedModel.logits`, for example.

    Raises:
        ValueError: A number is out of its range.
        ModuleNotFoundError: `vad` is asked for, and silero-vad is not installed.

    Example:
        >>> stream = EmotionStream(classifier, window_s=4, hop_s=1)  # doctest: +SKIP
        >>> for samples in microphone:  # doctest: +SKIP
        ...     for window in stream.push(samples):
        ...         print(window["timestamp"], window["scores"][0])
        (0.0, 4.0) {'score': 0.71, 'label': 'neutral'}
    """

    def __init__(
        self,
        model: "SERPipeline",
        window_s: float = 4.0,
        hop_s: float = 1.0,
        sampling_rate: int | None = None,
        batch_size: int = 8,
        vad: bool = False,
        compute: Compute | None = None,
    ) -> None:
        self.model, self.batch_size, self._compute = model, batch_size, compute
        self.rate = model.feature_extractor.sampling_rate
        self._cutter = cutter_of(window_s, hop_s, self.rate, vad)
        self._resampler: Any = None
        if sampling_rate not in (None, self.rate):
            import soxr

            self._resampler = soxr.ResampleStream(sampling_rate, self.rate, 1, dtype="float32", quality="HQ")
        self._finished = False

    def push(self, samples: Any) -> list[dict[str, Any]]:
        """Take the next samples.

        Args:
            samples: Any number of them, (samples,), mono; floating-point in [-1, 1], or integers, which are scaled.

        Returns:
            Of each window that they complete its "timestamp", (start, end) in seconds from the first sample, and its
            "scores", each `{"score": float, "label": str}`, best first; with `vad` none where nobody speaks. Mostly it
            is no window, or one.

        Raises:
            ValueError: The samples are not 1-D or not finite, or the stream is finished.
        """
        if self._finished:
            raise ValueError("This stream is finished; make a new EmotionStream for the next.")
        samples = to_float(samples, "the samples")
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise ValueError(f"Samples must be finite and of one channel, (samples,); got shape {samples.shape}.")
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(np.ascontiguousarray(samples))
        return self._scored(self._cutter.push(samples))

    def finish(self) -> list[dict[str, Any]]:
        """End the stream, and score the last window, which ends with the last sample.

        Returns:
            As of `push`; nothing if no sample was pushed after the last window, or none at all.

        Raises:
            ValueError: It is finished already.
        """
        windows = self.push(np.zeros(0, np.float32))
        if self._resampler is not None:
            rest = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            windows += self._scored(self._cutter.push(rest))
        self._finished = True
        return windows + self._scored(self._cutter.finish())

    def _scored(self, windows: Iterator[tuple[Span, np.ndarray | None]]) -> list[dict[str, Any]]:
        scored = self.model._postprocess_params
        return [
            {
                "timestamp": (span.start / self.rate, span.end / self.rate),
                "scores": [] if row is None else self.model.postprocess({"logits": row[None]}, **scored),
            }
            for span, row in logits_of_windows(self.model, windows, self.batch_size, self._compute)
        ]


def logits_of_windows(
    classifier: "SERPipeline",
    windows: Iterator[tuple[Span, np.ndarray | None]],
    batch_size: int,
    compute: Compute | None = None,
) -> Iterator[tuple[Span, torch.Tensor | None]]:
    """Give each window's logits, (num_labels,), computed for so many windows at a time; of no speech None."""
    while batch := list(islice(windows, batch_size)):
        spoken = [samples for _, samples in batch if samples is not None]
        logits = iter(())
        if spoken:
            logits = iter(compute(spoken) if compute else logits_of(classifier, spoken))  # (batch, num_labels)
        yield from ((span, None if samples is None else next(logits)) for span, samples in batch)


def cutter_of(window_s: float, hop_s: float, sampling_rate: int, vad: bool = False) -> Cutter:
    """Cut windows that begin `hop_s` after each other; what neighbors share is divided evenly between them.

    With `vad` only stretches of speech are cut, and what lies between has no samples.

    >>> cutter_of(4, 1, 16000).step
    16000
    """
    if not 0 < hop_s <= window_s:
        raise ValueError(f"hop_s={hop_s!r}: must be more than 0, and at most window_s={window_s!r}.")
    shared = round(window_s * sampling_rate) - max(1, round(hop_s * sampling_rate))
    strides = shared // 2 / sampling_rate, (shared - shared // 2) / sampling_rate
    windows = partial(WindowCutter.in_seconds, window_s, strides, sampling_rate)
    return SpeechCutter(windows, sampling_rate) if vad else windows()
