"""`python -m reproduction`: compute the paper's comparisons, run its studies, write the pages of results."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from speech_emotion.cli.command import run_command
from speech_emotion.terminal import CommandParser

from .plan import NEW_FOLDS, run_heads, run_plan
from .studies.command import add_studies


def get_parser() -> CommandParser:
    """Return the parser of the command."""
    parser = CommandParser(prog="python -m reproduction", description="The paper's comparisons, studies and claims.")
    parts = parser.add_subparsers(dest="part", required=True, metavar="{run,heads,layers,transfer,transcripts,report}")

    run = parts.add_parser("run", help="compute the folds of plan.toml that are missing (a day, on 2 cores)")
    run.add_argument("--conditions", nargs="+", metavar="NAME", help="only these conditions of the plan")
    run.add_argument("--systems", nargs="+", metavar="NAME", help="only these systems of the plan")
    run.add_argument("--results", type=Path, default=Path("results"), help="folder of packed folds (default: results)")
    run.add_argument("--folds", type=Path, default=NEW_FOLDS, help=f"folder of new folds (default: {NEW_FOLDS})")
    run.add_argument("--data_dir", help="folder of folders of corpora (default: usual places)")
    run.add_argument("--cache_dir", help="folder of built corpora and features (default: that of datasets)")
    run.add_argument("--workers", type=int, default=1, help="processes that compute folds side by side (default: 1)")
    run.add_argument("--device", default="cpu", help="where to compute (default: cpu)")
    run.set_defaults(run=run_plan)

    add_studies(parts)
    parts.choices["heads"].set_defaults(run=run_heads)

    report = parts.add_parser("report", help="write pages and tables, and the README's table, from the scores")
    report.add_argument("--results", type=Path, default=Path("results"), help="folder of scores and studies")
    report.add_argument(
        "--pack",
        type=Path,
        nargs="?",
        const=NEW_FOLDS,
        metavar="FOLDER",
        help=f"first move new folds to the others (default: those in {NEW_FOLDS})",
    )
    report.add_argument("--tables", type=Path, metavar="FOLDER", help="where to (default: the folder of scores)")
    report.add_argument("--readme", type=Path, metavar="FILE", help="fill the region “results” of this file too")
    report.set_defaults(run=_report)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a part of the command and return its exit code."""
    return run_command(get_parser(), argv)


def _report(args: argparse.Namespace) -> Iterable[Path]:
    if not args.results.is_dir():
        raise FileNotFoundError(f"There is no folder {args.results}.")
    from .report import run_report

    return run_report(args)


if __name__ == "__main__":
    sys.exit(main())
