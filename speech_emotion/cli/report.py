"""`ser report`: tables of finished runs, and the parts of README and model card that hold results."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from reproduction.readme_results import REGION, results_region
from speech_emotion.cross_validation.clip_lines import write_clip_lines
from speech_emotion.cross_validation.report import write_report
from speech_emotion.marked_region import read_region, write_region
from speech_emotion.option_spelling import spelled_as_known


def get_parser(prog: str = "ser report") -> argparse.ArgumentParser:
    """Return the parser of `ser report`."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Write the tables of finished runs from their score files, and fill texts with them."
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of scores (default: results)")
    parser.add_argument("--tables", type=Path, metavar="FOLDER", help="folder of the tables (default: that of scores)")
    parser.add_argument("--corpora", nargs="+", metavar="NAME", help="conditions to write tables of (default: all)")
    parser.add_argument("--scores-jsonl", type=Path, metavar="FILE", help="write each clip's scores as JSON lines too")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="fill the region “results” of this file")
    card = parser.add_argument_group("the card of a trained model")
    card.add_argument("--card", type=Path, metavar="RUN", help="folder of a run: show its recipe's cross-validation")
    card.add_argument("--system", help="the system that the run was trained as, such as model-1")
    card.add_argument("--corpus", help="the condition (default: the run's corpus)")
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "ser report") -> int:
    """Write tables, fill texts, and print the names of the files."""
    parser = get_parser(prog)
    args = parser.parse_args(spelled_as_known(parser, sys.argv[1:] if argv is None else argv))
    if (args.card is None) != (args.system is None):
        parser.error("--card and --system go together")
    if args.corpus is not None and args.card is None:
        parser.error("--corpus is of --card; the tables of some conditions are --corpora")
    of_tables = ("tables", "corpora", "scores_jsonl", "readme")
    ignored = [f"--{name.replace('_', '-')}" for name in of_tables if getattr(args, name) is not None]
    if args.card is not None and ignored:
        parser.error(f"--card writes nothing but the card; leave out {', '.join(ignored)}")
    try:
        for path in _run(args):
            print(path)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(args: argparse.Namespace) -> list[Path]:
    if args.card is not None:
        from speech_emotion.cross_validation.card_results import fill_card

        return [fill_card(args.card, args.results, args.system, args.corpus)]
    if args.readme is not None:
        read_region(args.readme, REGION)  # a file without marks is refused before anything is written
    tables = args.tables or args.results
    written = write_report(args.results, tables, args.corpora)
    if args.scores_jsonl is not None:
        written.append(write_clip_lines(args.results, args.scores_jsonl))
    if args.readme is not None:
        folder = Path(os.path.relpath(tables, args.readme.resolve().parent)).as_posix()
        written.append(write_region(args.readme, REGION, results_region(args.results, folder)))
    return written


__all__ = ["get_parser", "main"]
