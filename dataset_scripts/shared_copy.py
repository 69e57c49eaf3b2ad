"""Copies of corpora that hold their audio, made by ``corpus_export``: a folder, or a data set on the Hub."""

import json
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datasets

FIELDS = ("description", "homepage", "license", "citation")
FACTS = "corpus.json"
"""Beside the Parquet files: what a corpus is, where it comes from, its licence and citation."""


def load_shared_copy(
    name: str, cache_dir: str | os.PathLike[str] | None = None, streaming: bool = False
) -> "datasets.Dataset | datasets.IterableDataset":
    """Load a copy of a corpus that ``export_corpus`` or ``push_corpus`` made."""
    folder = Path(name).expanduser()
    source, _, revision = (str(folder), "", "") if folder.is_dir() else name.partition("@")
    facts = folder / FACTS if folder.is_dir() else _fetch_facts(source, revision or None)
    about = _read_facts(facts, name)
    import datasets

    from .corpus_base import quiet_unless_terminal

    cache = None if cache_dir is None else str(cache_dir)
    with quiet_unless_terminal():
        rows = datasets.load_dataset(
            source, split="train", revision=revision or None, cache_dir=cache, streaming=streaming
        )
    if streaming:
        rows = rows.filter(partial(_holds_sound, name))
    else:
        import pyarrow.compute

        held = pyarrow.compute.struct_field(rows.data.column("audio"), "bytes").is_valid()
        if (first := held.index(False).as_py()) >= 0:
            _holds_sound(name, rows[first])
    for field in FIELDS:
        setattr(rows.info, field, about[field])
    return rows


def _holds_sound(name: str, row: Mapping[str, Any]) -> bool:
    """Refuse a row without sound: a path in a stranger's table may be one of this machine."""
    if (row["audio"] or {}).get("bytes") is None:
        raise ValueError(
            f"{name} holds no sound of its clip {row['id']!r}, only a name of a file. Copies that `export_corpus` and "
            "`push_corpus` make hold it; ask whoever shares this one to make it so"
        )
    return True


def _read_facts(path: str | Path, name: str) -> dict[str, str]:
    """Read what is to be known of a copy, before its audio is loaded."""
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{name} holds no {FACTS}: it is no copy of a corpus that `export_corpus` made. For a corpus as it is "
            "published give its name and data_dir; of another data set say which columns it has, label_column at least"
        )
    try:
        about = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"The {FACTS} of {name} is no JSON: {error}. Make the copy anew") from error
    if not isinstance(about, dict) or not all(isinstance(about.get(field), str) for field in FIELDS):
        raise ValueError(
            f"The {FACTS} of {name} does not say {', '.join(FIELDS)}: it is no copy of a corpus that `export_corpus` "
            "or `push_corpus` made"
        )
    return about


def _fetch_facts(repo_id: str, revision: str | None) -> str:
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", repo_id):  # such as ./folder
        raise FileNotFoundError(f"There is no folder {repo_id}. Check its path, or give the id of a copy")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return hf_hub_download(repo_id, FACTS, repo_type="dataset", revision=revision)
    except EntryNotFoundError as error:
        raise FileNotFoundError(
            f"The data set {repo_id} holds no {FACTS}: it is no copy of a corpus that `push_corpus` made (of another "
            "data set say which columns it has: label_column at least), or there is no connection to the Hub"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise FileNotFoundError(
            f"There is no folder {repo_id}, and no data set {repo_id} on the Hub"
            f"{f' with the revision {revision}' if revision else ''} that you may read. Check the name; a private one "
            "needs `hf auth login`"
        ) from error
