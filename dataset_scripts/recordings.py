"""The user's own recordings: a list of them, or a folder for each emotion."""

import os
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import datasets

from feature_extraction.safe_text import printable

from .audio_files import RECORDED_SUFFIXES, UNREAD_SUFFIXES, audio_files, clip_durations
from .corpus_base import AuditedWarning, CorpusConfig, SpeechCorpus
from .fold_checks import PART
from .manifest import ATTRIBUTES, COLUMNS, NAMES, OTHER_TABLES, SPLITS, STEMS, SUFFIXES, read_manifest
from .names import LABELS, first_few, house_label, name_key, spelled
from .segments import check_part, cut, file_seconds, is_part


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

    Lines of a list that have ``start`` and ``end``, in s, or a ``channel``, from 0, are parts of their files: they are
    cut out when the table is built, and whoever speaks in one file is in one session, unless the list tells sessions.

    Where a list has the labels of several raters, ``votes`` is how many gave which, and ``label`` what most of them
    gave; clips whose raters are evenly divided are left out. Lists of ``valence``, ``arousal`` or ``dominance`` need
    no label.
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
    DEFAULT_WRITER_BATCH_SIZE = 16  # parts of files are held in memory until written
    helper_modules = ("manifest", "names", "segments")
    extra_features: ClassVar[dict[str, Any]] = {
        "session": datasets.Value("string"),
        "start": datasets.Value("float64"),  # of a clip that is a part of its file, s
        "end": datasets.Value("float64"),
        "channel": datasets.Value("int64"),  # of its file, from 0
        "votes": datasets.List({"label": datasets.Value("string"), "votes": datasets.Value("float64")}),
        **dict.fromkeys(ATTRIBUTES, datasets.Value("float64")),
    }

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
        self.manifest, self.lines = (lists[0] if lists else None), {}
        if self.manifest is None:
            self._check_for_unread_lists(folder)
            return folder, self._find_in_folders(folder)
        root, self.listed = self.manifest.parent, defaultdict(list)
        lookup = cache(_names_in)
        for row in read_manifest(self.manifest):
            self.listed[_on_disk(root, row["file"], lookup)].append(row)
        slashed = next((str(file) for file in self.listed if "\\" in str(file)), None)
        if slashed and not (root / slashed).is_file() and (root / slashed.replace("\\", "/")).is_file():
            raise FileNotFoundError(
                f"{self.title}: {self.manifest} names {printable(slashed)}. Write / instead of \\ in paths"
            )
        missing = [file for file in self.listed if not (root / file).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{self.title}: {len(missing)} file(s) that {self.manifest} lists do not exist: {first_few(missing)}. "
                "Paths are relative to the list; correct them"
            )
        self._check_lines(root)
        self.listed_names = _names_of(root, self.listed)
        if outside := _outside(root, self.listed):
            warnings.warn(
                f"{self.title}: {len(outside)} file(s) that {self.manifest} lists lie outside of its folder: "
                f"{first_few(outside)}. They are read from there; `export` and `push` do not copy them unless told to",
                stacklevel=5,
            )
        return root, list(self.listed)

    def _check_lines(self, root: Path) -> None:
        """Refuse a file that is listed more than once, in whatever way its path is written, but for parts of it."""
        lines = defaultdict(list)  # by file, named in one way: clip.wav, ./clip.wav, ../here/clip.wav
        for file, rows in self.listed.items():
            for row in rows:
                lines[os.path.normpath(root / file), row.get("channel")].append(row)
        for (place, channel), rows in lines.items():
            parts = Counter((row.get("start"), row.get("end")) for row in rows)
            (part, count), named = parts.most_common(1)[0], f"{self.title}: {self.manifest} lists {printable(place)}"
            if count > 1 and any("rater" in row for row in rows):
                raise ValueError(
                    f"{named} {count} times, for several raters. Write one line, with a column for each: rater_1, …"
                )
            if count > 1 and part == (None, None):
                raise ValueError(
                    f"{named} {count} times. Keep one line for each file, or say in columns `start` and `end`, in "
                    "seconds, which part of it each line is"
                )
            if count > 1:
                raise ValueError(f"{named} {count} times from {part[0]:g} s. Keep one line for each part")
            if len(parts) > 1 and any(row.get("start") is None for row in rows):
                raise ValueError(f"{named} whole and in parts. Give each of its lines a start, or keep one line")
            if channel is not None and (place, None) in lines:
                raise ValueError(f"{named} with channels and without. Say of each of its lines which channel it is")

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
        nameless, foreign, divided = [], set(), []
        for file, row in self._told(files):
            if (votes := row.get("votes")) is not None:
                row["votes"], row["native_label"] = _elected(votes)
                foreign |= {vote["label"] for vote in row["votes"]} - {*LABELS}
                if row["native_label"] is None:
                    divided.append(row["id"])
                    continue
            if pattern:  # a folder or column in its place might be no speaker at all
                match = pattern.search(spelled(file.as_posix()))
                row["speaker"] = match["speaker"] if match else None
            if row["speaker"] is None:
                nameless.append(file)
            row |= {name: spelled(row[name]) for name in ("id", "speaker", "session", "native_label") if row.get(name)}
            if row["native_label"] is not None and house_label(row["native_label"]) not in LABELS:
                foreign.add(row["native_label"].strip())
            yield file, row
        self._check_spellings(foreign)
        if divided:
            warnings.warn(
                f"{self.title}: {len(divided)} clip(s) are left out whose raters are evenly divided between labels: "
                f"{first_few(divided)}",
                stacklevel=6,
            )
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
        return None if native_label is None else house_label(native_label)

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

    def _told(self, files: Iterable[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield each clip's file and what the list or the folders say of it."""
        if self.manifest is None:
            for file in files:
                folders = file.parent.parts
                speaker = folders[1] if len(folders) > 1 else None
                yield file, {"id": _without_suffix(file), "native_label": folders[0], "speaker": speaker}
            return
        lines = [(file, row) for file in files for row in self.listed[file]]
        speakers = defaultdict(set)
        for file, row in lines:
            speakers[file].add(row.get("speaker"))
            if len({row.get("session") for row in self.listed[file]}) > 1:
                raise ValueError(
                    f"{self.title}: {printable(file)} is in several sessions. Whoever speaks in one file shares "
                    "one: give all of its lines the same"
                )
        # Whoever speaks in one file shares dialogue and recording: what a session is.
        dialogues = not any("session" in row for _, row in lines) and max(map(len, speakers.values())) > 1
        for file, row in lines:
            name, start, end = self.listed_names[file], row.get("start"), row.get("end")
            part = "" if start is None else f"_{start:.3f}-" + ("" if end is None else f"{end:.3f}")
            part += f"_channel{row['channel']}" if "channel" in row else ""
            known = {column: row[column] for column in (*COLUMNS, *PART, "votes", *ATTRIBUTES) if column in row}
            told = {"id": name + part, "speaker": None, "native_label": known.pop("label", None)}
            del known["file"]
            told |= ({"session": name} if dialogues else {}) | known
            self.lines[spelled(told["id"])] = row
            yield file, told

    def outside_files(self) -> list[Path]:
        """List the files that, links followed, lie outside of the folder, whoever wrote the list or set the links."""
        return _outside(self.root, {Path(clip["file"]): None for clip in self.clips})

    def durations(self) -> list[float | None]:
        """Read how long the clips are; where lines are parts of files, or say how long these are, check that."""
        files = {self.root / clip["file"]: None for clip in self.clips}
        seconds = dict(zip(files, clip_durations(files, self.config.skip_bad, self.config.max_seconds), strict=True))
        cut_of = [(self.root / clip["file"], clip["channel"]) for clip in self.clips if is_part(clip)]
        for path, channel in dict.fromkeys(cut_of):
            try:
                seconds[path] = seconds[path] and file_seconds(path, channel, self.config.max_seconds)
            except (ValueError, OSError):
                if not self.config.skip_bad:
                    raise
                seconds[path] = None
        lengths = []
        for clip in self.clips:
            length = seconds[self.root / clip["file"]]
            if length is not None and (part := check_part(self.lines.get(clip["id"], {}), length)):
                clip["start"], clip["end"] = part
                length = part[1] - part[0]
            lengths.append(length)
        return lengths

    def audio_of(self, clip: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sound of a clip: its file, or what is cut out of it."""
        if not is_part(clip):
            return clip["audio"]
        path, longest = self.root / clip["file"], self.config.max_seconds
        seconds = file_seconds(path, clip["channel"], longest)
        start, end = check_part(self.lines[clip["id"]], seconds) or (0.0, seconds)
        return cut(path, start, end, clip["channel"], longest, clip["id"])


def _elected(votes: Mapping[str, float]) -> tuple[list[dict[str, Any]], str | None]:
    """Count votes by labels of the house, and find which has most; `None` where several have."""
    counts: dict[str, float] = defaultdict(float)
    for label, number in votes.items():
        counts[house_label(label)] += number
    best = [label for label, number in counts.items() if number == max(counts.values())]
    told = [{"label": label, "votes": number} for label, number in sorted(counts.items())]
    return told, best[0] if len(best) == 1 else None


def _outside(root: Path, files: Iterable[Path]) -> list[Path]:
    base = root.resolve()
    return [file for file in files if not (root / file).resolve().is_relative_to(base)]


def _without_suffix(file: Path) -> str:
    return spelled(file.with_suffix("").as_posix())


def _on_disk(root: Path, listed: str, names_in: Callable[[Path], dict[str, str]]) -> Path:
    """Find a file by its listed name, whether its accents are letters of their own, as macOS writes them, or not."""
    if (root / listed).exists():
        return Path(listed)
    found = Path()
    for part in Path(listed).parts:
        here = root / found
        found /= part if (here / part).exists() else names_in(here).get(spelled(part), part)
    return found


def _names_in(folder: Path) -> dict[str, str]:
    return {spelled(name): name for name in os.listdir(folder)} if folder.is_dir() else {}


def _names_of(root: Path, files: Iterable[Path]) -> dict[Path, str]:
    """Name the clips of files without telling where on this machine they lie: no absolute path, no `..`."""
    below = {file: Path(os.path.relpath(root / file, root)) for file in files}
    absolute = [file for file in below if file.is_absolute()]
    leaving = [file for file, way in below.items() if ".." in way.parts and not file.is_absolute()]
    for group in filter(None, (absolute, leaving)):  # what lies above all of them is this machine's business
        places = {file: os.path.normpath(root / file) for file in group}
        common = os.path.commonpath([os.path.dirname(place) for place in places.values()])
        below |= {file: Path(place).relative_to(common) for file, place in places.items()}
    return {file: _without_suffix(way) for file, way in below.items()}


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
