"""The command `cross-validate`: parse, compute, print."""

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from dataset_scripts.fold_checks import SCHEMES
from reproduction.paper_figures import published_figures
from speech_emotion.command_parser import CommandParser
from speech_emotion.cross_validation.score_store import FoldScores
from speech_emotion.cross_validation.titles import CONTROL
from speech_emotion.evaluation import classification_metrics, text_table
from speech_emotion.progress import plain_warnings

from .clip_lines import NAME, write_clip_lines
from .conditions import Condition, get_condition, list_conditions, make_condition
from .fold_plan import Plan
from .folds_run import CrossValidation, Stopped, cross_validate
from .neural_arguments import parse_overrides
from .registry import COMPARED, WITH_ENCODER, list_systems
from .report import write_report
from .result_figures import draw_results
from .worker_pool import FoldError

CLASSES = ("truth", "predictions")
EXAMPLES = """\
examples:
  python cross_validate.py --corpora emodb ravdess --systems model-1 model-1-ensemble --seeds 0 1 2 --workers 2
  python cross_validate.py --corpus iemocap --config improvised --data_dir IEMOCAP_full_release --systems model-1

The same command again goes on where a stopped one was, and several commands can share a folder of results.
"""


def get_parser(prog: str = "cross_validate.py") -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = CommandParser(
        prog=prog,
        description="Compare systems by cross-validation over speakers.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what is compared")
    corpora = what.add_mutually_exclusive_group(required=True)
    corpora.add_argument(
        "--corpora", nargs="+", metavar="NAME", help=f"conditions: {', '.join(list_conditions())}; or any corpus"
    )
    corpora.add_argument("--corpus", help="one corpus, as of train.py, with --config and --labels")
    what.add_argument("--config", help="configuration of --corpus")
    what.add_argument("--labels", nargs="+", metavar="LABEL", help="emotions of --corpus to keep (default: all)")
    what.add_argument("--scheme", choices=SCHEMES, help="how speakers are divided (default: the condition's own)")
    what.add_argument("--num_folds", type=int, help="number of folds of k-fold")
    what.add_argument(
        "--systems",
        nargs="+",
        required=True,
        metavar="NAME",
        help=f"systems: {', '.join(list_systems())}; each also with -{CONTROL}, as a control that learns nothing",
    )
    what.add_argument("--seeds", nargs="+", type=_natural, default=[0], metavar="N", help="seeds (default: 0)")
    what.add_argument("--folds", nargs="+", type=_natural, metavar="N", help="folds, from 0 (default: all)")
    what.add_argument("--encoder", help="folder or Hub id of the encoder of deepspeech (default: the one that ships)")
    what.add_argument(
        "--set", nargs="+", default=[], metavar="FIELD=VALUE", help="settings of the paper's models, as of train.py"
    )
    where = parser.add_argument_group("where")
    where.add_argument("--data_dir", help="folder of the corpus, or of folders of corpora (default: usual places)")
    where.add_argument("--cache_dir", help="folder of built corpora and features (default: that of datasets)")
    where.add_argument("--results", type=Path, default=Path("results"), help="folder of scores (default: results)")
    where.add_argument(
        "--scores-jsonl",
        type=Path,
        metavar="FILE",
        help=f"each clip's scores (default: {NAME} in the folder of scores)",
    )
    where.add_argument("--tables", type=Path, metavar="FOLDER", help="folder of the tables (default: that of scores)")
    where.add_argument("--no-figures", action="store_true", help="draw none into the folder figures of the tables")
    where.add_argument("--overwrite", action="store_true", help="compute finished folds anew")
    how = parser.add_argument_group("how")
    how.add_argument("--workers", type=int, default=1, help="processes that compute folds side by side (default: 1)")
    how.add_argument("--threads", type=int, help="threads of each (default: an even share of the cores)")
    how.add_argument("--device", help="for example cpu (default: a GPU where there is one)")
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "cross_validate.py") -> int:
    """Compare as the command line says, and print what came out."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    plain_warnings()
    parser = get_parser(prog)
    args = parser.parse_args(argv)
    try:
        plan = make_plan(args)
        result = cross_validate(plan, args.workers, args.threads)
        if result.first:
            print(f"\n{summary(plan, result)}\n\nThe scores are in {plan.results}")
            print(f"Wrote {write_clip_lines(plan.results, args.scores_jsonl)}")
            names = [condition.name for condition in plan.conditions]
            tables = args.tables or plan.results
            for path in write_report(plan.results, tables, names):
                print(f"Wrote {path}")
            if not args.no_figures:
                _draw(plan.results, tables / "figures", names)
    except Stopped as stopped:
        print(f"{stopped}; the same command goes on with the folds that are not finished.", file=sys.stderr)
        return stopped.exit_code
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        logging.getLogger(__name__).debug("Where it happened:", exc_info=error)
        if isinstance(error, FoldError) and error.trace:  # whatever ended a fold, a mistake of ours too
            print(error.trace, file=sys.stderr)
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def make_plan(args: argparse.Namespace) -> Plan:
    """Read a plan off the command line."""
    if args.corpora is not None and (args.config is not None or args.labels is not None):
        raise ValueError("--config and --labels are for one --corpus; --corpora have their own.")
    labels = tuple(args.labels) if args.labels is not None else None
    conditions: tuple[Condition, ...]
    if args.corpora is not None:
        conditions = tuple(get_condition(name, args.scheme, args.num_folds) for name in args.corpora)
    else:
        conditions = (make_condition(args.corpus, args.config, labels, args.scheme, args.num_folds),)
    named = {
        "--corpora": [condition.name for condition in conditions],
        "--systems": args.systems,
        "--seeds": args.seeds,
        "--folds": args.folds or [],
    }
    for option, values in named.items():
        if len(set(values)) < len(values):
            raise ValueError(f"{option} names something twice: {' '.join(map(str, values))}.")
    _check_heeded(args)
    return Plan(
        conditions=conditions,
        systems=tuple(args.systems),
        seeds=tuple(args.seeds),
        folds=None if args.folds is None else tuple(args.folds),
        results=args.results,
        data_dir=args.data_dir,
        cache_dir=args.cache_dir,
        device=args.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        overwrite=args.overwrite,
        encoder=args.encoder,
        overrides=parse_overrides(args.set),
    )


def summary(plan: Plan, result: CrossValidation) -> str:
    """Write WA and UA of each system on each condition."""
    table = []
    published = {condition.name: published_figures(condition.name) for condition in plan.conditions}
    for condition in plan.conditions:
        for system in plan.systems:
            figures = []
            for seed in plan.seeds:
                whole = (condition.name, system, seed)
                keys = [key for key in result.keys if (key.condition, key.system, key.seed) == whole]
                folds = [FoldScores.load(key.path(plan.results)).select("test") for key in keys]
                truth, guesses = (np.concatenate([getattr(fold, name) for fold in folds]) for name in CLASSES)
                figures.append(classification_metrics(truth, guesses, len(folds[0].labels)))
            means = [f"{100 * np.mean([one[name] for one in figures]):.1f}%" for name in ("wa", "ua")]
            paper = [f"{100 * value:.1f}%" for value in published[condition.name].get(system, ())] or ["–", "–"]
            table.append([condition.name, system, len(keys), len(plan.seeds), *means, *paper])
    header = ["corpus", "system", "folds", "seeds", "test WA", "test UA", "paper's WA", "paper's UA"]
    if not any(published.values()):
        header, table = header[:-2], [row[:-2] for row in table]
    return text_table(header, table)


def _check_heeded(args: argparse.Namespace) -> None:
    """Refuse an option that no system heeds, and say which systems do not heed it."""
    heed = {"--set": (), "--encoder": WITH_ENCODER}
    for option, given in (("--set", bool(args.set)), ("--encoder", args.encoder is not None)):
        deaf = [name for name in args.systems if name in COMPARED and name not in heed[option]]
        if given and len(deaf) == len(args.systems):
            raise ValueError(f"{option} is for the paper's models; {', '.join(deaf)} would not heed it.")
        if given and deaf:
            warnings.warn(f"{option} is for the paper's models and not heeded by {', '.join(deaf)}.", stacklevel=2)


def _draw(results: Path, folder: Path, conditions: Sequence[str]) -> None:
    try:
        drawn = [path for name in conditions for path in draw_results(results, folder, name)]
    except ModuleNotFoundError as error:  # scores and tables are whole without them
        print(f"No figures were drawn: {error}")
        return
    if drawn:
        print(f"Drew {sum(path.suffix != '.csv' for path in drawn)} figures into {folder}")


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, not {text}")
    return int(text)


__all__ = ["get_parser", "main", "make_plan", "summary"]
