"""`ser figures`: draw a clip's attention, or what finished runs gave."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from speech_emotion.cross_validation.result_figures import draw_results
from speech_emotion.evaluation.figures import FORMATS, figure_style, save_figure
from speech_emotion.files import write_json
from speech_emotion.inference.clip_attention import clip_attention, draw_clip_attention
from speech_emotion.inference.saved_model import load_saved

from .entry import run_part


def get_parser(prog: str = "ser figures") -> argparse.ArgumentParser:
    """Return the parser of `ser figures`."""
    parser = argparse.ArgumentParser(prog=prog, description="Figures of models and of finished runs.")
    kinds = parser.add_subparsers(dest="figure", required=True, metavar="{attention,results}")

    attention = kinds.add_parser("attention", help="what each head of a model looks at in one clip")
    attention.add_argument("--model", required=True, help="folder of a saved model, or its id on the Hub")
    attention.add_argument("--revision", help="commit of the model on the Hub")
    attention.add_argument("--file", required=True, help="audio file")
    attention.add_argument("--output", default="attention.png", help="figure, .png or .svg (default: attention.png)")
    attention.set_defaults(run=_attention)

    results = kinds.add_parser(
        "results", help="confusion matrices, reliability, learning curves and UA of all systems"
    )
    results.add_argument("--results", default="results", help="folder of results (default: results)")
    results.add_argument("--corpus", help="the one wanted (default: all)")
    results.add_argument("--output", default="figures", help="folder of the figures (default: figures)")
    results.add_argument("--format", choices=[ending[1:] for ending in FORMATS], nargs="+", default=["png"])
    results.set_defaults(run=_results)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "ser figures") -> int:
    """Draw figures, write them with their numbers, and print their names."""
    return run_part(get_parser(prog), argv)


def _attention(args: argparse.Namespace) -> list[Path]:
    with figure_style():  # before the work, not after it: figures need matplotlib
        pass
    _check_numbers(Path(args.output).with_suffix(".json"))
    model, extractor = load_saved(args.model, args.revision)
    found = clip_attention(model, extractor, args.file)
    path = save_figure(draw_clip_attention(found, Path(args.file).name), args.output)
    numbers = {
        "file": Path(args.file).name,
        "scores": found.scores,
        "times": found.times.tolist(),
        "attention_received": dict(zip(found.head_names, found.received.tolist(), strict=True)),
    }
    return [path, write_json(path.with_suffix(".json"), numbers)]


def _check_numbers(path: Path) -> None:
    """Refuse to replace a file of something else by the figure's numbers, which stand beside it."""
    if path.is_file() and "attention_received" not in path.read_text(encoding="utf-8", errors="replace"):
        raise FileExistsError(f"{path} is something else than a figure's numbers; give --output another name.")


def _results(args: argparse.Namespace) -> list[Path]:
    drawn = draw_results(args.results, args.output, args.corpus, [f".{ending}" for ending in args.format])
    if not drawn:
        raise ValueError(
            f"No system in {args.results} has a complete seed yet, and of others there are no figures. Compute the "
            "folds that are missing: cross_validate.py with the same words goes on."
        )
    return drawn


__all__ = ["get_parser", "main"]
