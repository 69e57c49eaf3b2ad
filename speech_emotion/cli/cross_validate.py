"""`ser cross-validate` and `cross_validate.py`: systems compared by cross-validation over speakers."""

import argparse
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_scripts import list_corpora
from dataset_scripts.folds import SCHEMES
from speech_emotion.cross_validation.system_names import CONTROL, GRAMMAR, SYSTEM_TITLES
from speech_emotion.terminal import CommandParser, say, whole_number

from .command import run_command

if TYPE_CHECKING:
    from speech_emotion.cross_validation.plan import Plan
    from speech_emotion.cross_validation.score_store import FoldScores

# From a condition to WA and UA of each system in a paper's table.
Published = Callable[[str], Mapping[str, tuple[float, float]]]

FINISHED = Path("results")  # where a checkout of this library has the folds of its own tables
CLIP_LINES = "results.jsonl"
EXAMPLES = """\
examples:
  python cross_validate.py --corpora emodb ravdess --systems model-1 model-1-ensemble --seeds 0 1 2 --workers 2
  python cross_validate.py --corpus iemocap --config improvised --data_dir IEMOCAP_full_release --systems model-1

The same command again goes on where a stopped one was, and several commands can share a folder of results.
"""


def get_parser(prog: str = "cross_validate.py") -> CommandParser:
    """Return the parser of the command."""
    parser = CommandParser(
        prog=prog,
        description="Compare systems by cross-validation over speakers.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what is compared")
    corpora = what.add_mutually_exclusive_group(required=True)
    corpora.add_argument("--corpora", nargs="+", metavar="NAME", help=f"corpora: {', '.join(list_corpora())}")
    corpora.add_argument("--corpus", help="one corpus, as of train.py, with --config and --labels")
    what.add_argument("--config", help="configuration of --corpus")
    what.add_argument("--labels", nargs="+", metavar="LABEL", help="emotions of --corpus to keep (default: all)")
    what.add_argument("--scheme", choices=SCHEMES, help="how speakers are divided (default: the corpus's own)")
    what.add_argument("--num_folds", type=int, help="number of folds of k-fold")
    what.add_argument("--systems", nargs="+", required=True, metavar="NAME", help=f"systems: {GRAMMAR}")
    what.add_argument("--seeds", nargs="+", type=whole_number(0), default=[0], metavar="N", help="seeds (default: 0)")
    what.add_argument("--folds", nargs="+", type=whole_number(0), metavar="N", help="folds, from 0 (default: all)")
    what.add_argument(
        "--encoder",
        help="encoder of systems that name none, as of train.py (default: deepspeech-small)",
    )
    what.add_argument(
        "--set", nargs="+", default=[], metavar="FIELD=VALUE", help="settings of the paper's models, as of train.py"
    )
    where = parser.add_argument_group("where")
    where.add_argument("--data_dir", help="folder of the corpus, or of folders of corpora (default: usual places)")
    where.add_argument("--cache_dir", help="folder of built corpora and features (default: that of datasets)")
    where.add_argument(
        "--results", type=Path, default=Path("outputs/folds"), help="folder of scores (default: outputs/folds)"
    )
    where.add_argument(
        "--finished",
        type=Path,
        nargs="*",
        metavar="FOLDER",
        help=f"further folders whose folds with the same settings count (default: {FINISHED}, where it is)",
    )
    where.add_argument(
        "--scores-jsonl",
        type=Path,
        metavar="FILE",
        help=f"each clip's scores (default: {CLIP_LINES} in the folder of scores)",
    )
    where.add_argument("--tables", type=Path, metavar="FOLDER", help="folder of the tables (default: that of scores)")
    where.add_argument("--no-figures", action="store_true", help="draw none into the folder figures of the tables")
    where.add_argument("--overwrite", action="store_true", help="compute finished folds anew")
    how = parser.add_argument_group("how")
    how.add_argument("--workers", type=int, default=1, help="processes that compute folds side by side (default: 1)")
    how.add_argument("--threads", type=int, help="threads of each (default: an even share of the cores)")
    how.add_argument("--device", help="for example cpu (default: a GPU where there is one)")
    parser.set_defaults(run=run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Compare as the command line says, and print what came out."""
    return run_command(get_parser(), argv)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Compute, write tables and figures, and yield what is to be told."""
    plan = make_plan(args)
    scores = run_cross_validation(plan, args.workers, args.threads)
    from speech_emotion.cross_validation.report import Report
    from speech_emotion.cross_validation.score_store import find_fold, write_clip_lines

    for fold in scores:  # the folder then holds all that is compared, and nothing with other settings
        if find_fold(fold.key, [plan.results]) is None:
            fold.save(plan.results)
    names = [condition.name for condition in plan.conditions]
    tables = args.tables or plan.results
    yield f"Wrote {write_clip_lines([plan.results], args.scores_jsonl or plan.results / CLIP_LINES, names)}"
    for path in Report().write(plan.results, tables, names):
        yield f"Wrote {path}"
    if not args.no_figures:
        yield from _draw(plan.results, tables / "figures", names)


def run_cross_validation(
    plan: "Plan", workers: int = 1, threads: int | None = None, published: Published | None = None
) -> "list[FoldScores]":
    """Compute what is not finished, and print the summary."""
    from speech_emotion.cross_validation.folds_run import cross_validate

    scores = cross_validate(plan, workers, threads)
    say(f"\n{summary(plan, scores, published)}\n\nThe scores are in {plan.where}")
    return scores


def make_plan(args: argparse.Namespace) -> "Plan":
    """Read a plan off the command line."""
    if args.corpora is not None and (args.config is not None or args.labels is not None):
        raise ValueError("--config and --labels are for one --corpus; --corpora have their own.")
    if args.data_dir is not None and not Path(args.data_dir).is_dir():
        raise FileNotFoundError(f"There is no folder {args.data_dir}.")
    if args.results.exists() and not args.results.is_dir():
        raise NotADirectoryError(f"--results {args.results} is a file; name a folder.")
    for folder in args.finished or ():
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {folder} (--finished).")
    for name in args.systems:
        if name.removesuffix(CONTROL) not in SYSTEM_TITLES:
            raise ValueError(f"There is no system {name!r}. Known ones: {GRAMMAR}.")
    from speech_emotion.cross_validation.corpus_conditions import get_condition, make_condition

    if args.corpora is not None:
        conditions = tuple(get_condition(name, args.scheme, args.num_folds) for name in args.corpora)
    else:
        labels = tuple(args.labels) if args.labels is not None else None
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
    import torch

    from speech_emotion.cross_validation.neural_system import parse_overrides
    from speech_emotion.cross_validation.plan import Plan

    finished = [FINISHED] if args.finished is None and FINISHED.is_dir() else args.finished or []
    return Plan(
        conditions=conditions,
        systems=tuple(args.systems),
        seeds=tuple(args.seeds),
        folds=None if args.folds is None else tuple(args.folds),
        results=args.results,
        finished=tuple(folder for folder in finished if folder.resolve() != args.results.resolve()),
        data_dir=args.data_dir,
        cache_dir=args.cache_dir,
        device=args.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        overwrite=args.overwrite,
        encoder=args.encoder,
        overrides=parse_overrides(args.set),
    )


def summary(plan: "Plan", scores: "Sequence[FoldScores]", published: Published | None = None) -> str:
    """Write WA and UA of each system on each condition, beside published ones where there are any."""
    import numpy as np

    from speech_emotion.evaluation import classification_metrics, text_table

    known = {one.name: published(one.name) for one in plan.conditions if published is not None}
    table = []
    for condition, system in itertools.product(plan.conditions, plan.systems):
        figures = []
        for seed in plan.seeds:
            whole = (condition.name, system, seed)
            folds = [one.select("test") for one in scores if (one.corpus, one.system, one.seed) == whole]
            truth, guesses = (np.concatenate([getattr(one, n) for one in folds]) for n in ("truth", "predictions"))
            figures.append(classification_metrics(truth, guesses, len(folds[0].labels)))
        means = [f"{100 * np.mean([one[name] for one in figures]):.1f}%" for name in ("wa", "ua")]
        row = [condition.name, system, len(folds), len(plan.seeds), *means]
        if any(known.values()):
            row += [f"{100 * value:.1f}%" for value in known[condition.name].get(system, ())] or ["–", "–"]
        table.append(row)
    header = ["corpus", "system", "folds", "seeds", "test WA", "test UA", "paper's WA", "paper's UA"]
    return text_table(header[: len(table[0])], table)


def _draw(results: Path, folder: Path, conditions: Sequence[str]) -> Iterator[str]:
    from speech_emotion.cross_validation.result_figures import draw_results

    try:
        drawn = [path for name in conditions for path in draw_results(results, folder, name)]
    except ModuleNotFoundError as error:  # scores and tables are whole without them
        yield f"No figures were drawn: {error}"
        return
    if drawn:
        yield f"Drew {sum(path.suffix != '.csv' for path in drawn)} figures into {folder}"
