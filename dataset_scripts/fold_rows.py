"""What folds need to know of a clip, taken from any table of rows."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .names import name_key


class Clip(NamedTuple):
    """A row without its audio."""

    id: str
    speaker: str
    label: str
    sex: str | None = None
    session: str | None = None


def clips_by_id(rows: Iterable[Mapping[str, Any]]) -> dict[str, Clip]:
    """Read rows."""
    if hasattr(rows, "select_columns"):  # leaves the audio on disk
        names = rows.column_names or list(Clip._fields)
        rows = rows.select_columns([name for name in Clip._fields if name in names])
    clips: dict[str, Clip] = {}
    sessions: dict[str, str] = {}
    for index, row in enumerate(rows):
        for column in ("id", "speaker", "label"):
            if column not in row:
                raise ValueError(f"The rows have no column {column!r}, without which no folds can be made")
            if row[column] is None or row[column] == "":
                name = f"clip {row['id']!r}" if column != "id" else f"row {index}"
                raise ValueError(
                    f"The {column} of {name} is unknown, so nothing can keep its speaker out of the other splits. "
                    "Give every clip an id, a speaker and a label, or leave it out. Of recordings of your own the "
                    "speaker is a column of the list, a folder (label/speaker/), or found by --speaker_pattern"
                )
        if row["id"] in clips:
            raise ValueError(f"The clip id {row['id']!r} occurs more than once in the rows. Ids must be unique")
        clip = Clip(*(row.get(field) for field in Clip._fields))
        if clip.session is not None:  # "Studio 1" and "studio 1" are one
            clip = clip._replace(session=sessions.setdefault(name_key(str(clip.session)), clip.session))
        clips[row["id"]] = clip
    if not clips:
        raise ValueError("There are no rows to make folds of")
    return clips


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts ``m2`` before ``m10``.

    >>> sorted(["m10", "m2", "f1"], key=natural_order)
    ['f1', 'm2', 'm10']
    """
    parts = (part for part in re.split(r"(\d+)", str(name)) if part)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]
