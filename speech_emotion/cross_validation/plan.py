"""What a cross-validation is to compare, which of its folds are finished, and who computes which."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock

from speech_emotion.training.run_record import differences

from .corpus_conditions import CorpusCondition
from .score_store import FoldKey, FoldScores, find_fold
from .system import System
from .systems import get_system

LOCKS = ".locks"
# Hashes among the settings of a fold, and what other ones mean.
DIGESTS = {"fold": "its splits have other clips, speakers or labels", "audio": "its clips are other recordings"}


@dataclass(frozen=True)
class Plan:
    """What is to be compared."""

    conditions: tuple[CorpusCondition, ...]  # corpora, or parts of them
    systems: tuple[str, ...]  # names of systems, as `make_system` takes them
    seeds: tuple[int, ...]  # seeds of the trainings
    folds: tuple[int, ...] | None = None  # numbers of the folds; `None` for all
    results: Path = Path("outputs/folds")  # folder of the scores; new ones are written here
    finished: tuple[Path, ...] = ()  # further folders in which folds with the same settings are looked for
    data_dir: str | None = None  # folder of the corpus, or of folders of corpora; `None` for their usual places
    cache_dir: str | None = None  # folder of built corpora and features; `None` for the cache of `datasets`
    device: str = "cpu"  # where to compute
    overwrite: bool = False  # whether to compute finished folds anew
    encoder: str | None = None  # of systems that name none, as of train.py; `None`: the small DeepSpeech
    overrides: dict[str, Any] = field(default_factory=dict)  # settings of the paper's models, by field
    # From a name, `overrides` and `encoder` to a system. Workers are sent it: no lambda.
    make_system: Callable[[str, Mapping[str, Any], str | None], System] = get_system

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where scores are looked for, in this order."""
        return (self.results, *self.finished)

    @property
    def where(self) -> str:
        """The folders that are there, in words."""
        return " and ".join(str(folder) for folder in self.folders if folder.is_dir())


@dataclass(frozen=True)
class FoldReport:
    """What is told of a fold that was computed, or left to another process."""

    key: FoldKey
    seconds: float | None = None  # how long it took; `None` if it was not computed here
    validation_ua: float | None = None  # UA on the validation clips; `None` likewise
    busy: bool = False  # whether another process is computing it


def find_finished(key: FoldKey, plan: Plan, settings: Mapping[str, Any]) -> FoldScores | None:
    """Read the scores of a fold if it is finished.

    In the folder of the plan itself other settings than are asked for are refused, in others they are passed over.
    """
    for folder in plan.folders:
        scores = find_fold(key, [folder])
        changes = [] if scores is None else list(_changes(scores.about.get("settings"), settings))
        if changes and folder == plan.results:
            raise ValueError(
                f"{key} in {folder} was computed with something else than is asked for: {'; '.join(changes)}. Compute "
                "it anew with --overwrite, or choose another folder with --results."
            )
        if scores is not None and not changes:
            return scores
    return None


def _changes(found: object, asked: Mapping[str, Any]) -> Iterator[str]:
    """Say where settings of a fold differ; hashes would tell nobody anything."""
    if not isinstance(found, Mapping):
        yield from differences(found, asked)
        return
    if "audio" not in found:  # of before recordings were hashed
        asked = {name: value for name, value in asked.items() if name != "audio"}
    for name, meaning in DIGESTS.items():
        if found.get(name) != asked.get(name):
            yield meaning
    yield from differences(*({name: side[name] for name in side if name not in DIGESTS} for side in (found, asked)))


@contextmanager
def sole_computation(key: FoldKey, results: str | Path) -> Iterator[bool]:
    """Hold a fold for one process at a time, among all commands that share the folder."""
    folder = Path(results) / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    lock = filelock.FileLock(folder / f"{key.condition}_{key.system}_{key.seed}_{key.fold}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def check_heeded(plan: Plan, systems: Mapping[str, System]) -> None:
    """Refuse an option that no system of the plan heeds, and warn of systems that do not heed it."""
    for option, given in (("--set", bool(plan.overrides)), ("--encoder", plan.encoder is not None)):
        deaf = [name for name, system in systems.items() if option not in system.heeds]
        if given and len(deaf) == len(systems):
            raise ValueError(f"{option} is for the paper's models; {', '.join(deaf)} would not heed it.")
        if given and deaf:
            warnings.warn(f"{option} is for the paper's models and not heeded by {', '.join(deaf)}.", stacklevel=2)
