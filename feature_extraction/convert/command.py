"""The converter as a command: `ser convert output_graph.pbmm my-deepspeech`."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from .deepspeech import convert_deepspeech
from .whisper import convert_whisper, is_ctranslate2


def get_parser(prog: str = "ser convert") -> argparse.ArgumentParser:
    """Return the parser of the command's arguments, which knows its `run`."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Convert a model of Mozilla DeepSpeech 0.4 to 0.9, of Coqui STT, or a Whisper of CTranslate2 (as "
        "faster-whisper has it) for transformers. Files are told apart by content.",
    )
    parser.add_argument("source", help=".pb, .pbmm or .tflite file, or a checkpoint; or model.bin, or its folder")
    parser.add_argument("output_dir", help="folder to write")
    parser.add_argument("--version", help="release that the model is of, where the file does not tell, e.g. 0.4.1")
    parser.add_argument("--alphabet", help="alphabet.txt of the model, or 'english', where the file does not tell")
    parser.add_argument("-f", "--overwrite", action="store_true", help="replace a model that is in output_dir already")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> Iterable[Path]:
    """Convert, and return the folder that was written."""
    if is_ctranslate2(args.source):
        if args.version is not None or args.alphabet is not None:
            raise ValueError(f"{args.source} is a Whisper, which has no --version and no --alphabet; leave them out.")
        return [convert_whisper(args.source, args.output_dir, overwrite=args.overwrite)]
    folder = convert_deepspeech(
        args.source, args.output_dir, version=args.version, alphabet=args.alphabet, overwrite=args.overwrite
    )
    return [folder]
