"""The folder that a converter writes: whole or not at all, and never in place of something else."""

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol


class Part(Protocol):
    """A model, a feature extractor, a tokenizer or a configuration of transformers."""

    def save_pretrained(self, save_directory: str | Path) -> object:
        """Write the files of this part into a folder."""


def write_folder(output_dir: Path, parts: Iterable[Part]) -> Path:
    """Write a model and what belongs to it, in place of a model that is there."""
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that it can be moved there in one step.
    work = Path(tempfile.mkdtemp(prefix=f".{output_dir.name}.", dir=output_dir.parent))
    try:
        new = work / "new"
        for part in parts:
            part.save_pretrained(new)
        if output_dir.exists():
            output_dir.rename(work / "old")
        try:
            new.rename(output_dir)
        except OSError:
            if (work / "old").exists():
                (work / "old").rename(output_dir)
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return output_dir


def check_output(output_dir: Path, overwrite: bool, model_type: str) -> None:
    """Check, before the work, that a folder is free, or holds a model of this type that is to be replaced."""
    if not output_dir.exists() and not output_dir.is_symlink():
        return
    if not overwrite:
        raise FileExistsError(f"{output_dir}: exists already; pass overwrite=True to replace the model in it.")
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
