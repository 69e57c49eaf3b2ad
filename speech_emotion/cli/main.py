"""The command `ser` and its parts. What a part needs is imported when it runs, so that `ser --help` is quick."""

import argparse
import sys
from collections.abc import Callable, Sequence

from speech_emotion.option_spelling import spelled_as_known


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of `ser`."""
    parser = argparse.ArgumentParser(prog="ser", description="Speech emotion recognition.")
    parts = parser.add_subparsers(
        dest="part", required=True, metavar="{train,cross-validate,report,predict,corpus,convert,demo,study,figures}"
    )

    for name, (_, what) in PASSED_ON.items():
        parts.add_parser(name, help=what, add_help=False)

    predict = parts.add_parser("predict", help="print emotions and scores of audio files")
    predict.add_argument("files", nargs="+", metavar="FILE", help="audio file, or folder of audio files")
    predict.add_argument("--model", required=True, help="folder of a saved model, or its id on the Hub")
    predict.add_argument("--revision", help="commit of the model on the Hub")
    predict.add_argument("--device", help="for example cuda:0 (default: a GPU where there is one)")
    predict.add_argument("--batch-size", type=_positive, default=8, help="clips at a time (default: 8)")
    predict.add_argument("--output", metavar="FILE.csv", help="write all scores as CSV instead of a table")
    predict.add_argument("--skip-bad", action="store_true", help="report files that cannot be used, and go on")
    predict.set_defaults(run=_predict)

    demo = parts.add_parser("demo", help="train on real speech, then classify an unseen speaker's files")
    demo.add_argument("--output_dir", default="outputs/demo", help="folder of the run (default: outputs/demo)")
    demo.add_argument("--seed", type=int, default=42, help="seed of the training (default: 42)")
    demo.add_argument("--data_dir", help="folder of the Polish corpus (default: fetched once)")
    demo.add_argument("--retrain", action="store_true", help="train again, even if an earlier demo did the same")
    demo.set_defaults(run=_demo)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in PASSED_ON:
        return PASSED_ON[words[0]][0](words[1:])
    parser = get_parser()
    args = parser.parse_args(spelled_as_known(parser, words))
    return args.run(args)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def _train(words: Sequence[str]) -> int:
    from speech_emotion.training.main import main as train

    return train(words, prog="ser train")


def _cross_validate(words: Sequence[str]) -> int:
    from speech_emotion.cross_validation.main import main as cross_validate

    return cross_validate(words, prog="ser cross-validate")


def _report(words: Sequence[str]) -> int:
    from .report import main as report

    return report(words)


def _corpus(words: Sequence[str]) -> int:
    from dataset_scripts.command import main as corpus

    return corpus(words, prog="ser corpus")


def _convert(words: Sequence[str]) -> int:
    from feature_extraction.convert_command import main as convert

    return convert(words, prog="ser convert")


def _study(words: Sequence[str]) -> int:
    from reproduction.studies.command import main as study

    return study(words)


def _figures(words: Sequence[str]) -> int:
    from .figures import main as figures

    return figures(words)


# Parts that parse their own words.
PASSED_ON: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "train": (_train, "train a model on a corpus (as train.py)"),
    "cross-validate": (_cross_validate, "compare systems on all folds of a corpus (as cross_validate.py)"),
    "report": (_report, "write tables of finished runs, and fill README and model cards with them"),
    "corpus": (_corpus, "list, describe, check, fold, export and share corpora"),
    "convert": (_convert, "convert a released DeepSpeech model"),
    "study": (_study, "study the layers of a DeepSpeech, or the heads of trained models"),
    "figures": (_figures, "draw a clip's attention, or what finished runs gave"),
}


def _predict(args: argparse.Namespace) -> int:
    from .predict import run

    return run(args)


def _demo(args: argparse.Namespace) -> int:
    from .demo import run

    return run(args)


__all__ = ["get_parser", "main"]
