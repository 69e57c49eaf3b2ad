"""A corpus as a data set that stands alone: Parquet files with the audio in them, facts and a card."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from .corpus_card import corpus_card
from .registry import load_corpus, make_builder
from .shared_copy import FACTS

CLIPS_PER_GROUP = 100
"""Rows read at a time from a Parquet file, when it is streamed."""


def export_corpus(
    name: str,
    folder: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    config: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    shard_megabytes: int = 256,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Path:
    """Write a corpus as Parquet files that hold the audio, with a data set card."""
    folder = Path(os.path.abspath(Path(folder).expanduser()))
    if folder.exists():
        raise FileExistsError(f"{folder} exists. Name a folder that does not, or remove it first")
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {folder.parent} to make {folder.name} in. Make it first")
    if shard_megabytes <= 0:
        raise ValueError(f"shard_megabytes must be positive; got {shard_megabytes}")
    builder = make_builder(name, data_dir, config, cache_dir, **options)
    rows = load_corpus(name, data_dir, config, cache_dir, **options)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        _write_shards(rows, partial / "data", shard_megabytes << 20, progress)
        (partial / FACTS).write_text(json.dumps(_facts(rows.info), ensure_ascii=False, indent=2) + "\n", "utf-8")
        (partial / "README.md").write_text(corpus_card(builder, rows), encoding="utf-8")
        partial.chmod(0o777 & ~_umask())  # mkdtemp's folders are for their owner alone
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _write_shards(
    rows: datasets.Dataset,
    folder: Path,
    shard_bytes: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    folder.mkdir()
    shards = list(_shards(rows, shard_bytes))
    # decode=False in the files too: without torchcodec, a streamed row of another kind cannot be read.
    schema = datasets.Features(rows.features | {"audio": datasets.Audio(decode=False)}).arrow_schema
    done = 0
    for index, (start, stop) in enumerate(shards):
        table = pa.Table.from_pylist([_embed(row) for row in rows.select(range(start, stop))], schema=schema)
        path = folder / f"train-{index:05}-of-{len(shards):05}.parquet"
        pq.write_table(table, path, row_group_size=CLIPS_PER_GROUP, compression="none")  # audio is compressed already
        done = stop
        if progress is not None:
            progress(done, len(rows))


def _shards(rows: datasets.Dataset, shard_bytes: int) -> Iterator[tuple[int, int]]:
    """Cut the clips into ranges of at most ``shard_bytes`` of audio, of one clip at least."""
    start, size = 0, 0
    for index, audio in enumerate(rows["audio"]):  # not the builder's clips: bad ones may have been left out
        length = Path(audio["path"]).stat().st_size
        if size + length > shard_bytes and index > start:
            yield start, index
            start, size = index, 0
        size += length
    yield start, len(rows)


def _embed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Put a clip's file into its row, under a name without this machine's folders."""
    path = Path(row["audio"]["path"])
    file = row["file"] if not Path(row["file"]).is_absolute() else path.name
    return dict(row) | {"audio": {"path": file, "bytes": path.read_bytes()}, "file": file}


def _facts(info: datasets.DatasetInfo) -> dict[str, str]:
    return {field: getattr(info, field) for field in ("description", "homepage", "license", "citation")}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
