"""What a cross-validation is to compare, and what it tells of each fold."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .conditions import Condition
from .score_store import FoldKey


@dataclass(frozen=True)
class Plan:
    """What is to be compared."""

    conditions: tuple[Condition, ...]  # Corpora, or parts of them
    systems: tuple[str, ...]  # names of systems
    seeds: tuple[int, ...]  # seeds of the trainings
    folds: tuple[int, ...] | None = None  # numbers of the folds; `None` for all
    results: Path = Path("results")  # folder of the results
    data_dir: str | None = None  # folder of the corpus, or of folders of corpora; `None` for their usual places
    cache_dir: str | None = None  # folder of built corpora and features; `None` for the cache of `datasets`
    device: str = "cpu"  # where to compute
    overwrite: bool = False  # whether to compute finished folds anew
    encoder: str | None = None  # folder or id on the Hub of the encoder of "deepspeech"; `None` for the one that ships
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FoldReport:
    """What is told of a fold that was computed, or left to another process."""

    key: FoldKey  # the fold
    seconds: float | None = None  # how long it took; `None` if it was not computed here
    validation_ua: float | None = None  # UA on the validation clips; `None` likewise
    busy: bool = False  # whether another process is computing it


__all__ = ["FoldReport", "Plan"]
