"""`ser figures`: draw a clip's attention, or what finished runs gave."""

import argparse
from pathlib import Path

from speech_emotion.files import write_json
from speech_emotion.inference.saved_model import load_saved, named_model
from speech_emotion.terminal import CommandParser


def get_parser(prog: str = "ser figures") -> CommandParser:
    """Return the parser of `ser figures`."""
    parser = CommandParser(prog=prog, description="Figures of models and of finished runs.")
    kinds = parser.add_subparsers(dest="figure", required=True, metavar="{attention,results}")

    attention = kinds.add_parser("attention", help="what each head of a model looks at in one clip")
    attention.add_argument("--model", required=True, help="folder of a saved model, or its id on the Hub")
    attention.add_argument("--revision", help="commit of the model on the Hub")
    attention.add_argument("--file", required=True, help="audio file")
    attention.add_argument("--output", default="attention.png", help="figure, .png or .svg (default: attention.png)")
    attention.set_defaults(run=draw_attention)

    results = kinds.add_parser(
        "results", help="confusion matrices, reliability, learning curves and UA of all systems"
    )
    results.add_argument("--results", default="outputs/folds", help="folder of scores (default: outputs/folds)")
    results.add_argument("--corpus", help="the one wanted (default: all)")
    results.add_argument("--output", default="figures", help="folder of the figures (default: figures)")
    results.add_argument("--format", choices=["png", "svg"], nargs="+", default=["png"])
    results.set_defaults(run=draw_results)
    return parser


def draw_attention(args: argparse.Namespace) -> list[Path]:
    """Draw a clip's attention and write its numbers beside the figure."""
    if not Path(args.file).exists():
        raise FileNotFoundError(f"There is no file {args.file}.")
    numbers_path = Path(args.output).with_suffix(".json")
    if numbers_path.is_file() and "attention_received" not in numbers_path.read_text("utf-8", errors="replace"):
        raise FileExistsError(f"{numbers_path} is something else than a figure's numbers; give --output another name.")
    args.model = named_model(args.model)
    from speech_emotion.evaluation.figures import figure_style, save_figure
    from speech_emotion.inference.clip_attention import clip_attention, draw_clip_attention

    with figure_style():  # before the work, not after it: figures need matplotlib
        pass
    found = clip_attention(*load_saved(args.model, args.revision), args.file)
    path = save_figure(draw_clip_attention(found, Path(args.file).name), args.output)
    numbers = {
        "file": Path(args.file).name,
        "scores": found.scores,
        "times": found.times.tolist(),
        "attention_received": dict(zip(found.head_names, found.received.tolist(), strict=True)),
    }
    return [path, write_json(path.with_suffix(".json"), numbers)]


def draw_results(args: argparse.Namespace) -> list[Path]:
    """Draw what finished runs gave."""
    if not Path(args.results).is_dir():
        raise FileNotFoundError(
            f"There is no folder {args.results} of scores (--results); cross_validate.py writes one."
        )
    from speech_emotion.cross_validation.result_figures import draw_results as draw

    drawn = draw(args.results, args.output, args.corpus, [f".{ending}" for ending in args.format])
    if not drawn:
        raise ValueError(
            f"No system in {args.results} has a complete seed yet, and of others there are no figures. Compute the "
            "folds that are missing: cross_validate.py with the same words goes on."
        )
    return drawn
