"""Durations from audio headers, read without decoding."""

from collections.abc import Iterable
from pathlib import Path

import soundfile

# Some libsndfile decoders report 2**63 - 1 frames where a damaged file hides the true number.
LONGEST_CLIP = 24 * 3600.0


def clip_durations(paths: Iterable[Path], skip_bad: bool = False) -> list[float | None]:
    """Read the durations of audio files."""
    durations: list[float | None] = []
    broken: list[str] = []
    for path in paths:
        durations.append(None)
        try:
            header = soundfile.info(str(path))
        except soundfile.LibsndfileError as error:
            broken.append(f"{path} ({error.error_string})")
            continue
        if header.frames <= 0:
            broken.append(f"{path} (no samples)")
        elif header.duration > LONGEST_CLIP:
            broken.append(f"{path} (damaged: its header tells of {header.frames} samples)")
        else:
            durations[-1] = header.frames / header.samplerate
    if broken and (not skip_bad or len(broken) == len(durations)):
        raise ValueError(
            f"{len(broken)} audio file(s) cannot be read: {', '.join(broken[:3])}{', …' if len(broken) > 3 else ''}. "
            "Copy them anew from where they came, or remove them; a training leaves them out with --skip_bad true."
        )
    return durations
