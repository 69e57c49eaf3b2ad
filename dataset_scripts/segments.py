"""Clips that are parts of longer files: cut out by the one decoder, so that they are files of their own."""

import io
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

OVERHANG = 0.1
"""Seconds by which a part may end after its file does, as times are often rounded."""


def is_part(clip: Mapping[str, Any]) -> bool:
    """Tell whether a clip is less than its whole file."""
    return clip["start"] is not None or clip["channel"] is not None


def file_seconds(path: Path, channel: int | None, longest: float | None) -> float:
    """Decode a file whole, of at most so many seconds, and return how long it is, in s."""
    samples, rate = _decoded(path, path.stat().st_mtime_ns, channel, longest)
    return len(samples) / rate


def cut(path: Path, start: float, end: float, channel: int | None, longest: float | None, name: str) -> dict[str, Any]:
    """Return a part of a file as a file of its own, mono at the same rate: exactly what was decoded."""
    import soundfile

    samples, rate = _decoded(path, path.stat().st_mtime_ns, channel, longest)
    part = samples[round(start * rate) : round(end * rate)]  # (samples,)
    sixteen_bits = np.array_equal(part, np.clip(np.round(part * 32768), -32768, 32767) / 32768)
    # The time of writing would be in a WAV file of floats.
    kind, subtype = ("WAV", "PCM_16") if sixteen_bits else ("AU", "FLOAT")
    soundfile.write(content := io.BytesIO(), part, round(rate), subtype, format=kind)
    return {"path": f"{name}.{kind.lower()}", "bytes": content.getvalue()}


def check_part(row: Mapping[str, Any], seconds: float) -> tuple[float, float] | None:
    """Return which part of its file a line of a list means, in s; `None` for all of it; refuse what cannot be."""
    where, start, end, stated = row.get("where"), row.get("start"), row.get("end"), row.get("duration")
    if start is None:
        if stated is not None and abs(stated - seconds) > (1 if stated == int(stated) else OVERHANG):
            raise ValueError(
                f"{where}: the duration is {stated:g} s, but the file is {seconds:.2f} s long. If a part of it is "
                "meant, add a column `start`; else correct the duration, in seconds, or leave it out"
            )
        return None
    end = seconds if end is None else end
    if start >= seconds or end > seconds + OVERHANG:
        raise ValueError(
            f"{where}: the part from {start:g} s to {end:g} s is not in the file, which is {seconds:.2f} s long. "
            "Times are seconds from the beginning of the file; correct them"
        )
    return start, min(end, seconds)


@lru_cache(maxsize=1)  # parts of a file follow each other
def _decoded(path: Path, changed: int, channel: int | None, longest: float | None) -> tuple[np.ndarray, float]:
    from feature_extraction.audio_decoding import decode_audio

    return decode_audio(path, channel=channel, max_seconds=longest)
