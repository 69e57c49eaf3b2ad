"""A corpus as a data set that stands alone, in a folder or on the Hub: Parquet files with the audio, facts, a card."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .names import first_few
from .registry import make_builder
from .shared_copy import FACTS, FIELDS

if TYPE_CHECKING:
    import datasets

    from .corpus_base import SpeechCorpus

CLIPS_PER_GROUP = 100
"""Rows read at a time from a Parquet file, when it is streamed."""


def export_corpus(
    name: str,
    folder: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    shard_megabytes: int = 256,
    progress: Callable[[int, int], None] | None = None,
    copy_outside: bool = False,
    **options: Any,
) -> Path:
    """Write a corpus, with all options of ``load_corpus``, as Parquet files that hold the audio, and a card.

    Files that own recordings take from elsewhere, by a list or by links, are copied only with ``copy_outside``.
    """
    folder = Path(os.path.abspath(Path(folder).expanduser()))
    if folder.exists():
        raise FileExistsError(f"{folder} exists. Name a folder that does not, or remove it first")
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {folder.parent} to make {folder.name} in. Make it first")
    corpus = make_builder(name, data_dir, **options)
    _check_inside(corpus, copy_outside)
    _export(corpus, folder, shard_megabytes, progress)
    return folder


def push_corpus(
    name: str,
    repo_id: str,
    data_dir: str | os.PathLike[str] | None = None,
    private: bool = True,
    i_have_permission: bool = False,
    token: str | None = None,
    shard_megabytes: int = 256,
    progress: Callable[[int, int], None] | None = None,
    copy_outside: bool = False,
    **options: Any,
) -> str:
    """Put a corpus on the Hub, in one commit; ``load_corpus(repo_id)`` then loads it anywhere, also streamed.

    ``copy_outside`` as of ``export_corpus``.
    """
    corpus = make_builder(name, data_dir, **options)
    _check_inside(corpus, copy_outside)
    if not corpus.may_be_shared and not i_have_permission:
        raise PermissionError(
            f"{corpus.title} may not be put on the Hub, not even privately: its licence is {corpus.license!r}. "
            "`export_corpus` makes the same copy for your own machines. If its authors allowed this one, say so with "
            "i_have_permission"
        )
    from huggingface_hub import HfApi
    from huggingface_hub.utils import httpx  # its errors are those of a lost connection

    from .corpus_base import quiet_unless_terminal

    with tempfile.TemporaryDirectory(prefix="ser-export-") as work:
        folder = Path(work, "copy")
        _export(corpus, folder, shard_megabytes, progress)
        api = HfApi(token=token)
        try:
            api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
            if private and not api.dataset_info(repo_id).private:  # it was there before
                raise PermissionError(
                    f"{repo_id} exists and everyone can see it. Make it private first, take another name, or say that "
                    "all may see it (private=False, on a command line --public)"
                )
            with quiet_unless_terminal():
                commit = api.upload_folder(
                    repo_id=repo_id,
                    repo_type="dataset",
                    folder_path=folder,
                    commit_message=f"{corpus.title}, {len(corpus.clips)} clips",
                    delete_patterns="data/*.parquet",  # a copy in fewer files must not leave some of the last one's
                )
        except httpx.TransportError as error:
            raise ConnectionError(f"{repo_id}: the Hub cannot be reached: {error}") from error
    return commit.oid


def _check_inside(corpus: "SpeechCorpus", copy_outside: bool) -> None:
    """Refuse to copy what a list, or a link, which may be a stranger's, takes from elsewhere on this machine."""
    outside = corpus.outside_files()
    if outside and not copy_outside:
        raise PermissionError(
            f"{corpus.title}: {len(outside)} file(s) lie outside of {corpus.root}: {first_few(outside)}. A copy would "
            "hold what is elsewhere on this machine. Move them there, or say that they are meant: copy_outside=True, "
            "on a command line --copy_outside"
        )


def _export(
    corpus: "SpeechCorpus", folder: Path, shard_megabytes: int, progress: Callable[[int, int], None] | None
) -> None:
    """Write the copy beside its place, and move it there when it is whole."""
    if shard_megabytes <= 0:
        raise ValueError(f"shard_megabytes must be positive; got {shard_megabytes}")
    from .corpus_report import corpus_card

    rows = corpus.as_table()
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        _write_shards(rows, partial / "data", shard_megabytes << 20, progress)
        facts = {field: getattr(rows.info, field) for field in FIELDS}
        (partial / FACTS).write_text(json.dumps(facts, ensure_ascii=False, indent=2) + "\n", "utf-8")
        (partial / "README.md").write_text(corpus_card(corpus, rows), encoding="utf-8")
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(0o777 & ~mask)  # mkdtemp's folders are for their owner alone
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_shards(
    rows: "datasets.Dataset", folder: Path, shard_bytes: int, progress: Callable[[int, int], None] | None
) -> None:
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    shards = list(_shards(rows, shard_bytes))
    # decode=False in the files too: without torchcodec, a streamed row of another kind cannot be read.
    schema = datasets.Features(rows.features | {"audio": datasets.Audio(decode=False)}).arrow_schema
    for index, (start, stop) in enumerate(shards):
        table = pa.Table.from_pylist([_embed(row) for row in rows.select(range(start, stop))], schema=schema)
        path = folder / f"train-{index:05}-of-{len(shards):05}.parquet"
        pq.write_table(table, path, row_group_size=CLIPS_PER_GROUP, compression="none")  # audio is compressed already
        if progress is not None:
            progress(stop, len(rows))


def _shards(rows: "datasets.Dataset", shard_bytes: int) -> Iterator[tuple[int, int]]:
    """Cut the clips into ranges of at most ``shard_bytes`` of audio, of one clip at least."""
    start, size = 0, 0
    for index, audio in enumerate(rows["audio"]):  # not the builder's clips: bad ones may have been left out
        length = Path(audio["path"]).stat().st_size if audio["bytes"] is None else len(audio["bytes"])
        if size + length > shard_bytes and index > start:
            yield start, index
            start, size = index, 0
        size += length
    yield start, len(rows)


def _embed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Put a clip's file into its row, under a name without this machine's folders."""
    file, audio = Path(row["file"]), row["audio"]
    if file.is_absolute() or ".." in file.parts:
        file = Path(row["id"] + file.suffix)
    if audio["bytes"] is None:
        audio = {"path": file.as_posix(), "bytes": Path(audio["path"]).read_bytes()}
    return dict(row) | {"audio": audio, "file": file.as_posix()}
