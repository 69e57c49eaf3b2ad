"""The user's own recordings: a list of them, or a folder for each emotion."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets

from .audio_files import RECORDED_SUFFIXES, UNREAD_SUFFIXES, audio_files
from .corpus_base import AuditedWarning, CorpusConfig, SpeechCorpus
from .manifest import NAMES, OTHER_TABLES, STEMS, SUFFIXES, read_manifest
from .names import LABELS, first_few, house_label, name_key, spelled

# Folders of data sets that come divided already.
SPLITS = ("dev", "eval", "test", "train", "training", "val", "valid", "validation")


@dataclass
class RecordingsConfig(CorpusConfig):
    """Configuration of the user's own recordings."""

    # Regular expression with a group `speaker`, searched in each clip's path, where names tell the speaker.
    speaker_pattern: str | None = None


class Recordings(SpeechCorpus):
    r"""Recordings of the user's own, of any emotions.

    ``data_dir`` is a list of them (see ``read_manifest``), a folder that holds one called ``manifest`` or
    ``metadata``, or a folder of folders named as the emotions, ``angry/clip.wav``, or with one more level for the
    speakers, ``angry/anna/clip.wav``. Emotions that the house vocabulary knows are called by its words.
    """

    BUILDER_CONFIG_CLASS = RecordingsConfig
    BUILDER_CONFIGS: ClassVar[list[CorpusConfig]] = [RecordingsConfig(name="own", version="1.0.0")]

    title = "Own recordings"
    homepage = ""
    license = "that of the recordings' owner"
    may_be_shared = True
    citation = ""
    grammar = "as a list says, or label/clip.wav, or label/speaker/clip.wav"
    labels: ClassVar[dict[str, str]] = {}
    kind = None
    language = None
    helper_modules = ("manifest", "names")
    extra_features: ClassVar[dict[str, Any]] = {"session": datasets.Value("string")}

    @classmethod
    def default_data_dir(cls, cache_dir: str | os.PathLike[str] | None = None) -> Path:
        """Refuse: nobody but the user knows where the recordings are."""
        raise FileNotFoundError(
            f"{cls.title}: no folder was named. Pass as data_dir a list of the recordings, or a folder with a folder "
            "for each emotion"
        )

    def find(self, folder: Path) -> tuple[Path, list[Path]]:
        """Find the list, or the folders."""
        if folder.is_file() and folder.suffix.lower() not in SUFFIXES:
            raise ValueError(f"{self.title}: {folder} is no list; its name must end in {', '.join(SUFFIXES)}")
        lists = [folder] if folder.is_file() else [folder / name for name in NAMES if (folder / name).is_file()]
        if len(lists) > 1:
            raise ValueError(f"{self.title}: {first_few(lists)} are all lists. Pass as data_dir the one to be used")
        self.manifest = lists[0] if lists else None
        if self.manifest is None:
            self._check_for_unread_lists(folder)
            return folder, self._find_in_folders(folder)
        root = self.manifest.parent
        rows = read_manifest(self.manifest)
        self.listed = {Path(row["file"]): row for row in rows}
        # One file may be named in several ways: clip.wav, ./clip.wav, ../here/clip.wav.
        ((place, count),) = Counter(os.path.normpath(root / row["file"]) for row in rows).most_common(1)
        if count > 1:
            raise ValueError(f"{self.title}: {self.manifest} lists {place} {count} times. Keep one line for each file")
        absolute = [str(file.parent) for file in self.listed if file.is_absolute()]
        self.common = os.path.commonpath(absolute) if absolute else None
        slashed = next((str(file) for file in self.listed if "\\" in str(file)), None)
        if slashed and not (root / slashed).is_file() and (root / slashed.replace("\\", "/")).is_file():
            raise FileNotFoundError(f"{self.title}: {self.manifest} names {slashed}. Write / instead of \\ in paths")
        missing = [file for file in self.listed if not (root / file).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{self.title}: {len(missing)} file(s) that {self.manifest} lists do not exist: {first_few(missing)}. "
                "Paths are relative to the list; correct them"
            )
        return root, list(self.listed)

    def _check_for_unread_lists(self, folder: Path) -> None:
        """Refuse a list that would be passed over, and speakers and labels taken from folders instead."""
        for path in sorted(folder.iterdir()):
            name = path.name.lower()
            if name in NAMES:
                raise ValueError(f"{self.title}: {path} is not read under this name. Rename it to {name}")
            if path.stem.lower() in STEMS and name.endswith(OTHER_TABLES):
                mend = f"Save it as {path.stem.lower()}.csv, or take it away"
                raise ValueError(f"{self.title}: {path} is no list that is read. {mend}")

    def annotation_files(self) -> list[Path]:
        """Return the list, if there is one."""
        return [] if self.manifest is None else [self.manifest.relative_to(self.root)]

    def read_rows(self, files: Iterable[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Read what the list or the folders say."""
        pattern = _compile(self.config.speaker_pattern)
        nameless, foreign = [], set()
        for file in files:
            row = self._from_list(file) if self.manifest else self._from_folders(file)
            if pattern:  # a folder or column in its place might be no speaker at all
                match = pattern.search(file.as_posix())
                row["speaker"] = match["speaker"] if match else None
            if row["speaker"] is None:
                nameless.append(file)
            row |= {name: spelled(row[name]) for name in ("speaker", "session", "native_label") if row.get(name)}
            if house_label(row["native_label"]) not in LABELS:
                foreign.add(row["native_label"].strip())
            yield file, row
        self._check_spellings(foreign)
        if nameless:
            warnings.warn(
                f"{self.title}: THE SPEAKERS OF {len(nameless)} RECORDING(S) ARE UNKNOWN, for example of "
                f"{first_few(nameless)}. Without them nothing keeps a speaker out of the test set, and figures would "
                "be worthless; no folds can be made. Add a column `speaker` or a folder for each speaker "
                "(label/speaker/), or pass speaker_pattern"
                + (f"; {self.config.speaker_pattern!r} matches no part of these paths" if pattern else ""),
                AuditedWarning,
                stacklevel=6,
            )
        if foreign:
            warnings.warn(
                f"{self.title}: {first_few(sorted(foreign))} is none of {', '.join(LABELS)}, and is kept as it is",
                stacklevel=6,
            )

    def house_label(self, native_label: str | None, file: Path) -> str | None:
        """Translate a label of the user's where it is known."""
        return house_label(native_label)

    def _check_spellings(self, names: Iterable[str]) -> None:
        """Refuse labels that differ in case or spacing only: they would be learned as different emotions."""
        spellings: dict[str, str] = {}
        for name in sorted(names):
            other = spellings.setdefault(name_key(name), name)
            if other != name:
                raise ValueError(
                    f"{self.title}: {other!r} and {name!r} are one emotion in two spellings. Write it in one way"
                )

    def _find_in_folders(self, folder: Path) -> list[Path]:
        files = audio_files(folder, RECORDED_SUFFIXES)
        unread = audio_files(folder, UNREAD_SUFFIXES)
        text = f"{len(unread)} file(s), such as {unread[0]}, are in formats that cannot be read" if unread else ""
        if not files:
            raise FileNotFoundError(
                f"{self.title}: no list and no {', '.join(RECORDED_SUFFIXES)} file in {folder}. "
                f"Lists are called {', '.join(NAMES)}" + (f"; {text}: convert them, to .flac perhaps" if text else "")
            )
        if text:
            warnings.warn(f"{self.title}: {text}, and are left out. Convert them, to .flac perhaps", stacklevel=6)
        loose = [file for file in files if len(file.parts) == 1]
        if loose:
            raise ValueError(
                f"{self.title}: {len(loose)} file(s) in {folder} are in no folder of an emotion: {first_few(loose)}. "
                "Put each into a folder named as its emotion, or write a list"
            )
        self._check_layout(folder, files)
        return files

    def _check_layout(self, folder: Path, files: Sequence[Path]) -> None:
        """Refuse folders that are something else than emotions, which would be learned as if they were."""
        first = sorted({file.parts[0] for file in files})
        second = sorted({file.parts[1] for file in files if len(file.parts) > 2})
        for names, what in ((first, "emotions"), (second, "speakers")):
            parts = [name for name in names if name.lower() in SPLITS]
            if parts:
                raise ValueError(
                    f"{self.title}: {folder} has the folder(s) {', '.join(parts)} where {what} are expected. They "
                    "name splits, and who trains and who is tested is chosen by speaker here: put the clips into "
                    "folders as emotion/speaker/clip.wav, or write a list"
                )
        if not any(house_label(name) in LABELS for name in first) and any(
            house_label(name) in LABELS for name in second
        ):
            raise ValueError(
                f"{self.title}: the folders {first_few(first)} hold folders named as emotions ({first_few(second)}). "
                "This looks like speaker/emotion/clip.wav: emotions come first, as emotion/speaker/clip.wav; or "
                "write a list"
            )

    def _from_list(self, file: Path) -> dict[str, Any]:
        row = dict(self.listed[file])
        row.pop("file")
        # What lies above all absolute paths is this machine's business.
        name = file.relative_to(self.common) if file.is_absolute() else file
        return {"id": _without_suffix(name), "speaker": None, "native_label": row.pop("label")} | row

    def _from_folders(self, file: Path) -> dict[str, Any]:
        folders = file.parent.parts
        speaker = folders[1] if len(folders) > 1 else None
        return {"id": _without_suffix(file), "native_label": folders[0], "speaker": speaker}


def _without_suffix(file: Path) -> str:
    return file.with_suffix("").as_posix()


def _compile(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"speaker_pattern {pattern!r} is no regular expression: {error}") from error
    if "speaker" not in compiled.groupindex:
        raise ValueError(f"speaker_pattern {pattern!r} has no group (?P<speaker>…), which tells the speaker")
    return compiled
