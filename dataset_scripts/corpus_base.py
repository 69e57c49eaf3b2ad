"""Base of all corpora: from a folder on disk, searched and checked, to one table of clips."""

import hashlib
import os
import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import huggingface_hub.utils
from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from .audio_files import audio_files, clip_durations, folder_fingerprint
from .names import FOUR_LABELS, LABELS, first_few, spelled

CLIPS_PER_SHARD = 64


class AuditedWarning(UserWarning):
    """What an audit of the corpus finds too, so that need not be told twice."""


@dataclass
class CorpusConfig(datasets.BuilderConfig):
    """Configuration of a corpus."""

    fingerprint: str = ""  # state of the files on disk, set by the builder
    skip_bad: bool = False  # whether to leave out files that cannot be read, with a warning, instead of refusing them
    max_seconds: float | None = 3600.0  # the longest file that is no mistake; None for no limit


class SpeechCorpus(datasets.GeneratorBasedBuilder):
    """A corpus of speech on disk; concrete corpora fill in the class attributes, ``pattern`` above all.

    Every corpus has the same columns: ``id`` (unique), ``audio`` (``path`` and ``bytes``), ``label`` (one of
    ``LABELS``), ``label4`` (anger, happiness, neutral, sadness, else ``None``), ``native_label``, ``speaker``, ``sex``
    (``"f"``, ``"m"`` or ``None``), ``sentence``, ``transcript``, ``kind``, ``language``, ``duration`` (s) and ``file``
    (relative to the corpus's root); a corpus that knows more has further columns after these. One split, ``train``,
    holds all clips: how to split is the matter of ``speaker_folds``, because a corpus that comes split by clip invites
    training on the test speakers.

    Args:
        cache_dir: Folder for the tables that are built; by default that of ``datasets``.
        config_name: One of the corpus's configurations; the first by default.
        data_dir: The corpus's folder or one above it; by default ``$SER_DATA_DIR/<name>``.
        **kwargs: Further arguments of ``datasets.GeneratorBasedBuilder``.

    Raises:
        FileNotFoundError: If there is no such folder, or no audio in it.
        NotADirectoryError: If ``data_dir`` is a file.
        ValueError: If files do not follow the corpus's naming, or two have one id.
    """

    BUILDER_CONFIG_CLASS = CorpusConfig
    BUILDER_CONFIGS: ClassVar[list[CorpusConfig]] = [CorpusConfig(name="speech", version="1.0.0")]

    title: ClassVar[str]
    homepage: ClassVar[str]
    license: ClassVar[str]  # in words
    license_id: ClassVar[str] = "other"  # as the Hub calls it
    may_be_shared: ClassVar[bool] = False  # whether the licence lets anyone publish a copy; silence is no permission
    citation: ClassVar[str]
    grammar: ClassVar[str]  # how clips are named, for people: it ends error messages
    # Regular expression for the end of a clip's path, without suffix; where `read_name` is the base's, each group is
    # called as the column that it fills.
    pattern: ClassVar[str]
    labels: ClassVar[Mapping[str, str]]  # its own labels and what they are in `LABELS`; none without emotions
    published: ClassVar[Mapping[str, int]] = {}  # published number of clips of each own label; empty where unknown
    published_speakers: ClassVar[int] = 0
    published_rate: ClassVar[int | None] = None  # sampling rate of the published files in Hz, where all have one
    count_column: ClassVar[str] = "native_label"  # the column whose values `published` counts
    kind: ClassVar[str | None]  # how emotions came about, e.g. "acted"
    language: ClassVar[str | None]  # BCP 47 tag
    extra_features: ClassVar[Mapping[str, Any]] = {}  # columns that not every corpus has
    traps: ClassVar[tuple[str, ...]] = ()  # what is odd about the published files, one sentence each, for reports
    known_silent: ClassVar[tuple[str, ...]] = ()  # published files without sound, by name without folder and suffix
    levels: ClassVar[int] = 0  # folders between the corpus's root and a clip
    # Published with the corpus but no part of it, and why; regular expressions for names without suffix.
    left_out: ClassVar[Mapping[str, str]] = {}
    # Audio that every copy of the corpus has beside its clips; regular expression for the whole path.
    passed_over: ClassVar[str | None] = None
    helper_modules: ClassVar[tuple[str, ...]] = ()  # modules that help to make the rows, for the hash of the code

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a label map that leaves the house vocabulary."""
        super().__init_subclass__(**kwargs)
        unknown = sorted(set(getattr(cls, "labels", {}).values()) - set(LABELS))
        if unknown:
            raise ValueError(f"{cls.__name__}.labels maps to {unknown}, which are not among {list(LABELS)}")

    def __init__(
        self,
        cache_dir: str | os.PathLike[str] | None = None,
        config_name: str | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        folder = self.default_data_dir(cache_dir) if data_dir is None else Path(data_dir).expanduser()
        self.root, files = self.find(Path(os.path.abspath(folder)))  # rows outlive the working directory
        states = [*files, *self.annotation_files()]
        super().__init__(
            cache_dir=None if cache_dir is None else str(cache_dir),
            config_name=config_name or self.BUILDER_CONFIGS[0].name,
            data_dir=str(self.root),
            fingerprint=folder_fingerprint(self.root, states),
            hash=_code_hash(type(self)),
            **kwargs,
        )
        self.clips = [self._clip(file, parsed) for file, parsed in self.read_rows(files)]
        self._check_ids()
        self._check_counts()

    @classmethod
    def parse(cls, path: Path) -> dict[str, Any] | None:
        """Read what a clip's path says; ``None`` if it is not the corpus's."""
        name = re.search(rf"(?<![^/])(?:{cls.pattern})\Z", path.with_suffix("").as_posix())
        return None if name is None else cls.read_name(name)

    @classmethod
    def read_name(cls, name: re.Match[str]) -> dict[str, Any]:
        """Return the columns that a clip's name tells, of those that ``_clip`` does not derive itself."""
        return name.groupdict()

    @classmethod
    def default_data_dir(cls, cache_dir: str | os.PathLike[str] | None = None) -> Path:
        """Return the corpus's folder where none is named; a corpus that can be fetched goes into the cache."""
        name = cls.__module__.rpartition(".")[2]
        parent = os.environ.get("SER_DATA_DIR")
        folder = Path(parent, name) if parent else None
        if folder is not None and folder.is_dir():
            return folder
        reason = f"{folder} does not exist" if folder else "SER_DATA_DIR is not set"
        raise FileNotFoundError(
            f"{cls.title}: no folder was named, and {reason}. "
            f"Pass data_dir, the folder that holds the corpus; it can be obtained from {cls.homepage}"
        )

    def find(self, folder: Path) -> tuple[Path, list[Path]]:
        """Find the corpus at or below a folder by its naming: its root, and its clips relative to that, sorted."""
        if folder.is_file():
            raise NotADirectoryError(f"{self.title}: {folder} is a file. Pass as data_dir the folder that holds it")
        files = audio_files(folder)
        if self.passed_over:
            # Below the folder, and with its own name, as what lies above is the user's: it may be called "dialog".
            within = {file: Path("/", folder.name, file).as_posix() for file in files}
            files = [file for file in files if not re.fullmatch(self.passed_over, within[file])]
        if not files:
            raise FileNotFoundError(
                f"{self.title}: no .wav, .flac or .ogg file in {folder}. "
                "Unpack the corpus there, or pass as data_dir the folder that holds it"
            )
        reasons = {
            file: reason for file in files for names, reason in self.left_out.items() if re.fullmatch(names, file.stem)
        }
        # With its folders, as given: users may name one that the corpus's naming needs.
        clips = [file for file in files if file not in reasons and self.parse(folder / file) is not None]
        if not clips:
            raise ValueError(
                f"{self.title}: none of the {len(files)} audio files in {folder} is a clip of the corpus, "
                f"which is named {self.grammar}; there are {first_few(files)}. "
                "Pass as data_dir the folder that holds the corpus"
            )
        anchors = {Path(*clip.parent.parts[: max(len(clip.parent.parts) - self.levels, 0)]) for clip in clips}
        start = Path(os.path.commonpath(anchors))  # relative to the folder; all clips lie below
        below = [file for file in files if file.is_relative_to(start)]
        strangers = sorted(set(below) - set(clips) - set(reasons))
        if strangers:
            raise ValueError(
                f"{self.title}: {len(strangers)} audio file(s) in {folder / start} do not follow the corpus's naming "
                f"({self.grammar}): {first_few(strangers)}. Rename them as published, or move them elsewhere"
            )
        for reason, count in Counter(reasons[file] for file in below if file in reasons).items():
            warnings.warn(f"{self.title}: {count} file(s) left out: {reason}", stacklevel=5)
        return folder / start, [file.relative_to(start) for file in clips]

    def annotation_files(self) -> list[Path]:
        """List the files beside the audio that rows are made from, relative to ``root``; most corpora have none."""
        return []

    def read_rows(self, files: Iterable[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield the clips that the configuration holds, with what ``parse`` gives and what the annotations add."""
        for file in files:
            yield file, self.parse(self.root / file)

    def outside_files(self) -> list[Path]:
        """List the files that lie outside of the corpus's folder; who obtained a corpus may link its parts."""
        return []

    def durations(self) -> list[float | None]:
        """Read how long the clips are, in s; ``None`` for what cannot be read, where that may be skipped."""
        return clip_durations(
            (self.root / clip["file"] for clip in self.clips), self.config.skip_bad, self.config.max_seconds
        )

    def audio_of(self, clip: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the sound of a clip as ``load_audio`` takes it."""
        return clip["audio"]

    def label_map(self) -> Mapping[str, str]:
        """Return the configuration's own labels and what they are in ``LABELS``."""
        return self.labels

    def published_counts(self) -> Mapping[str, int]:
        """Return the published number of clips of each own label, as far as it is known for the configuration."""
        return self.published

    def expected_clips(self) -> dict[str, float | None]:
        """Return the ids of all published clips of the configuration and their lengths in s, each where known."""
        path = Path(__file__).with_name(f"{self.name}_clips.txt")  # such lists ship with some corpora
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        pairs = (line.split("\t") for line in lines if line and not line.startswith("#"))
        return {clip_id: float(seconds) for clip_id, seconds in pairs}

    def house_label(self, native_label: str | None, file: Path) -> str | None:
        """Translate a label of the corpus into one of ``LABELS``; ``None`` in a corpus without emotions."""
        labels = self.label_map()
        if not labels and native_label is None:
            return None
        if native_label not in labels:
            raise ValueError(
                f"{self.title}: {file} has the label {native_label!r}, which is not one of {sorted(labels)}. "
                "Correct it, or add it to the corpus's `labels`"
            )
        return labels[native_label]

    @property
    def speakers(self) -> set[str]:
        """The known speakers."""
        return {clip["speaker"] for clip in self.clips} - {None}

    def count_differences(self) -> list[str]:
        """Compare the corpus with what is published of it: a phrase for each difference."""
        published = self.published_counts()
        if not published:
            return []
        found = Counter(clip[self.count_column] for clip in self.clips)
        phrases = [
            f"{name} {found[name]} instead of {count}" for name, count in published.items() if found[name] != count
        ]
        if len(self.speakers) != self.published_speakers:
            phrases.append(f"{len(self.speakers)} speakers instead of {self.published_speakers}")
        if expected := self.expected_clips():
            ids = {clip["id"] for clip in self.clips}
            if missing := sorted(expected.keys() - ids):
                phrases.append(f"{len(missing)} missing: {first_few(missing)}")
            if surplus := sorted(ids - expected.keys()):
                phrases.append(f"{len(surplus)} not published: {first_few(surplus)}")
        return phrases

    def as_table(
        self, streaming: bool = False, num_proc: int | None = None
    ) -> datasets.Dataset | datasets.IterableDataset:
        """Return the clips as ``load_corpus`` does, built or from the cache."""
        if streaming:
            # Left as it is: a streamed row that is cast to Audio() is encoded with torchcodec, even with decode=False.
            return self.as_streaming_dataset(split="train")
        with quiet_unless_terminal():
            self.download_and_prepare(num_proc=num_proc)
            rows = self.as_dataset(split="train")
        if len(rows) < len(self.clips):  # only where that was asked for; told each time, not only when it is built
            kept = set(rows["file"])
            skipped = [clip["file"] for clip in self.clips if clip["file"] not in kept]
            warnings.warn(
                f"{self.title}: {len(skipped)} audio file(s) cannot be read and are left out: {first_few(skipped)}",
                stacklevel=3,
            )
        return rows.cast_column("audio", datasets.Audio(decode=False))

    def _check_ids(self) -> None:
        """Refuse clips that share an id: the same clip in two encodings, or two copies of a corpus in one folder."""
        files = defaultdict(list)
        for clip in self.clips:
            files[clip["id"]].append(clip["file"])
        doubles = {clip_id: names for clip_id, names in files.items() if len(names) > 1}
        if doubles:
            clip_id, names = next(iter(doubles.items()))
            raise ValueError(
                f"{self.title}: {len(doubles)} clip id(s) occur more than once, for example {clip_id!r} in "
                f"{first_few(names)}. Keep one file of each, or pass as data_dir the folder of one copy of the corpus"
            )

    def _check_counts(self) -> None:
        differences = self.count_differences()
        if differences:
            published = sum(self.published_counts().values())
            warnings.warn(
                f"{self.title}: there are {len(self.clips)} clips of {len(self.speakers)} speakers; published are "
                f"{published} clips of {self.published_speakers} speakers ({'; '.join(differences)}). "
                "Figures from it cannot be compared with published ones",
                AuditedWarning,
                stacklevel=5,
            )

    def _clip(self, file: Path, parsed: dict[str, Any]) -> dict[str, Any]:
        """Complete what is known of a clip to a row; only the duration is still missing."""
        label = self.house_label(parsed.get("native_label"), file)
        defaults = {"id": spelled(file.stem), "kind": self.kind, "language": self.language}
        derived = {
            "audio": {"path": str(self.root / file), "bytes": None},
            "label": label,
            "label4": label if label in FOUR_LABELS else None,
            "file": file.as_posix(),
        }
        return dict.fromkeys(self.info.features) | defaults | parsed | derived

    def _info(self) -> datasets.DatasetInfo:
        text = datasets.Value("string")
        return datasets.DatasetInfo(
            description=f"{self.title}. Clips are named {self.grammar}.",
            homepage=self.homepage,
            license=self.license,
            citation=self.citation,
            features=datasets.Features(
                {
                    "id": text,
                    # Audio() in a builder's features needs torchcodec even where nothing is decoded; the loader casts.
                    "audio": {"path": text, "bytes": datasets.Value("binary")},
                    **dict.fromkeys(("label", "label4", "native_label", "speaker", "sex", "sentence"), text),
                    **dict.fromkeys(("transcript", "kind", "language"), text),
                    "duration": datasets.Value("float64"),
                    "file": text,
                    **self.extra_features,
                }
            ),
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        # Headers are read here, not in _generate_examples: there, datasets would wrap a clear error in one of its own.
        rows = [
            clip | {"duration": duration}
            for clip, duration in zip(self.clips, self.durations(), strict=True)
            if duration is not None
        ]
        # A list in gen_kwargs is an axis along which datasets divides the work: between processes, or when streaming.
        shards = [tuple(rows[start : start + CLIPS_PER_SHARD]) for start in range(0, len(rows), CLIPS_PER_SHARD)]
        return [datasets.SplitGenerator(name=datasets.Split.TRAIN, gen_kwargs={"shards": shards})]

    def _generate_examples(self, shards: list[tuple[dict[str, Any], ...]]) -> Iterator[tuple[str, dict[str, Any]]]:
        for shard in shards:
            for row in shard:
                yield row["id"], row | {"audio": self.audio_of(row)}


def _code_hash(corpus: type[SpeechCorpus]) -> str:
    """Hash the code that makes the rows, so that a table made by older code is not taken for a new one."""
    modules = [sys.modules[cls.__module__] for cls in corpus.__mro__ if issubclass(cls, SpeechCorpus)]
    modules += [sys.modules[f"{__package__}.{name}"] for name in corpus.helper_modules]
    digest = hashlib.sha256()
    for module in modules:
        if file := getattr(module, "__file__", None):  # a corpus defined in a notebook has none
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def quiet_unless_terminal() -> Iterator[None]:
    """Keep the progress bars of datasets and of the Hub's client out of logs."""
    if sys.stderr.isatty():
        yield
        return
    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with huggingface_hub.utils.disable_progress_bars():
            yield
    finally:
        if shown:
            enable_progress_bars()
