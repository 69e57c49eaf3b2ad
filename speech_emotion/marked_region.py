"""The part of a text file that a command writes, between two marks, in a file that people write."""

from pathlib import Path

from .files import write_text

START, END = "<!-- {name}:start -->", "<!-- {name}:end -->"


def replace_region(text: str, name: str, content: str) -> str:
    r"""Put something else between the marks.

    >>> print(replace_region("a\n<!-- x:start -->\n<!-- x:end -->\n", "x", "b"), end="")
    a
    <!-- x:start -->
    <BLANKLINE>
    b
    <BLANKLINE>
    <!-- x:end -->
    """
    if any(mark.format(name=name) in content for mark in (START, END)):
        raise ValueError(f"What is to stand in the region {name!r} holds a mark of it.")
    before, _, after = _parts(text, name)
    return f"{before}\n{content.strip(chr(10))}\n\n{after}" if content else before + after


def read_region(path: str | Path, name: str) -> str:
    """Return what stands between the marks of a file."""
    try:
        return _parts(Path(path).read_text(encoding="utf-8"), name)[1].strip("\n")
    except ValueError as error:
        raise ValueError(f"{path} has no region “{name}”: {error}") from error


def write_region(path: str | Path, name: str, content: str) -> Path:
    """Put something else between the marks of a file, whole or not at all."""
    path = Path(path)
    try:
        text = replace_region(path.read_text(encoding="utf-8"), name, content)
    except ValueError as error:
        raise ValueError(f"{path} was left as it is: {error}") from error
    return write_text(path, text)


def _parts(text: str, name: str) -> tuple[str, str, str]:
    """Text to the start mark, that line included; text between; text from the line of the end mark on."""
    lines = text.splitlines(keepends=True)
    places = []
    for mark in (START.format(name=name), END.format(name=name)):
        found = [number for number, line in enumerate(lines) if line.strip() == mark]
        if len(found) != 1:
            raise ValueError(f"it needs exactly one line {mark}, and has {len(found)}.")
        places.append(found[0])
    start, end = places
    if end < start:
        raise ValueError(f"its line {END.format(name=name)} stands before the start.")
    return "".join(lines[: start + 1]), "".join(lines[start + 1 : end]), "".join(lines[end:])
