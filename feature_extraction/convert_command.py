"""The converter as a command: `python -m feature_extraction.convert_command output_graph.pbmm my-deepspeech`."""

import argparse
import sys
from collections.abc import Sequence

from .convert_model import convert_deepspeech

PROGRAM = "python -m feature_extraction.convert_command"


def get_parser(prog: str = PROGRAM) -> argparse.ArgumentParser:
    """Return the parser of the command's arguments; `prog` is the program's name, for the help."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Convert a model of Mozilla DeepSpeech 0.4 to 0.9 or of Coqui STT for transformers.",
    )
    parser.add_argument("source", help=".pb, .pbmm or .tflite file, or a checkpoint (folder, prefix or .index file)")
    parser.add_argument("output_dir", help="folder to write")
    parser.add_argument("--version", help="release that the model is of, where the file does not tell, e.g. 0.4.1")
    parser.add_argument("--alphabet", help="alphabet.txt of the model, or 'english', where the file does not tell")
    parser.add_argument("-f", "--overwrite", action="store_true", help="replace a model that is in output_dir already")
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = PROGRAM) -> int:
    """Run the command."""
    options = vars(get_parser(prog).parse_args(arguments))
    try:
        folder = convert_deepspeech(options.pop("source"), options.pop("output_dir"), **options)
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
