"""The commands `train` and `train_deepspeech`: parse, train, print."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_scripts.registry import CORPORA, make_builder
from speech_emotion.inference.saved_model import named_model
from speech_emotion.pretrained.shipped_model import EMOTIONS
from speech_emotion.terminal import say
from speech_emotion.training.command_line import CTC_GROUPS, GROUPS, get_parser

from .command import run_guarded

if TYPE_CHECKING:
    from speech_emotion.training.card import RunReport
    from speech_emotion.training.ctc_card import RecognitionReport


def main(argv: Sequence[str] | None = None, prog: str = "train.py") -> int:
    """Train a model of emotions as the command line says, and print what came out."""
    return _main(argv, prog, recognition=False)


def main_deepspeech(argv: Sequence[str] | None = None) -> int:
    """Train a small DeepSpeech as the command line says, and print what came out."""
    return _main(argv, "train_deepspeech.py", recognition=True)


def _main(argv: Sequence[str] | None, prog: str, recognition: bool) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    # Help, a word that is wrong and a file that is missing are told of before anything heavy is imported.
    given, _ = get_parser(prog, CTC_GROUPS if recognition else GROUPS).parse_known_args(words)

    def work() -> int:
        if "/" not in (corpus := getattr(given, "corpus", "/")) and corpus not in CORPORA:
            make_builder(corpus)  # says which are known
        for name in ("data_dir", "folds_file", "resume_from_checkpoint", "final"):
            place = getattr(given, name, None)
            if place is not None and place.lower() not in ("true", "false") and not Path(place).expanduser().exists():
                raise FileNotFoundError(f"{place} does not exist (--{name}).")
        for name in ("model_name_or_path", "encoder"):
            place = getattr(given, name, None) or ""
            if place == EMOTIONS or "/" in place:  # other short names are known elsewhere
                named_model(place)
        return _train(words, prog, recognition)

    return run_guarded(work)


def _train(words: Sequence[str], prog: str, recognition: bool) -> int:
    from speech_emotion.training.callbacks import EXIT_CODE
    from speech_emotion.training.command_line import parse_arguments, parse_ctc_arguments
    from speech_emotion.training.run import run_training

    parse, summary = (parse_ctc_arguments, summary_deepspeech) if recognition else (parse_arguments, summary_emotions)
    task, training = parse(words, prog)
    result = run_training(task, training)
    if result.stopped:
        if training.process_index == 0:
            say(f"Stopped by SIGTERM. Go on with --resume_from_checkpoint true --output_dir {result.output_dir}")
        return EXIT_CODE
    if training.process_index == 0:
        say(f"\n{summary(result.report)}\n\nSaved in {result.output_dir}")
    return 0


def summary_emotions(report: "RunReport") -> str:
    """Write the figures of a training as tables."""
    import numpy as np

    from speech_emotion.evaluation import confusion_table, text_table

    rows, shown = [], report.measured
    before = (
        "Nobody is left to test a model of all speakers. Figures of the run before it:\n\n" if report.validated else ""
    )
    if report.ranges:
        for name, part in (("validation", shown.validation), ("test", shown.test)):
            figures = (f"{value:.3f}" for value in part.metrics.values())
            rows.append([name, ", ".join(part.speakers), part.clips, *figures])
        names = [f"CCC {name}" for name in report.labels]
        return before + text_table(["split", "speakers", "clips", "mean CCC", *names], rows)
    chance = 1 / len(report.labels)
    for name, part in (("validation", shown.validation), ("test", shown.test)):
        largest = np.sum(part.confusion, axis=1).max() / part.clips
        figures = (part.metrics["wa"], largest, part.metrics["ua"], chance, part.metrics["macro_f1"])
        rows.append([name, ", ".join(part.speakers), part.clips, *(f"{100 * figure:.1f}%" for figure in figures)])
    header = ["split", "speakers", "clips", "WA", "largest class", "UA", "chance UA", "macro F1"]
    return f"{before}{text_table(header, rows)}\n\n{confusion_table(np.array(shown.test.confusion), report.labels)}"


def summary_deepspeech(report: "RecognitionReport") -> str:
    """Write the figures of a recognizer's training, and some transcripts, as tables."""
    from speech_emotion.evaluation import text_table

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
