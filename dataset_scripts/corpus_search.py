"""Find a corpus on disk by its published naming: where it starts, and which files are its clips."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from .corpus_scan import audio_files

if TYPE_CHECKING:
    from .corpus_base import SpeechCorpus


def find_clips(corpus: "type[SpeechCorpus]", folder: Path) -> tuple[Path, list[Path]]:
    """Find a corpus's root at or below a folder, and its clips."""
    folder = Path(os.path.abspath(folder))  # rows outlive the working directory
    if not folder.exists():
        raise FileNotFoundError(
            f"{corpus.title}: the folder {folder} does not exist. "
            f"Pass as data_dir the folder that holds the corpus; it can be obtained from {corpus.homepage}"
        )
    if not folder.is_dir():
        raise NotADirectoryError(f"{corpus.title}: {folder} is a file. Pass as data_dir the folder that holds it")
    files = audio_files(folder)
    if corpus.passed_over:
        # Below the folder, and with its own name, as what lies above is the user's: it may be called "dialog".
        within = {file: Path("/", folder.name, file).as_posix() for file in files}
        files = [file for file in files if not re.fullmatch(corpus.passed_over, within[file])]
    if not files:
        raise FileNotFoundError(
            f"{corpus.title}: no .wav, .flac or .ogg file in {folder}. "
            "Unpack the corpus there, or pass as data_dir the folder that holds it"
        )
    reasons = {file: reason for file in files if (reason := _reason_to_leave_out(corpus, file))}
    # With its folders, as given: users may name one that the corpus's naming needs.
    clips = [file for file in files if file not in reasons and corpus.parse(folder / file) is not None]
    if not clips:
        raise ValueError(
            f"{corpus.title}: none of the {len(files)} audio files in {folder} is a clip of the corpus, which is "
            f"named {corpus.grammar}; there are {first_few(files)}. Pass as data_dir the folder that holds the corpus"
        )
    start = corpus_root(clips, corpus.levels)
    below = [file for file in files if file.is_relative_to(start)]
    strangers = sorted(set(below) - set(clips) - set(reasons))
    if strangers:
        raise ValueError(
            f"{corpus.title}: {len(strangers)} audio file(s) in {folder / start} do not follow the corpus's naming "
            f"({corpus.grammar}): {first_few(strangers)}. Rename them as published, or move them elsewhere"
        )
    for reason, count in Counter(reasons[file] for file in below if file in reasons).items():
        warnings.warn(f"{corpus.title}: {count} file(s) left out: {reason}", stacklevel=6)
    return folder / start, [file.relative_to(start) for file in clips]


def corpus_root(clips: Iterable[Path], levels: int) -> Path:
    """Find the folder that holds all clips of a corpus.

    >>> corpus_root([Path("ravdess/Actor_01/a.wav"), Path("ravdess/Actor_02/b.wav")], levels=1).as_posix()
    'ravdess'
    """
    anchors = {Path(*clip.parent.parts[: max(len(clip.parent.parts) - levels, 0)]) for clip in clips}
    return Path(os.path.commonpath(anchors))


def first_few(names: Iterable[object]) -> str:
    """Join at most three names for a message.

    >>> first_few("abcd")
    'a, b, c, …'
    """
    names = [str(name) for name in names]
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _reason_to_leave_out(corpus: "type[SpeechCorpus]", file: Path) -> str | None:
    return next((reason for names, reason in corpus.left_out.items() if re.fullmatch(names, file.stem)), None)
