"""What a person sees of a cross-validation: a bar at a terminal, else a line per fold."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tqdm import tqdm

from speech_emotion.progress import is_terminal

from .plan import FoldReport


class FoldProgress:
    """Tells of every finished fold, how many are left, and about how long they take.

    >>> from speech_emotion.cross_validation.score_store import FoldKey
    >>> progress = FoldProgress(3, clock=iter([0.0, 84.0]).__next__)
    >>> progress.line(FoldReport(FoldKey("emodb", "model-1", 0, 3), seconds=84.0, validation_ua=0.71))
    'emodb model-1 seed 0 fold 3: validation UA 71.0 %, 84 s; 2 of 3 left, about 3 min'
    """

    def __init__(self, total: int, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.done, self.quiet, self.clock = total, 0, quiet, clock
        self._start = clock()
        self._bar: tqdm | None = None

    def __enter__(self) -> Self:
        if is_terminal() and not self.quiet:
            self._bar = tqdm(total=self.total, unit="fold", smoothing=0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, report: FoldReport) -> None:
        """Tell of a fold that is done."""
        line = self.line(report)
        if self._bar is not None:
            self._bar.set_postfix_str(line.partition(";")[0])
            self._bar.update()
        elif not self.quiet:
            print(line, flush=True)

    def line(self, report: FoldReport) -> str:
        """Count a fold and describe it."""
        self.done += 1
        left = self.total - self.done
        seconds = (self.clock() - self._start) / self.done * left
        rest = f"{left} of {self.total} left, about {duration(seconds)}" if left else f"all {self.total} done"
        if report.seconds is None:
            return f"{report.key}: computed by another command; {rest}"
        return f"{report.key}: validation UA {100 * report.validation_ua:.1f} %, {report.seconds:.0f} s; {rest}"


def duration(seconds: float) -> str:
    """Write a time in the unit that suits it.

    >>> duration(42.3), duration(2300.0), duration(9000.0)
    ('42 s', '38 min', '2.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
