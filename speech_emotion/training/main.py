"""The command `train`: parse, train, print."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from speech_emotion.evaluation import confusion_table, text_table

from .arguments import parse_arguments
from .card import RunReport
from .entry import run_entry
from .run import run_training


def main(argv: Sequence[str] | None = None, prog: str = "train.py") -> int:
    """Train as the command line says, and print what came out."""
    return run_entry(partial(parse_arguments, prog=prog), run_training, summary, argv)


def summary(report: RunReport) -> str:
    """Write the figures of a training as tables."""
    chance = 1 / len(report.labels)
    rows = []
    for name, part in (("validation", report.validation), ("test", report.test)):
        largest = np.sum(part.confusion, axis=1).max() / part.clips
        figures = (part.metrics["wa"], largest, part.metrics["ua"], chance, part.metrics["macro_f1"])
        rows.append([name, ", ".join(part.speakers), part.clips, *(f"{100 * figure:.1f}%" for figure in figures)])
    header = ["split", "speakers", "clips", "WA", "largest class", "UA", "chance UA", "macro F1"]
    return f"{text_table(header, rows)}\n\n{confusion_table(np.array(report.test.confusion), report.labels)}"


__all__ = ["main", "summary"]
