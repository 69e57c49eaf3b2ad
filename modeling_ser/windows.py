"""Windows: a long recording is cut into overlapping pieces of one length while it comes; each speaks for a part."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any, NamedTuple, Self

import numpy as np

SHORTEST = 0.1  # s; no emotion is heard in less


class Span(NamedTuple):
    """Where a window lies, in samples, and where the part ends that it speaks for if another window follows."""

    start: int
    end: int
    until: int


class WindowCutter:
    """Cuts windows as transformers' speech recognition cuts chunks, but for the last one.

    A window begins `length - left - right` after the one before, so that neighbors share `left + right`. It speaks for
    what it holds without `left` at its beginning and `right` at its end, which at the ends of a recording are not left
    out. The last window is moved back until it is as long as the others; only a recording that is shorter than a
    window gives a shorter one. No more than a window and a step of samples are held.

    Args:
        length: Of a window, in samples.
        left: What a window shares, at its beginning, with the part that the window before speaks for.
        right: What it shares, at its end, with the part that the next window speaks for.

    Example:
        >>> cutter = WindowCutter(length=6, left=1, right=1)
        >>> cut = [*cutter.push(np.arange(11)), *cutter.finish()]
        >>> [(span.start, span.end) for span, _ in cut], parts([span for span, _ in cut])
        ([(0, 6), (4, 10), (5, 11)], [(0, 5), (5, 9), (9, 11)])
    """

    def __init__(self, length: int, left: int = 0, right: int = 0) -> None:
        self.length, self.right = length, right
        self.step = length - left - right
        if not 0 < self.step <= length or min(left, right) < 0:
            raise ValueError(f"Strides of {left} and {right} samples leave nothing of windows of {length}.")
        self._held = np.empty(length + self.step, np.float32)
        self._filled = 0
        self._start = 0  # the sample that the first one held is

    @classmethod
    def in_seconds(cls, chunk_length_s: Any, stride_length_s: Any, sampling_rate: int) -> Self:
        """Make one from what a user of transformers' speech recognition says; a stride is a sixth by default."""
        if not _is_number(chunk_length_s) or chunk_length_s < SHORTEST:
            raise ValueError(f"chunk_length_s={chunk_length_s!r}: must be a number of seconds, {SHORTEST:g} or more.")
        strides = chunk_length_s / 6 if stride_length_s is None else stride_length_s
        pair = [strides, strides] if _is_number(strides) else strides
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(map(_is_number, pair)) or min(pair) < 0:
            raise ValueError(
                f"stride_length_s={stride_length_s!r}: must be a number of seconds, or a pair of them for the two "
                "ends of a chunk."
            )
        length, left, right = (round(seconds * sampling_rate) for seconds in (chunk_length_s, *pair))
        if left + right >= length:
            raise ValueError(
                f"stride_length_s={stride_length_s!r} leaves nothing of chunks of {chunk_length_s} s: the strides at "
                "both ends together must be shorter than a chunk."
            )
        return cls(length, left, right)

    def push(self, samples: np.ndarray) -> Iterator[tuple[Span, np.ndarray]]:
        """Take the next samples, (samples,), and give each window, (length,) float32, that they complete."""
        while len(samples):
            space = (
                self.length if self._start == 0 and self._filled < self.length else len(self._held)
            ) - self._filled
            part, samples = samples[:space], samples[space:]
            self._held[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            if self._filled == len(self._held):
                self._held[: self.length] = self._held[self.step :].copy()
                self._start, self._filled = self._start + self.step, self.length
            elif self._start or self._filled != self.length:
                continue
            yield self._window(0, self.length)

    def finish(self) -> Iterator[tuple[Span, np.ndarray]]:
        """Give the last window, if there are samples that no window holds yet."""
        if self._filled < self.length and self._filled:
            yield self._window(0, self._filled)
        elif self._filled > self.length:
            yield self._window(self._filled - self.length, self._filled)

    def _window(self, first: int, end: int) -> tuple[Span, np.ndarray]:
        start, stop = self._start + first, self._start + end
        return Span(start, stop, stop - self.right), self._held[first:end].copy()


def parts(spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Say which samples each window speaks for: each sample once, and together all that any window holds.

    >>> parts([Span(0, 6, 5), Span(4, 10, 9), Span(15, 21, 20)])
    [(0, 5), (5, 10), (15, 21)]
    """
    edges = [
        (before.until, before.until) if after.start < before.end else (before.end, after.start)
        for before, after in pairwise(spans)
    ]
    firsts, ends = [spans[0].start, *(first for _, first in edges)], [*(end for end, _ in edges), spans[-1].end]
    return list(zip(firsts, ends, strict=True))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
