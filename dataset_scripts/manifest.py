"""Lists of recordings that users write: CSV, TSV or JSON lines."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STEMS, SUFFIXES = ("manifest", "metadata"), (".csv", ".tsv", ".jsonl")
NAMES = tuple(f"{stem}{suffix}" for stem in STEMS for suffix in SUFFIXES)
# What other programs keep tables in.
OTHER_TABLES = (".ods", ".parquet", ".xls", ".xlsx")
# Other names that people and other tools give to the same columns.
ALIASES = {
    "path": "file", "file_name": "file", "filename": "file", "audio": "file", "emotion": "label",
    "speaker_id": "speaker", "gender": "sex", "text": "transcript",
}  # fmt: skip
COLUMNS = ("id", "file", "label", "speaker", "sex", "sentence", "transcript", "kind", "language", "session")
SEXES = {"f": "f", "female": "f", "woman": "f", "w": "f", "m": "m", "male": "m", "man": "m"}


def read_manifest(path: Path) -> list[dict[str, str]]:
    """Read a list of recordings, UTF-8: ``file`` and ``label``, and the other ``COLUMNS`` where known; no others."""
    try:
        rows = list(_read_json(path) if path.suffix.lower() == ".jsonl" else _read_csv(path))
    except csv.Error as error:
        raise ValueError(
            f"{path}: {error}. A quotation mark is missing, perhaps: write one within a quoted field twice"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}. Save it as UTF-8") from error
    if not rows:
        raise ValueError(f"{path} lists no recordings. Add a line for each")
    return [_normalize(row, f"{path}, line {number}") for number, row in rows]


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
        file.seek(0)
        delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        columns = Counter(str(name).strip().lower() for name in reader.fieldnames or [])
        twice = [name for name, count in columns.items() if name and count > 1]
        if twice:
            raise ValueError(f"{path}: the column {twice[0]!r} is there {columns[twice[0]]} times. Leave one out")
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(
                    f"{path}, line {reader.line_num}: expected {len(reader.fieldnames or [])} fields separated by "
                    f"{delimiter!r}. Put fields that hold {delimiter!r} in quotation marks"
                )
            if any("\n" in value or "\r" in value for value in row.values()):
                raise ValueError(
                    f"{path}, line {reader.line_num}: a field goes on over the end of its line. A quotation mark is "
                    "missing before, or one too many: write one within a quoted field twice"
                )
            yield reader.line_num, row


def _read_json(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    # Not by `splitlines`: JSON leaves some of its line ends, such as U+2028, within strings as they are.
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not a JSON object: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: expected a JSON object, found {line[:80]}")
        yield number, row


def _normalize(row: dict[str, Any], where: str) -> dict[str, str]:
    named: dict[str, Any] = {}
    source: dict[str, str] = {}
    for key, value in row.items():
        column = str(key).strip().lower()
        name = ALIASES.get(column, column)
        if value is None or not str(value).strip():
            continue
        if name in COLUMNS and named.get(name, value) != value:
            raise ValueError(
                f"{where}: the columns {source[name]!r} and {column!r} both say the {name}, and differ. Leave one out"
            )
        named[name], source[name] = value, column
    texts = {name: str(named[name]).strip() for name in COLUMNS if name in named}
    for column in ("file", "label"):
        if column not in texts:
            names = [str(key).strip().lower() for key in row]
            if column in (ALIASES.get(name, name) for name in names):
                raise ValueError(f"{where}: the {column} is empty. Fill it in, or leave the line out")
            raise ValueError(
                f"{where}: no {column}; the columns are {', '.join(map(str, row))}. Add a column {column!r}"
            )
    if (sex := texts.get("sex")) is not None:
        if sex.lower() not in SEXES:
            raise ValueError(f"{where}: the sex {sex!r} is none of {', '.join(SEXES)}. Correct it or leave it empty")
        texts["sex"] = SEXES[sex.lower()]
    return texts
