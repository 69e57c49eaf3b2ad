"""Files written whole or not at all."""

import csv
import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import IO

from feature_extraction.safe_text import csv_cell


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file under a temporary name, then rename it: a reader sees the old file or the new one."""
    with whole_file(path) as file:
        file.write(text)
    return Path(path)


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a binary file, whole or not at all; see `write_text`."""
    write_together({path: content})
    return Path(path)


def write_together(contents: Mapping[str | Path, bytes]) -> None:
    """Write binary files that belong together: none takes its name before all of them are on the disk."""
    with ExitStack() as files:
        for path, content in contents.items():
            file = files.enter_context(whole_file(path, "wb"))
            file.write(content)
            file.flush()


def write_json(path: str | Path, content: object) -> Path:
    """Write a value as indented JSON, whole or not at all; see `write_text`."""
    return write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: str | Path, rows: Iterable[object]) -> Path:
    """Write values as JSON, one per line, whole or not at all; see `write_text`."""
    with whole_file(path) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return Path(path)


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write a table as comma-separated values, whole or not at all; see `write_text`."""
    return write_text(path, csv_text(header, rows))


def stream_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Write lines as they come: what there is before an interruption stays."""
    with _naming(path), Path(path).open("w", encoding="utf-8", newline="") as file:
        for line in lines:
            file.write(f"{line}\n")
            file.flush()


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as comma-separated values (RFC 4180, lines ended by a line feed), no cell of them a formula."""
    return "".join(f"{line}\n" for line in csv_lines(header, rows))


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of such a table, without their ends."""
    for row in chain([header], rows):
        csv.writer(line := io.StringIO(), lineterminator="").writerow(map(csv_cell, row))
        yield line.getvalue()


def check_writable(path: str | Path) -> None:
    """Check, before the work, that a file can be written where it shall be."""
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder; name a file in it.")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {file.parent} to write {file.name} into; make it first.")


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Give errors the name of the file that is written; a full disk's has none."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


@contextmanager
def whole_file(path: str | Path, mode: str = "w") -> Iterator[IO]:
    """Open a file to write that takes its name when all is written; after an error it is gone."""
    path = Path(os.path.realpath(path))
    # Its own: two commands that write the same file, here or on another machine, do not write into each other's.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with _naming(path), partial.open(mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else, after a power failure, the name may be there without its content
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
