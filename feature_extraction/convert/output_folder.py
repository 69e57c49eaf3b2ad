"""The folder that a converter writes: whole or not at all, and never in place of something else."""

import ctypes
import errno
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

# Of a run's own folder, beside the one that it is to become.
SUFFIX, LOCK, NEW, OLD = ".partial", "lock", "new", "old"
HERE, NOREPLACE, EXCHANGE = -100, 1, 2  # arguments of Linux's renameat2


class Part(Protocol):
    """A model, a feature extractor, a tokenizer or a configuration of transformers."""

    def save_pretrained(self, save_directory: str | Path) -> object:
        """Write the files of this part into a folder."""


def write_folder(output_dir: Path, parts: Iterable[Part], overwrite: bool, model_type: str) -> Path:
    """Write a model and what belongs to it; with `overwrite` in place of a model that is there."""
    from ..encoder_files import writing  # here, as it needs torch

    output_dir.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that it can be moved there in one step.
    work = Path(tempfile.mkdtemp(prefix=f".{output_dir.name}.", suffix=SUFFIX, dir=output_dir.parent))
    try:
        with FileLock(work / LOCK):  # which says that this run is alive
            new = work / NEW
            try:
                with writing(new):
                    for part in parts:
                        part.save_pretrained(new)
            except OSError as error:
                raise OSError(f"{output_dir} could not be written: {error}") from error
            check_output(output_dir, overwrite, model_type)  # once more: the work may have taken minutes
            if overwrite and output_dir.exists():
                _exchange(new, output_dir, work / OLD)
            elif _rename(new, output_dir, NOREPLACE) not in (0, None):
                raise FileExistsError(
                    f"{output_dir}: appeared while the model was converted, and is left as it is; give another folder."
                )
            elif new.exists():  # a system that cannot be told not to replace
                new.rename(output_dir)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return output_dir


def _exchange(new: Path, place: Path, old: Path) -> None:
    """Put a folder in the place of another one, in one step where the system can do it."""
    if _rename(new, place, EXCHANGE) == 0:
        return
    place.rename(old)  # killed after this, the next run brings it back
    try:
        new.rename(place)
    except OSError:
        old.rename(place)
        raise


def _rename(source: Path, target: Path, how: int) -> int | None:
    """Rename as only Linux can; 0, or the error's number, or None where this cannot be done."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return None
    done = rename(HERE, os.fsencode(source), HERE, os.fsencode(target), how)
    number = ctypes.get_errno() if done else 0
    return None if number in (errno.ENOSYS, errno.EINVAL) else number


def _clear_killed_runs(output_dir: Path) -> None:
    """Remove what runs that were killed have left beside a folder, after bringing back what they had moved away."""
    for work in output_dir.parent.glob(f".{glob.escape(output_dir.name)}.*{SUFFIX}"):
        if not (work / LOCK).is_file():
            continue
        try:
            with FileLock(work / LOCK, timeout=0):
                if (work / OLD).exists() and not output_dir.exists():
                    (work / OLD).rename(output_dir)
                shutil.rmtree(work, ignore_errors=True)
        except Timeout:  # a run that is alive
            continue


def check_output(output_dir: Path, overwrite: bool, model_type: str) -> None:
    """Check, before the work, that a folder is free, or holds a model of this type that is to be replaced.

    What killed runs have left beside it is cleared first.
    """
    _clear_killed_runs(output_dir)
    if not output_dir.exists() and not output_dir.is_symlink():
        return
    if not overwrite:
        mend = "pass overwrite=True (ser convert: -f) to replace the model in it"
        raise FileExistsError(f"{output_dir}: exists already; {mend}.")
    if output_dir.is_symlink() or not output_dir.is_dir():
        raise FileExistsError(f"{output_dir}: is not a folder; give another one.")
    strangers = sorted(path.name for path in output_dir.iterdir() if path.is_dir() or not _is_ours(path))
    if strangers or (any(output_dir.iterdir()) and not _is_model(output_dir / "config.json", model_type)):
        what = f" ({', '.join(strangers[:3])})" if strangers else ""
        raise FileExistsError(
            f"{output_dir}: holds something else than a converted model{what} and is not replaced; give another one."
        )


def _is_ours(path: Path) -> bool:
    """Whether a file is of a kind that a converted model consists of."""
    return path.suffix in (".json", ".safetensors", ".py", ".md", ".txt") or path.name.startswith(".git")


def _is_model(config: Path, model_type: str) -> bool:
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return False
    return kind == model_type
