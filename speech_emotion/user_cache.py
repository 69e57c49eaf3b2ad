"""What the library keeps on a user's disk: found, measured and removed, and nothing but what it wrote itself.

Fetched weights lie in `ser_weights` of Hugging Face's home folder, fetched corpora in `ser_corpora` of the cache of
datasets, and tables of corpora, with the features that were computed of them, beside those of other data sets there.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from dataset_scripts.registry import CLASSES

# Columns that rows of speech have here, and that no other data set has all of.
_COLUMNS = {"id", "label", "label4", "native_label", "speaker", "sex", "sentence", "transcript", "kind", "language"}
_DIGEST = "[0-9a-f]{12}"


@dataclass
class Entry:
    """One thing that is kept: of what kind it is, its name, and all that belongs to it on the disk."""

    kind: str  # "weights", "corpus", "tables" or "streamed"
    name: str
    path: Path  # where it lies
    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)  # removed where nothing is left in them, in this order
    lock: Path | None = None  # held by who is making it

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.lstat().st_size for file in self.files if file.exists())

    @property
    def last_written(self) -> float:
        """Time, in seconds since 1970, at which its last file was written."""
        return max((file.lstat().st_mtime for file in self.files if file.exists()), default=0.0)


def cache_folders(cache_dir: str | os.PathLike[str] | None = None) -> tuple[Path, Path]:
    """Return the folders of weights and of corpora, as Hugging Face's libraries say, whose import would take long."""
    import huggingface_hub.constants

    home = Path(huggingface_hub.constants.HF_HOME)
    corpora = Path(cache_dir or os.environ.get("HF_DATASETS_CACHE") or home / "datasets").expanduser()
    return home / "ser_weights", corpora


def find_entries(cache_dir: str | os.PathLike[str] | None = None) -> list[Entry]:
    """Find all that is kept.

    Args:
        cache_dir: The folder of corpora, where a training was given one; else that of datasets.

    Returns:
        Entries by kind and name; those of one corpus are one entry, whose path is the folder above them.

    Example:
        >>> find_entries("/no/such/folder/anywhere")[:0]
        []
    """
    weights, corpora = cache_folders(cache_dir)
    entries = [
        _fetched("weights", folder.name, folder, [folder.parent, weights])
        for parent in _subfolders(weights, _DIGEST)
        for folder in _made_or_begun(parent, ".+")
    ]
    fetched = corpora / "ser_corpora" if cache_dir is None else corpora
    for folder in _made_or_begun(fetched, rf"({'|'.join(CLASSES)})-{_DIGEST}"):
        above = [fetched] if cache_dir is None else []
        entries.append(_fetched("corpus", folder.name.rpartition("-")[0], folder, above))
    built: dict[tuple[str, str], Entry] = {}
    for folder, kind, name in _built(corpora):
        entry = built.setdefault((kind, name), Entry(kind, name, corpora / name))
        locks = [folder.with_name(f"{folder.name}{end}") for end in ("_builder.lock", ".incomplete_info.lock")]
        locks.append(corpora / f"{str(folder).replace(os.sep, '_')}.lock")
        entry.files += [*_plain_files(folder, r".*\.arrow|dataset_info\.json|LICENSE"), *filter(Path.is_file, locks)]
        while folder != corpora:
            entry.folders.append(folder)
            folder = folder.parent
    found = [entry for entry in (*entries, *built.values()) if entry.files]
    return sorted(found, key=lambda entry: (entry.kind, entry.name, entry.path))


def choose_entries(entries: Sequence[Entry], names: Sequence[str]) -> list[Entry]:
    """Choose entries by name or by kind; all of them where none is named."""
    known = {word for entry in entries for word in (entry.kind, entry.name)}
    for name in names:
        if name not in known:
            raise ValueError(
                f"nothing called {name} is kept; there is {', '.join(sorted(known)) or 'nothing at all'}."
            )
    return [entry for entry in entries if not names or {entry.kind, entry.name} & set(names)]


def remove(entry: Entry) -> list[Path]:
    """Remove what belongs to an entry; returns its folders that stay, since something else is in them.

    Raises:
        RuntimeError: Another process is making it.
    """
    if entry.lock is None:
        return _remove(entry)
    try:
        with FileLock(entry.lock, timeout=0):
            _remove(entry)
            entry.lock.unlink(missing_ok=True)
    except Timeout:
        raise RuntimeError(f"{entry.name} is being fetched by another process; try again when it is done.") from None
    return _remove(entry)  # the lock was in one of its folders


def _remove(entry: Entry) -> list[Path]:
    """Remove files, and the folders that are empty then; returns those of the entry's own that are not."""
    for file in entry.files:
        file.unlink(missing_ok=True)
    left = [folder for folder in entry.folders if not _remove_empty(folder)]
    return sorted({folder for folder in left if folder.is_relative_to(entry.path)})


def _remove_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _subfolders(folder: Path, pattern: str) -> list[Path]:
    """List the real folders in a folder whose names match; links lead to what is somebody else's."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if re.fullmatch(pattern, path.name) and path.is_dir() and not path.is_symlink()
    )


def _made_or_begun(parent: Path, pattern: str) -> list[Path]:
    """List the folders that were fetched into a folder, those included that a killed process left unfinished."""
    names = [path.name for path in _subfolders(parent, ".*")]
    names = [re.sub(r"\.(.*)-[a-z0-9_]{8}", r"\1", name) for name in names]
    return [parent / name for name in sorted(set(names)) if re.fullmatch(pattern, name) and name[0] != "."]


def _plain_files(folder: Path, pattern: str) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if re.fullmatch(pattern, path.name) and path.is_file() and not path.is_symlink()
    )


def _fetched(kind: str, name: str, folder: Path, above: list[Path]) -> Entry:
    """Gather what `dataset_scripts.package_fetch` made, and what a process that was killed left of it."""
    entry = Entry(kind, name, folder, lock=folder.with_name(f"{folder.name}.lock"))
    for top in (folder, *_subfolders(folder.parent, rf"\.{re.escape(folder.name)}-.*")):
        for parent, _, names in os.walk(top, topdown=False):
            entry.files += [file for name in names if not (file := Path(parent, name)).is_symlink()]
            entry.folders.append(Path(parent))
    entry.folders += above
    return entry


def _built(corpora: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield each folder in which datasets keeps a table of ours: the folder, its kind, and the corpus's name."""
    for told in sorted([*corpora.glob("*/*/*/dataset_info.json"), *corpora.glob("*/*/*/*/dataset_info.json")]):
        try:
            about = json.loads(told.read_text(encoding="utf-8"))
            columns, name = set(about["features"]), about["builder_name"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not ours, or not readable, and left alone
        if any(folder.is_symlink() for folder in (told, *told.parents) if folder.is_relative_to(corpora)):
            continue
        if not columns >= _COLUMNS or told.relative_to(corpora).parts[0] != name:
            continue
        if name in CLASSES:
            yield told.parent, "tables", name
        elif name == "generator" and "input_features" in columns:
            yield told.parent, "streamed", name
