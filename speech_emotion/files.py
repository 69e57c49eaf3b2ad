"""Files written whole or not at all."""

import json
from collections.abc import Iterable
from pathlib import Path


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file under a temporary name, then rename it: a reader sees the old file or the new one.

    Args:
        path: The file; its folder must exist.
        text: The content, written as UTF-8.

    Returns:
        The path.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_text(Path(folder) / "note.txt", "hello").read_text()
        'hello'
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return path


def write_json(path: str | Path, content: object) -> Path:
    """Write a value as indented JSON, whole or not at all; see `write_text`."""
    return write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: str | Path, rows: Iterable[object]) -> Path:
    """Write values as JSON, one per line, whole or not at all; see `write_text`."""
    return write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


__all__ = ["write_json", "write_jsonl", "write_text"]
