"""Segments of speech: what voice activity finds is cut into windows, and what lies between is told as no speech."""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from modeling_ser.windows import Span, WindowCutter

from .voice_activity import FRAME, RATE, VoiceActivity

BEGINS, ENDS = 0.5, 0.35  # probabilities: from the first on somebody speaks, below the second nobody
SHORTEST_SPEECH = 0.25  # s; less is a click or a breath
SHORTEST_PAUSE = 0.5  # s; less is within a stretch of speech
AROUND = 0.1  # s that are kept before and after a stretch, for what is soft


class Cutter(Protocol):
    """What cuts a sound while it comes: windows, or no speech, a span whose samples are None."""

    def push(self, samples: np.ndarray) -> Iterator[tuple[Span, np.ndarray | None]]:
        """Take the next samples, (samples,), and give what they complete."""

    def finish(self) -> Iterator[tuple[Span, np.ndarray | None]]:
        """Give the rest."""


class SpeechCutter:
    """Cuts each stretch of speech into windows as if it were a recording; the last one is moved back within it.

    A stretch that is shorter than a window is one by itself. What lies between stretches, told in parts no longer than
    a window, is no speech. Together the spans, but for what windows share, are the recording. No more than two windows
    and two seconds of samples are held.

    Args:
        windows: Makes the cutter of a stretch.
        rate: Of the samples, in Hz; 16000.
        activity: What gives the probability of speech of each frame of 512 samples; that of silero-vad by default.

    Raises:
        ValueError: The rate is another.
        ModuleNotFoundError: silero-vad is not installed.
    """

    def __init__(
        self, windows: Callable[[], WindowCutter], rate: int = RATE, activity: VoiceActivity | None = None
    ) -> None:
        if rate != RATE:
            raise ValueError(f"Voice activity is found at {RATE} Hz, and this model hears {rate} Hz; leave it out.")
        self._activity = VoiceActivity() if activity is None else activity
        self._windows = windows
        self._longest = windows().length
        self._cutter: WindowCutter | None = None  # of the stretch that is spoken
        self._held = np.zeros(0, np.float32)
        self._start = 0  # sample where it begins, and before which everything was given on
        self._origin = 0  # where the stretch begins
        self._frames = 0  # whose probability is known
        self._since: int | None = None  # sample where speech may have begun, or, in a stretch, may have ended

    def push(self, samples: np.ndarray) -> Iterator[tuple[Span, np.ndarray | None]]:
        """Take the next samples, (samples,), and give the windows and parts without speech that they complete."""
        self._held = np.concatenate([self._held, samples])
        for probability in self._activity.push(samples):
            yield from self._heard(float(probability))

    def finish(self) -> Iterator[tuple[Span, np.ndarray | None]]:
        """Give the rest: the last window, or what is no speech."""
        for probability in self._activity.finish():
            yield from self._heard(float(probability))
        end = self._start + len(self._held)
        if self._cutter is not None:
            yield from self._speech(end if self._since is None else min(end, self._since + _samples(AROUND)))
            yield from self._stretch_ends()
        yield from self._silence(end)

    def _heard(self, probability: float) -> Iterator[tuple[Span, np.ndarray | None]]:
        """Go on by a frame."""
        at, self._frames = self._frames * FRAME, self._frames + 1
        now = min(self._frames * FRAME, self._start + len(self._held))
        if self._cutter is None:
            if probability < ENDS:
                self._since = None
            elif self._since is None and probability >= BEGINS:
                self._since = at
            if self._since is None or now - self._since < _samples(SHORTEST_SPEECH):
                if (now if self._since is None else self._since) - _samples(AROUND) >= self._start + self._longest:
                    yield from self._silence(self._start + self._longest)
                return
            self._origin = max(self._start, self._since - _samples(AROUND))
            if not self._start and self._origin < _samples(SHORTEST_PAUSE):  # too short for a pause here, too
                self._origin = 0
            yield from self._silence(self._origin)
            self._cutter, self._since = self._windows(), None
        if probability >= BEGINS:
            self._since = None
        elif self._since is None and probability < ENDS:
            self._since = at
        yield from self._speech(now if self._since is None else min(now, self._since + _samples(AROUND)))
        if self._since is not None and now - self._since >= _samples(SHORTEST_PAUSE):
            yield from self._stretch_ends()

    def _speech(self, until: int) -> Iterator[tuple[Span, np.ndarray]]:
        """Cut windows of the stretch up to a sample."""
        for span, window in self._cutter.push(self._taken(until)):
            yield Span(*(self._origin + place for place in span)), window

    def _stretch_ends(self) -> Iterator[tuple[Span, np.ndarray]]:
        for span, window in self._cutter.finish():
            yield Span(*(self._origin + place for place in span)), window
        self._cutter = self._since = None

    def _silence(self, until: int) -> Iterator[tuple[Span, None]]:
        """Tell what lies before a sample as no speech."""
        while self._start < until:
            start = self._start
            self._taken(min(until, start + self._longest))
            yield Span(start, self._start, self._start), None

    def _taken(self, until: int) -> np.ndarray:
        """Take the samples before a place out of those that are held."""
        count = max(0, until - self._start)
        taken, self._held = self._held[:count], self._held[count:]
        self._start += len(taken)
        return taken


def _samples(seconds: float) -> int:
    return round(seconds * RATE)
