"""The command `train_deepspeech`: parse, train, print."""

from collections.abc import Sequence

from speech_emotion.evaluation import text_table

from .ctc_arguments import parse_ctc_arguments
from .ctc_card import RecognitionReport
from .ctc_run import run_ctc_training
from .entry import run_entry


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the command line says, and print what came out."""
    return run_entry(parse_ctc_arguments, run_ctc_training, summary, argv)


def summary(report: RecognitionReport) -> str:
    """Write the figures of a training as tables."""
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
