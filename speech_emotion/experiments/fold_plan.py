"""What a cross-validation is to compare, and what it tells of each fold."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .conditions import Condition
from .fold_results import FoldKey


@dataclass(frozen=True)
class Plan:
    """What is to be compared.

    Args:
        conditions: Corpora, or parts of them.
        systems: Names of systems.
        seeds: Seeds of the trainings.
        folds: Numbers of the folds; `None` for all.
        results: Folder of the results.
        data_dir: Folder of the corpus, or of folders of corpora; `None` for their usual places.
        cache_dir: Folder of built corpora and features; `None` for the cache of `datasets`.
        device: Where to compute.
        overwrite: Whether to compute finished folds anew.
        encoder: Folder or id on the Hub of the encoder of "deepspeech"; `None` for the one that ships.
        overrides: Fields of the paper's models and their training that differ from their defaults.
    """

    conditions: tuple[Condition, ...]
    systems: tuple[str, ...]
    seeds: tuple[int, ...]
    folds: tuple[int, ...] | None = None
    results: Path = Path("results")
    data_dir: str | None = None
    cache_dir: str | None = None
    device: str = "cpu"
    overwrite: bool = False
    encoder: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FoldReport:
    """What is told of a fold that was computed, or left to another process.

    Args:
        key: The fold.
        seconds: How long it took; `None` if it was not computed here.
        validation_ua: UA on the validation clips; `None` likewise.
        busy: Whether another process is computing it.
    """

    key: FoldKey
    seconds: float | None = None
    validation_ua: float | None = None
    busy: bool = False


__all__ = ["FoldReport", "Plan"]
