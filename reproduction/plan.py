"""What is computed for the tables, read from `plan.toml`: it is run from there, and pages print it from there."""

import argparse
import itertools
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

PLAN_FILE = Path(__file__).with_name("plan.toml")
NEW_FOLDS = Path("outputs/reproduction")
HEAD_MODELS = "outputs/heads/{corpus}/seed-{seed}_fold-{fold}"


@dataclass(frozen=True)
class Run:
    """Some systems on some conditions, all trained with the same settings."""

    conditions: tuple[str, ...]
    systems: tuple[str, ...]
    settings: dict[str, Any]  # fields of train.py that differ from a system's own
    seeds: tuple[int, ...]  # those of the plan, but where it says less


@dataclass(frozen=True)
class PaperPlan:
    """All of `plan.toml`."""

    seeds: tuple[int, ...]
    threads: int  # of each fold
    runs: tuple[Run, ...]
    head_folds: dict[str, int]  # corpus → folds of the models whose heads are studied
    head_settings: dict[str, Any]
    readme_conditions: tuple[str, ...]  # what the README's table shows
    readme_systems: tuple[str, ...]

    def chosen(
        self, conditions: Collection[str] | None = None, systems: Collection[str] | None = None
    ) -> Iterator[Run]:
        """Yield the runs of some conditions and systems, without the rest; `None` is for all."""
        for run in self.runs:
            of_conditions = tuple(name for name in run.conditions if conditions is None or name in conditions)
            of_systems = tuple(name for name in run.systems if systems is None or name in systems)
            if of_conditions and of_systems:
                yield replace(run, conditions=of_conditions, systems=of_systems)

    def recipes(self, condition: str) -> list[Run]:
        """Return the runs of a condition, those with the same settings and seeds as one."""
        joined: dict[str, Run] = {}
        for run in self.chosen([condition]):
            alike = repr((run.settings, run.seeds))
            before = joined[alike].systems if alike in joined else ()
            joined[alike] = replace(run, systems=before + run.systems)
        return list(joined.values())


@cache
def read_plan(path: Path = PLAN_FILE) -> PaperPlan:
    """Read what is computed."""
    plan = tomllib.loads(path.read_text(encoding="utf-8"))

    def settings(entry: dict[str, Any]) -> dict[str, Any]:
        return dict(plan["settings"][entry["settings"]]) if "settings" in entry else {}

    seeds = tuple(plan["seeds"])
    runs = tuple(
        Run(tuple(run["conditions"]), tuple(run["systems"]), settings(run), tuple(run.get("seeds", seeds)))
        for run in plan["runs"]
    )
    heads, readme = plan["heads"], plan["readme"]
    return PaperPlan(
        seeds,
        plan["threads"],
        runs,
        heads["folds"],
        settings(heads),
        tuple(readme["conditions"]),
        tuple(readme["systems"]),
    )


def run_plan(args: argparse.Namespace) -> Iterator[str]:
    """Compute the folds of the plan that no folder has; those that are finished cost nothing."""
    plan = read_plan()
    runs = list(plan.chosen(args.conditions, args.systems))
    if not runs:
        raise ValueError("plan.toml has none of these systems on any of these conditions.")

    from speech_emotion.cli.cross_validate import run_cross_validation
    from speech_emotion.cross_validation.plan import Plan

    from .claim_plan import read_claims
    from .conditions import get_condition
    from .systems import get_system

    for run in runs:
        part = Plan(
            conditions=tuple(map(get_condition, run.conditions)),
            systems=run.systems,
            seeds=run.seeds,
            results=args.folds,
            finished=(args.results,),
            data_dir=args.data_dir,
            cache_dir=args.cache_dir,
            device=args.device,
            overrides=run.settings,
            make_system=get_system,
        )
        run_cross_validation(part, args.workers, plan.threads, lambda name: read_claims().published.get(name, {}))
    if any(args.folds.glob("*/*/*.parquet")):
        yield f"New folds are in {args.folds}; `python -m reproduction report --pack` joins them to the others."


def run_heads(args: argparse.Namespace) -> Iterator[str]:
    """Drop each attention head of some models in turn, by default of the plan's, trained where they are not there."""
    from .studies.command import run_heads as study

    if (args.model is None) != (args.corpus is None):
        raise ValueError("--model and --corpus go together.")
    if args.model is not None:
        yield from study(args)
        return

    from speech_emotion.training import parse_arguments, run_training

    plan = read_plan()
    for corpus, folds in plan.head_folds.items():
        places = {"data_dir": args.data_dir and str(Path(args.data_dir, corpus)), "cache_dir": args.cache_dir}
        places = {name: folder for name, folder in places.items() if folder}
        models = []
        for seed, fold in itertools.product(plan.seeds, range(folds)):
            folder = HEAD_MODELS.format(corpus=corpus, seed=seed, fold=fold)
            options = {"corpus": corpus, "scheme": "k-fold", "num_folds": folds, "fold": fold, "seed": seed}
            options |= {"output_dir": folder, "overwrite_output_dir": "true", "use_cpu": "true", "preset": "paper"}
            options |= plan.head_settings | places
            if not Path(folder, "results.json").is_file():
                words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
                if run_training(*parse_arguments(words)).stopped:
                    raise KeyboardInterrupt(f"{folder} is not finished")
            models.append(folder)
        of_corpus = {"model": models, "corpus": corpus, "output_dir": str(Path(args.output_dir, corpus))}
        yield from study(argparse.Namespace(**vars(args) | places | of_corpus))
