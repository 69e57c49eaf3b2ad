"""Lists of recordings that users write: CSV, TSV or JSON lines."""

import csv
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from feature_extraction.content_kind import what_is_there
from feature_extraction.safe_text import printable

from .names import first_few

STEMS, SUFFIXES = ("manifest", "metadata"), (".csv", ".tsv", ".jsonl")
NAMES = tuple(f"{stem}{suffix}" for stem in STEMS for suffix in SUFFIXES)
# What other programs keep tables in.
OTHER_TABLES = (".ods", ".parquet", ".xls", ".xlsx")
# Other names that people and other tools give to the same columns.
ALIASES = {
    "path": "file", "file_name": "file", "filename": "file", "file_path": "file", "filepath": "file", "audio": "file",
    "audio_file": "file", "audio_filepath": "file", "audio_path": "file", "wav": "file", "wav_path": "file",
    "emotion": "label", "emo": "label", "emoclass": "label",
    "speaker_id": "speaker", "spk": "speaker", "spk_id": "speaker", "spkr_id": "speaker", "spkrid": "speaker",
    "client_id": "speaker", "gender": "sex", "text": "transcript",
    "begin": "start", "begin_time": "start", "onset": "start", "start_time": "start", "tmin": "start",
    "xmin": "start", "end_time": "end", "stop": "end", "stop_time": "end", "tmax": "end", "xmax": "end",
    "dur": "duration",
    "annotator": "rater", "annotator_id": "rater", "coder": "rater", "rater_id": "rater", "worker": "rater",
    "worker_id": "rater", "workerid": "rater", "evaluator": "rater", "evaluator_id": "rater", "listener": "rater",
    "listener_id": "rater", "audio_channel": "channel", "ch": "channel", "chan": "channel", "channel_id": "channel",
    "channel_idx": "channel", "channel_index": "channel", "activation": "arousal", "pleasure": "valence",
    "emoval": "valence", "emoact": "arousal", "emodom": "dominance",
}  # fmt: skip
COLUMNS = ("id", "file", "label", "speaker", "sex", "sentence", "transcript", "kind", "language", "session")
TIMES = ("start", "end", "duration")
ATTRIBUTES = ("valence", "arousal", "dominance")
"""Columns of numbers, on whatever scale: what a clip's raters heard beside an emotion, or in place of one."""
# Where no column says the label, those of several raters, or of how many of them gave which.
RATER = re.compile(r"(rater|annotator|coder|evaluator|listener|worker)_?\d+")
COUNT = re.compile(r"(counts?|votes?)_(?P<label>.+)")
SEXES = {"f": "f", "female": "f", "woman": "f", "w": "f", "m": "m", "male": "m", "man": "m"}
SPLIT_COLUMNS = (
    "data_split", "dataset_split", "fold", "is_test", "is_train", "kfold", "partition", "split", "split_name",
    "split_set", "subset",
)  # fmt: skip
# A column that says nothing but these is one of them, whatever it is called.
SPLITS = ("dev", "eval", "test", "train", "training", "val", "valid", "validation")
# Names of columns that tell parts of files in other units than seconds, or in other words than are known here.
TIME_LIKE = re.compile(r"((\w+_)?(start|begin|end|stop|offset|onset)(_?time)?|from|to|t[01])([\W_].*)?")
LENGTH_LIKE = re.compile(r"(\w+_)?(dur|duration|length)([\W_].*)?")
IN_SECONDS = re.compile(r"(_[(\[]?|[(\[])(s|secs?|seconds)[)\]]?$")
CHANNELS = {"left": 0, "l": 0, "a": 0, "right": 1, "r": 1, "b": 1}
CLOCK = re.compile(r"(?:(\d+) days? )?(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d+)?)")
# An id names its clip in folds, scores and copies that others get: not by a path of this machine.
PATH_OUTSIDE = re.compile(r"[/\\~]|[a-z]:[/\\]|(.*[/\\])?\.\.([/\\]|$)", re.IGNORECASE)


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """Read a list of recordings, UTF-8: ``file`` and ``label``, and the other ``COLUMNS`` where known.

    Where lines are parts of files ``start`` and ``end`` tell which, in s, and ``channel`` which of it, from 0;
    ``duration`` is what a line says of a whole file, ``rater`` whose label it is, ``where`` where it stands. In place
    of ``label`` there may be a column for each rater, ``rater_1``, ``rater_2`` and so on, whose fields are labels or
    empty, or the number of raters for each label, ``count_anger`` and so on: ``votes`` is then how many gave which.
    ``ATTRIBUTES`` are numbers, beside which no label is needed. Columns without a meaning here are passed over.
    """
    with path.open("rb") as file:
        kind = what_is_there(file.read(4096))
    if kind is not None and not kind.startswith("text"):
        raise ValueError(f"{path} is no list but {kind.replace('the sound', 'the list')}")
    try:
        lines = list(_read_json(path) if path.suffix.lower() == ".jsonl" else _read_csv(path))
    except csv.Error as error:
        raise ValueError(
            f"{path}: {error}. A quotation mark is missing, perhaps: write one within a quoted field twice"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}. Save it as UTF-8") from error
    if not lines:
        raise ValueError(f"{path} lists no recordings. Add a line for each")
    rows = [_normalize(row, f"{path}, line {number}") for number, row in lines]
    _refuse_splits([row for _, row in lines], path)
    _number_channels(rows, path)
    return rows


def _refuse_splits(lines: list[dict[str, Any]], path: Path) -> None:
    """Refuse a column that says who trains and who is tested."""
    said: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        for column, value in line.items():
            said[_column(column)].add("" if value is None else str(value).strip())
    for column, parts in said.items():
        words = {part.lower() for part in parts}
        # Nobody is called so, and no emotion.
        if len(parts) > 1 and (column in SPLIT_COLUMNS or words.issubset({*SPLITS, ""})):
            raise ValueError(
                f"{path}: the column {printable(column)!r} says {first_few(sorted(parts - {''}))}, and is not heeded: "
                "who trains and who is tested is chosen by speaker. Rename it, to published_split perhaps, or leave "
                "it out"
            )


def _number_channels(rows: list[dict[str, Any]], path: Path) -> None:
    """Replace what the lines call their channels, left and right or numbers, by numbers from 0."""
    given = {row["channel"].lower(): row for row in rows if "channel" in row}
    if given and not any(name in CHANNELS or name == "0" for name in given):
        raise ValueError(
            f"{path}: the column 'channel' says {first_few(sorted(given))}, and no line 0, from which channels are "
            "counted. Write left and right, or count from 0; if it is the number of channels, rename it to channels"
        )
    for name, row in given.items():
        if name not in CHANNELS and not name.isdecimal():
            raise ValueError(
                f"{row['where']}: the channel is {printable(name)}. Write left, right, or a number from 0"
            )
    for row in rows:
        if "channel" in row:
            name = row["channel"].lower()
            row["channel"] = CHANNELS[name] if name in CHANNELS else int(name)


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
        file.seek(0)
        delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        columns = Counter(_column(name) for name in reader.fieldnames or [])
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
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: not a JSON object: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: expected a JSON object, found {printable(line[:80])}")
        yield number, row


def _column(name: object) -> str:
    """Write the name of a column in one way."""
    return re.sub(r"[\s-]+", "_", str(name).strip().lower())


def _normalize(row: dict[str, Any], where: str) -> dict[str, Any]:
    named: dict[str, Any] = {}
    source: dict[str, str] = {}
    unread: dict[str, str] = {}
    columns = [_column(key) for key in row]
    aliases = ALIASES | {"offset": "end" if "onset" in columns else "start"}  # of sound events, or of a part
    for column, value in zip(columns, row.values(), strict=True):
        name, bare = aliases.get(column, column), IN_SECONDS.sub("", column)
        name = aliases.get(bare, bare) if aliases.get(bare, bare) in TIMES else name
        if value is None or not str(value).strip():
            continue
        if name not in (*COLUMNS, *TIMES, *ATTRIBUTES, "rater", "channel"):
            unread[column] = str(value).strip()
            continue
        if isinstance(value, list | dict):
            raise ValueError(
                f"{where}: the {name} is {printable(value)[:80]}, several values or none. Write one; for labels of "
                "several raters a column each, rater_1, rater_2, …"
            )
        if named.get(name, value) != value:
            raise ValueError(
                f"{where}: the columns {source[name]!r} and {column!r} both say the {name}, and differ. Leave one out"
            )
        named[name], source[name] = value, column
    texts: dict[str, Any] = {name: str(value).strip() for name, value in named.items()}
    half = "start" in texts and not {"end", "duration"} & texts.keys()
    for column, text in unread.items():
        tells_part = TIME_LIKE.fullmatch(column) or (half and LENGTH_LIKE.fullmatch(column))
        if tells_part and not math.isnan(_read_time(text)):
            raise ValueError(
                f"{where}: the column {column!r} is not heeded. If it says which part of the file the line is, write "
                "`start` and `end` in seconds; else rename it"
            )
    known = {aliases.get(name, name) for name in columns}
    votes = {} if "label" in known else _votes(unread, where)
    numbers = {name: _number(texts[name], f"{where}: the {name}") for name in ATTRIBUTES if name in texts}
    for column in ("file", "label"):
        if column not in texts and not (column == "label" and (votes or numbers) and "label" not in known):
            if column in known or (column == "label" and any(map(_tells_votes, columns))):
                raise ValueError(f"{where}: the {column} is empty. Fill it in, or leave the line out")
            raise ValueError(
                f"{where}: no {column}; the columns are {printable(', '.join(map(str, row)))}. Add a column {column!r}"
            )
    if (sex := texts.get("sex")) is not None:
        if sex.lower() not in SEXES:
            raise ValueError(f"{where}: the sex {sex!r} is none of {', '.join(SEXES)}. Correct it or leave it empty")
        texts["sex"] = SEXES[sex.lower()]
    if PATH_OUTSIDE.match(texts.get("id", "")):
        raise ValueError(f"{where}: the id {texts['id']!r} is a path out of the list's folder. Take another")
    return texts | numbers | _times(texts, where) | ({"votes": votes} if votes else {}) | {"where": where}


def _tells_votes(column: str) -> bool:
    return bool(RATER.fullmatch(column) or COUNT.fullmatch(column))


def _votes(columns: dict[str, str], where: str) -> dict[str, float]:
    """Count how many raters gave which label, by columns that hold something."""
    raters = Counter(text for column, text in columns.items() if RATER.fullmatch(column))
    counts = {
        match["label"]: _number(text, f"{where}: the column {column!r}")
        for column, text in columns.items()
        if (match := COUNT.fullmatch(column))
    }
    if raters and counts:
        raise ValueError(f"{where}: raters have columns of their own, and are counted. Leave one of the two out")
    if min(counts.values(), default=0) < 0:
        raise ValueError(f"{where}: {min(counts, key=counts.get)!r} has less than no votes. Correct it")
    return {label: float(votes) for label, votes in (raters or counts).items() if votes}


def _number(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{what} is {printable(text)}, which is no number. Write one, or rename the column")
    return number


def _times(texts: dict[str, str], where: str) -> dict[str, float]:
    """Read which part of a file a line is, or how long it says that the whole file is."""
    times = {name: _seconds(texts[name], f"{where}: the {name}") for name in TIMES if name in texts}
    start, end, duration = map(times.get, TIMES)
    if start is None:
        if end is not None:
            raise ValueError(f"{where}: there is an end without a start. Add a column `start`, in seconds")
        return times
    if duration is not None:
        if end is not None and abs(start + duration - end) > 0.05:
            raise ValueError(f"{where}: from {start:g} s to {end:g} s are not {duration:g} s. Correct it")
        times["end"] = end = start + duration if end is None else end
        del times["duration"]
        texts.pop("duration")
    if end is not None and end <= start:
        raise ValueError(f"{where}: the part ends at {end:g} s, not after its start at {start:g} s. Correct it")
    return times


def _seconds(text: str, what: str) -> float:
    """Read a time: seconds, or hours, minutes and seconds.

    >>> _seconds("61.5", "start"), _seconds("0:01:01,5", "start"), _seconds("0 days 00:01:01.500", "start")
    (61.5, 61.5, 61.5)
    """
    seconds = _read_time(text)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{what} is {printable(text)}, which is no time. Write seconds, such as 61.5, or 0:01:01.5")
    return seconds


def _read_time(text: str) -> float:
    """Read seconds, in digits or by a clock; NaN where a text is neither."""
    try:
        return float(text)
    except ValueError:
        clock = CLOCK.fullmatch(text)
        parts = [float((part or "0").replace(",", ".")) for part in clock.groups()] if clock else [math.nan] * 4
        return sum(part * unit for part, unit in zip(parts, (86400, 3600, 60, 1), strict=True))
