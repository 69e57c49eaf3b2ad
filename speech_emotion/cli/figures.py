"""`ser figures`: draw what finished runs gave."""

import argparse
from pathlib import Path

from speech_emotion.terminal import CommandParser


def get_parser(prog: str = "ser figures") -> CommandParser:
    """Return the parser of `ser figures`."""
    parser = CommandParser(prog=prog, description="Figures of finished runs.")
    kinds = parser.add_subparsers(dest="figure", required=True, metavar="{results}")

    results = kinds.add_parser(
        "results", help="confusion matrices, reliability, learning curves and UA of all systems"
    )
    results.add_argument("--results", default="outputs/folds", help="folder of scores (default: outputs/folds)")
    results.add_argument("--corpus", help="the one wanted (default: all)")
    results.add_argument("--output", default="figures", help="folder of the figures (default: figures)")
    results.add_argument("--format", choices=["png", "svg"], nargs="+", default=["png"])
    results.set_defaults(run=draw_results)
    return parser


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
