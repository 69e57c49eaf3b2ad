"""The command `train`: parse, train, print."""

import logging
import sys
from collections.abc import Sequence

import numpy as np

from speech_emotion.evaluation import confusion_table, text_table
from speech_emotion.progress import plain_warnings

from .arguments import parse_arguments
from .card import RunReport
from .run import run_training
from .stop_signal import EXIT_CODE


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the command line says, and print what came out.

    Args:
        argv: The words after the program's name; `None` for those of this process.

    Returns:
        The exit code: 0; 143 after SIGTERM; 1 after an error, whose message is on the standard error.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    plain_warnings()
    data, model, training = parse_arguments(argv)
    try:
        result = run_training(data, model, training)
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        logging.getLogger(__name__).debug("Where it happened:", exc_info=error)
        print(f"error: {error}", file=sys.stderr)
        return 1
    if result.stopped:
        if training.process_index == 0:
            print(f"Stopped by SIGTERM. Go on with --resume_from_checkpoint true --output_dir {result.output_dir}")
        return EXIT_CODE
    if training.process_index == 0:
        print(f"\n{summary(result.report)}\n\nSaved in {result.output_dir}")
    return 0


def summary(report: RunReport) -> str:
    """Write the figures of a training as tables.

    Args:
        report: What was measured.

    Returns:
        WA and UA beside chance, and the confusion matrix of the test speakers.
    """
    chance = 1 / len(report.labels)
    rows = []
    for name, part in (("validation", report.validation), ("test", report.test)):
        largest = np.sum(part.confusion, axis=1).max() / part.clips
        figures = (part.metrics["wa"], largest, part.metrics["ua"], chance, part.metrics["macro_f1"])
        rows.append([name, ", ".join(part.speakers), part.clips, *(f"{100 * figure:.1f}%" for figure in figures)])
    header = ["split", "speakers", "clips", "WA", "largest class", "UA", "chance UA", "macro F1"]
    return f"{text_table(header, rows)}\n\n{confusion_table(np.array(report.test.confusion), report.labels)}"


__all__ = ["main", "summary"]
