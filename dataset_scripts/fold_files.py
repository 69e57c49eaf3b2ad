"""Folds as JSONL files: one line per clip."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .fold_checks import Clips, Fold, check_classes, check_disjoint, clips_by_id
from .names import spelled

KEYS = ("id", "speaker", "label", "split")
SPLITS = ("train", "validation", "test")


def save_fold(
    fold: Fold, rows: Iterable[Mapping[str, Any]], path: str | os.PathLike[str], *, shares_speakers: bool = False
) -> None:
    """Write a fold, whole or not at all; `shares_speakers` as of `check_disjoint`."""
    clips = clips_by_id(rows)
    check_disjoint(fold, clips, shares_speakers=shares_speakers)
    _check_complete(fold, clips, path)
    lines = [
        json.dumps(dict(zip(KEYS, (*clips[clip_id][:3], split), strict=True)), ensure_ascii=False)
        for split, ids in fold.splits.items()
        for clip_id in ids
    ]
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load_fold(
    path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]], *, shares_speakers: bool = False
) -> Fold:
    """Read a fold and check it against the corpus; `shares_speakers` as of `check_disjoint`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of folds {path}. `save_fold` writes one")
    clips = clips_by_id(rows)
    spellings = {spelled(clip_id): clip for clip_id, clip in clips.items()} | clips
    ids: dict[str, list[str]] = {split: [] for split in SPLITS}
    try:
        # Not by `splitlines`: JSON leaves some of its line ends, such as U+2028, within strings as they are.
        lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    for number, line in enumerate(lines, start=1):
        entry = _parse_line(line, f"{path}, line {number}", spellings)
        ids[entry["split"]].append(entry["id"])
    fold = Fold(**{split: tuple(members) for split, members in ids.items()}, name=path.stem)
    check_disjoint(fold, clips, shares_speakers=shares_speakers)
    _check_complete(fold, clips, path)
    check_classes(fold, clips)
    return fold


def _parse_line(line: str, where: str, clips: Clips) -> dict[str, str]:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not a JSON object: {error}") from error
    if not isinstance(entry, dict) or set(entry) != set(KEYS):
        raise ValueError(f"{where}: expected a JSON object with the keys {', '.join(KEYS)}; got {line[:200]}")
    if entry["split"] not in SPLITS:
        raise ValueError(f"{where}: the split is {entry['split']!r}; it must be one of {', '.join(SPLITS)}")
    clip = clips.get(entry["id"], clips.get(spelled(entry["id"]))) if isinstance(entry["id"], str) else None
    if clip is None:
        raise ValueError(
            f"{where}: the clip {entry['id']!r} is not in the corpus. "
            "Use the file with the corpus, configuration and labels that it was made for"
        )
    for key in ("speaker", "label"):
        if spelled(str(entry[key])) != spelled(getattr(clip, key)):
            raise ValueError(
                f"{where}: the {key} of the clip {clip.id!r} is {entry[key]!r} here but {getattr(clip, key)!r} in the "
                "corpus. Make the fold anew, or use the corpus it was made for"
            )
    return entry | {"id": clip.id}


def _check_complete(fold: Fold, clips: Clips, path: str | os.PathLike[str]) -> None:
    missing = clips.keys() - {clip_id for ids in fold.splits.values() for clip_id in ids}
    if missing:
        raise ValueError(
            f"{path}: {len(missing)} clip(s) of the corpus are in no split, for example {min(missing)!r}. "
            "Use the fold with the corpus, configuration and labels that it was made for"
        )
