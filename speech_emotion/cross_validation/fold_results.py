"""Finished folds on disk: found, checked against what is asked for, held by one process at a time."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from speech_emotion.cross_validation.score_store import FoldKey, FoldScores
from speech_emotion.training.run_record import differences, switched_on

LOCKS = ".locks"
# Hashes among the settings of a fold, and what other ones mean.
DIGESTS = {"fold": "its splits have other clips, speakers or labels", "audio": "its clips are other recordings"}


def find_finished(key: FoldKey, results: str | Path, settings: Mapping[str, Any]) -> FoldScores | None:
    """Read the scores of a fold, if it is finished."""
    path = key.path(results)
    if not path.is_file():
        return None
    try:
        scores = FoldScores.load(path)
    except (ValueError, OSError) as error:
        warnings.warn(f"{path} is damaged and is computed again: {error}", stacklevel=2)
        return None
    made_with = scores.about.get("settings")
    if isinstance(made_with, Mapping) and "audio" not in made_with:
        settings = {name: value for name, value in settings.items() if name != "audio"}
    changes = list(_changes(made_with, settings))
    if changes:
        raise ValueError(
            f"{path} was made with something else than is asked for: {'; '.join(changes)}. Compute it anew with "
            "--overwrite, or choose another folder with --results."
        )
    return scores


def _changes(found: object, asked: Mapping[str, Any]) -> Iterator[str]:
    """Say where settings of a fold differ; hashes would tell nobody anything."""
    if not isinstance(found, Mapping):
        yield from differences(found, asked)
        return
    for name, meaning in DIGESTS.items():
        if found.get(name) != asked.get(name):
            yield meaning
    rest = [{name: value for name, value in side.items() if name not in DIGESTS} for side in (found, asked)]
    yield from differences(*rest)


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


__all__ = ["differences", "find_finished", "sole_computation", "switched_on"]
