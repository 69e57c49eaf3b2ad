"""Audio files of a folder: which there are, whether they changed, how long they are."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from .names import first_few

AUDIO_SUFFIXES = (".flac", ".ogg", ".wav")  # as corpora are published
RECORDED_SUFFIXES = (  # all that can be decoded, those of the last line with the extra `formats`
    ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".nist", ".oga", ".ogg", ".opus", ".rf64", ".snd",
    ".sph", ".voc", ".w64", ".wav", ".wave",
    ".3gp", ".aac", ".amr", ".awb", ".m4a", ".mka", ".mov", ".mp4", ".webm",
)  # fmt: skip
UNREAD_SUFFIXES = (".ac3", ".wma")


def audio_files(folder: Path, suffixes: tuple[str, ...] = AUDIO_SUFFIXES) -> list[Path]:
    """List the audio files below a folder, relative to it and sorted, without hidden ones."""
    return [*map(Path, audio_names(folder, suffixes))]


def audio_names(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """List them as text: a million of them take 0.1 GB."""

    def stop(error: OSError) -> None:
        raise error

    found: list[str] = []
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=stop, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:  # a link back to a folder above would never end
            folders.clear()
            continue
        visited.add(real)
        # macOS archives carry a "._name.wav" beside every "name.wav": no audio, whatever the suffix says.
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        inside = os.path.relpath(parent, folder)
        found.extend(
            name if inside == os.curdir else os.path.join(inside, name)
            for name in names
            if not name.startswith(".") and name.lower().endswith(suffixes)
        )
    return sorted(found, key=lambda name: name.replace(os.sep, "/"))


def folder_fingerprint(root: Path, files: Iterable[Path]) -> str:
    """Hash the names, sizes and times of files on disk without reading them."""
    digest = hashlib.sha256()
    for file in sorted(files, key=Path.as_posix):
        state = (root / file).stat()
        digest.update(f"{file.as_posix()}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def clip_durations(paths: Iterable[Path], skip_bad: bool, max_seconds: float | None) -> list[float | None]:
    """Find the durations of audio files in s without decoding; ``None`` for bad ones where these may be skipped."""
    from feature_extraction.audio_decoding import audio_duration  # with numpy; files are searched without

    durations: list[float | None] = []
    broken: list[str] = []
    for path in paths:
        duration = None
        try:
            duration = audio_duration(path, max_seconds)
        except (ValueError, OSError) as error:
            broken.append(str(error).rstrip("."))
        durations.append(duration)
    if broken and (not skip_bad or len(broken) == len(durations)):
        raise ValueError(
            f"{len(broken)} audio file(s) cannot be used: {first_few(broken)}. "
            "Mend or remove them; a training leaves them out with --skip_bad true."
        )
    return durations
