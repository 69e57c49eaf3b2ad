"""`ser export onnx`: a saved model in; a file out that needs neither torch nor this library."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from speech_emotion.extras import check_extra
from speech_emotion.files import check_writable
from speech_emotion.inference.saved_model import load_saved, named_model
from speech_emotion.pretrained.shipped_model import EMOTIONS, LICENSE
from speech_emotion.terminal import CommandParser, quiet_unless_terminal


def get_parser(prog: str = "ser export") -> CommandParser:
    """Return the parser of `ser export`."""
    parser = CommandParser(
        prog=prog,
        description="Write a model with its feature extractor as one graph: waveforms of at most 30 s and their "
        "lengths in, scores out. It is compared with the model on clips of noise, and kept only if no score differs "
        "by more than 1e-5 (1e-4 where features are rounded to float16, as in the recommended recipe). Needs the "
        "extra onnx.",
    )
    parser.add_argument("format", choices=("onnx",), help="the only one")
    parser.add_argument(
        "model",
        nargs="?",
        default=EMOTIONS,
        help="folder of a saved model, or its id on the Hub (default: the one that comes along)",
    )
    parser.add_argument("--revision", help="commit of the model on the Hub")
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="file to write, or a folder, where it is model.onnx"
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="store large weights in a byte each: a smaller file, no faster, whose scores are a little different",
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> Iterator[str]:
    """Export, and tell how well."""
    file = Path(args.output)
    file = file / "model.onnx" if file.is_dir() else file
    if file.suffix.lower() != ".onnx":
        raise ValueError(f"--output {args.output}: give a file that ends in .onnx, or a folder that is there.")
    check_writable(file)
    check_extra("onnx", "Exporting", "onnx", "onnxruntime", "onnxscript")
    # What the model that comes along may be used for goes with the file.
    notes = {"license": LICENSE} if args.model == EMOTIONS else {}
    model = named_model(args.model)
    quiet_unless_terminal()
    from speech_emotion.inference.onnx_export import export_onnx

    difference = export_onnx(*load_saved(model, args.revision), file, notes, args.int8)
    yield (
        f"{file}: {file.stat().st_size / 1e6:.1f} MB; its scores of clips of noise differ from torch's by at most "
        f"{difference:.1e}. ser predict --runtime onnx --model {file}"
    )
