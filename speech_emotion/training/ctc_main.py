"""The command `train_deepspeech`: parse, train, print."""

import logging
import sys
from collections.abc import Sequence

from speech_emotion.evaluation import text_table
from speech_emotion.progress import plain_warnings

from .ctc_arguments import parse_ctc_arguments
from .ctc_card import RecognitionReport
from .ctc_run import run_ctc_training
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
    data, model, training = parse_ctc_arguments(argv)
    try:
        result = run_ctc_training(data, model, training)
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        logging.getLogger(__name__).debug("Where it happened:", exc_info=error)
        print(f"error: {error}", file=sys.stderr)
        return 1
    if result.stopped:
        print(f"Stopped by SIGTERM. Go on with --resume_from_checkpoint true --output_dir {result.output_dir}")
        return EXIT_CODE
    if training.process_index == 0:
        print(f"\n{summary(result.report)}\n\nSaved in {result.output_dir}")
    return 0


def summary(report: RecognitionReport) -> str:
    """Write the figures of a training as tables.

    Args:
        report: What was measured.

    Returns:
        CER and WER by age group, and examples.
    """
    rows = [
        [split, group, errors.speakers, errors.clips, f"{100 * errors.cer:.1f}%", f"{100 * errors.wer:.1f}%"]
        for split, part in report.measured()
        for group, errors in part.errors.items()
    ]
    examples = [[example.group, example.reference, example.hypothesis] for example in report.measured()[0][1].examples]
    tables = (
        text_table(["split", "age", "speakers", "clips", "CER", "WER"], rows),
        text_table(["age", "said", "recognized"], examples),
    )
    return "\n\n".join(tables)


__all__ = ["main", "summary"]
