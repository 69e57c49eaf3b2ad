"""Names and lengths of the published clips of a corpus, where a list of them ships with this package."""

from functools import cache
from pathlib import Path


@cache
def published_clips(name: str) -> dict[str, float]:
    """Read the list of a corpus's published clips.

    >>> clips = published_clips("emodb")
    >>> len(clips), clips["03a01Fa"]
    (535, 1.898)
    """
    path = Path(__file__).with_name(f"{name}_clips.txt")
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = (line.split("\t") for line in lines if line and not line.startswith("#"))
    return {clip_id: float(seconds) for clip_id, seconds in pairs}
