"""The command `ser`: each part is imported when it is asked for, so that `ser --help` is quick."""

import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from speech_emotion.terminal import CommandParser

from .command import run_command

# Name of a part → what makes its parser (which knows what to run), or runs it from its words; and what it does.
PARTS: dict[str, tuple[str, str]] = {
    "train": ("speech_emotion.cli.train:main", "train a model on a corpus"),
    "cross-validate": ("speech_emotion.cli.cross_validate:get_parser", "compare systems on all folds of corpora"),
    "report": ("speech_emotion.cli.report:get_parser", "write tables of finished runs; fill model cards with them"),
    "predict": ("speech_emotion.cli.predict:get_parser", "print emotions and scores of audio files"),
    "explain": ("speech_emotion.cli.explain:get_parser", "show what in a recording made a model give it its label"),
    "listen": ("speech_emotion.cli.listen:get_parser", "print emotions of a microphone or a pipe while it is heard"),
    "serve": ("speech_emotion.cli.serve:get_parser", "put a model behind an address, for programs elsewhere"),
    "robustness": ("speech_emotion.cli.robustness:get_parser", "count labels that gain, coding, noise and so on flip"),
    "corpus": ("dataset_scripts.command:get_parser", "list, describe, check, fold, export and share corpora"),
    "convert": ("feature_extraction.convert.command:get_parser", "convert a DeepSpeech, Coqui STT or Whisper model"),
    "export": ("speech_emotion.cli.export:get_parser", "write a model as an ONNX graph, its feature extractor inside"),
    "cache": ("speech_emotion.cli.cache:get_parser", "show, clear or fill what the library keeps on this disk"),
    "checkpoint": (
        "speech_emotion.cli.checkpoint:get_parser",
        "train the model that comes along anew, and measure it",
    ),
    "figures": ("speech_emotion.cli.figures:get_parser", "draw what finished runs gave"),
    "demo": ("speech_emotion.cli.demo:get_parser", "train on real speech, then classify an unseen speaker's files"),
}


def get_parser() -> CommandParser:
    """Return the parser of `ser` itself; parts parse their own words."""
    parser = CommandParser(prog="ser", description="Speech emotion recognition.")
    parser.add_argument("--version", action="version", version=f"modeling-ser {installed_version()}")
    parts = parser.add_subparsers(dest="part", required=True, metavar=f"{{{','.join(PARTS)}}}")
    for name, (_, what) in PARTS.items():
        parts.add_parser(name, help=what, add_help=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a part of the command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in PARTS:
        get_parser().parse_args(words)  # help, version, or an error
    name, *words = words
    module, _, function = PARTS[name][0].partition(":")
    start = getattr(importlib.import_module(module), function)
    if function == "main":
        return start(words, prog=f"ser {name}")
    return run_command(start(prog=f"ser {name}"), words)


def installed_version() -> str:
    """Return the version of this library, or that it runs from a checkout."""
    try:
        return version("modeling-ser")
    except PackageNotFoundError:
        return "(a checkout that is not installed)"
