"""`ser report`: tables of finished runs, and the part of a model card that holds results."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from speech_emotion.terminal import CommandParser


def get_parser(prog: str = "ser report") -> CommandParser:
    """Return the parser of `ser report`."""
    parser = CommandParser(prog=prog, description="Write the tables of finished runs from their scores.")
    parser.add_argument(
        "--results",
        nargs="+",
        type=Path,
        default=[Path("outputs/folds")],
        metavar="FOLDER",
        help="folders of scores; of a fold that several have, the first counts (default: outputs/folds)",
    )
    parser.add_argument("--tables", type=Path, metavar="FOLDER", help="folder of the tables (default: that of scores)")
    parser.add_argument("--corpora", nargs="+", metavar="NAME", help="conditions to write tables of (default: all)")
    parser.add_argument("--scores-jsonl", type=Path, metavar="FILE", help="write each clip's scores as JSON lines too")
    parser.add_argument(
        "--pack",
        type=Path,
        metavar="FOLDER",
        help="first move finished folds into a file per condition here",
    )
    card = parser.add_argument_group("the card of a trained model")
    card.add_argument("--card", type=Path, metavar="RUN", help="folder of a run: show its recipe's cross-validation")
    card.add_argument("--system", help="the system that the run was trained as, such as model-1")
    card.add_argument("--corpus", help="the condition (default: the run's corpus)")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> Iterator[Path]:
    """Write tables, or fill a card, and yield the names of the files."""
    if (args.card is None) != (args.system is None):
        raise ValueError("--card and --system go together.")
    if args.corpus is not None and args.card is None:
        raise ValueError("--corpus is of --card; the tables of some conditions are --corpora.")
    of_tables = ("tables", "corpora", "scores_jsonl", "pack")
    ignored = [f"--{name.replace('_', '-')}" for name in of_tables if getattr(args, name) is not None]
    if args.card is not None and ignored:
        raise ValueError(f"--card writes nothing but the card; leave out {', '.join(ignored)}.")
    for folder in args.results:
        if not folder.is_dir():
            raise FileNotFoundError(
                f"There is no folder {folder} of scores (--results); cross_validate.py writes one."
            )
    if args.card is not None:
        from speech_emotion.cross_validation.card_results import fill_card

        yield fill_card(args.card, args.results, args.system, args.corpus)
        return
    from speech_emotion.cross_validation.report import Report
    from speech_emotion.cross_validation.score_store import pack, write_clip_lines

    results, tables = args.results, args.tables or args.results[0]
    if args.pack is not None:
        for folder in results:
            yield from pack(folder, args.pack, remove=True)
        results = [args.pack]
    yield from Report().write(results, tables, args.corpora)
    if args.scores_jsonl is not None:
        yield write_clip_lines(results, args.scores_jsonl)
