"""Base of all corpora: from a folder on disk to one table of clips."""

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets

from .audio_header import clip_durations
from .corpus_checks import check_counts, check_ids
from .corpus_scan import folder_fingerprint
from .corpus_search import find_clips
from .labels import FOUR_LABELS, LABELS
from .published_clips import published_clips

CLIPS_PER_SHARD = 64


@dataclass
class CorpusConfig(datasets.BuilderConfig):
    """Configuration of a corpus."""

    fingerprint: str = ""  # state of the files on disk, set by the builder
    skip_bad: bool = False  # whether to leave out files that cannot be read, with a warning, instead of refusing them


class SpeechCorpus(datasets.GeneratorBasedBuilder):
    """A corpus of speech on disk; concrete corpora fill in the class attributes and ``parse``.

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

    title: ClassVar[str]
    homepage: ClassVar[str]
    license: ClassVar[str]
    """In words."""
    license_id: ClassVar[str] = "other"
    """As the Hub calls it."""
    may_be_shared: ClassVar[bool] = False
    """Whether the licence lets anyone publish a copy; silence is no permission."""
    citation: ClassVar[str]
    grammar: ClassVar[str]
    """How clips are named, for people: it ends error messages."""
    labels: ClassVar[Mapping[str, str]]
    """The corpus's own labels and what they are in ``LABELS``; empty for speech without emotions."""
    published: ClassVar[Mapping[str, int]] = {}
    """Published number of clips of each own label; empty where nothing is published."""
    published_speakers: ClassVar[int] = 0
    published_rate: ClassVar[int | None] = None
    """Sampling rate of the published files in Hz, where all have one."""
    count_column: ClassVar[str] = "native_label"
    """The column whose values ``published`` counts."""
    kind: ClassVar[str | None]
    """How emotions came about, e.g. ``"acted"``."""
    language: ClassVar[str | None]
    """BCP 47 tag."""
    extra_features: ClassVar[Mapping[str, Any]] = {}
    """Columns that not every corpus has."""
    traps: ClassVar[tuple[str, ...]] = ()
    """What is known to be odd about the published files, one sentence each, for reports and cards."""
    known_silent: ClassVar[tuple[str, ...]] = ()
    """Names, without folder and suffix, of published files that hold no sound."""
    levels: ClassVar[int] = 0
    """Folders between the corpus's root and a clip."""
    left_out: ClassVar[Mapping[str, str]] = {}
    """Names (regular expressions for the whole stem) that are published with the corpus but no part of it, and why."""
    passed_over: ClassVar[str | None] = None
    """Regular expression for the whole path of audio that every copy of the corpus has beside its clips."""
    helper_modules: ClassVar[tuple[str, ...]] = ()
    """Modules of this package that help to make the rows, for the hash of the code."""

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
        self.root, files = self.find(folder)
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
        check_ids(self)
        check_counts(self)

    def find(self, folder: Path) -> tuple[Path, list[Path]]:
        """Find the corpus at or below a folder.

        Args:
            folder: The folder the user named.

        Returns:
            The corpus's root, absolute, and its clips relative to it, sorted.

        Raises:
            FileNotFoundError: If there is no such folder, or no audio in it.
            NotADirectoryError: If it is a file.
            ValueError: If its audio does not follow the corpus's naming.
        """
        return find_clips(type(self), folder)

    def annotation_files(self) -> list[Path]:
        """List the files beside the audio that rows are made from.

        Returns:
            Paths relative to ``root``; by default none, because most corpora say everything in their names.
        """
        return []

    def read_rows(self, files: Iterable[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Read what is known of the clips.

        Args:
            files: Clips, relative to ``root``.

        Yields:
            Those that the configuration holds, with what ``parse`` gives and what the annotations add.
        """
        for file in files:
            yield file, self.parse(self.root / file)

    def label_map(self) -> Mapping[str, str]:
        """Return the configuration's own labels and what they are in ``LABELS``."""
        return self.labels

    def published_counts(self) -> Mapping[str, int]:
        """Return the published number of clips of each own label, as far as it is known for the configuration."""
        return self.published

    def expected_clips(self) -> dict[str, float | None]:
        """Return the ids of all published clips of the configuration and their lengths in s, each where known."""
        return dict(published_clips(self.name))

    @classmethod
    def parse(cls, path: Path) -> dict[str, Any] | None:
        """Read what a clip's name says.

        Args:
            path: Path of an audio file; some corpora also read its folder's name.

        Returns:
            ``native_label``, ``speaker``, and where known ``id`` (the name without its suffix by default), ``sex``,
            ``sentence``, ``transcript``, ``kind`` and ``language``; ``None`` for a name that is not the corpus's.
        """
        raise NotImplementedError

    @classmethod
    def default_data_dir(cls, cache_dir: str | os.PathLike[str] | None = None) -> Path:
        """Find the corpus when the user has named no folder.

        Args:
            cache_dir: Folder for what a corpus fetches, for those that can be fetched.

        Returns:
            ``$SER_DATA_DIR/<name>``, where ``<name>`` is that of the corpus's module.

        Raises:
            FileNotFoundError: If the variable is unset or the folder does not exist.
        """
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

    def house_label(self, native_label: str | None, file: Path) -> str | None:
        """Translate a label of the corpus.

        Args:
            native_label: The corpus's own label.
            file: The clip, for the message.

        Returns:
            One of ``LABELS``, or ``None`` in a corpus without emotions.

        Raises:
            ValueError: If the corpus has no such label.
        """
        labels = self.label_map()
        if not labels and native_label is None:
            return None
        if native_label not in labels:
            raise ValueError(
                f"{self.title}: {file} has the label {native_label!r}, which is not one of {sorted(labels)}. "
                "Correct it, or add it to the corpus's `labels`"
            )
        return labels[native_label]

    def _clip(self, file: Path, parsed: dict[str, Any]) -> dict[str, Any]:
        """Complete what is known of a clip to a row; only the duration is still missing."""
        label = self.house_label(parsed.get("native_label"), file)
        defaults = {
            "id": file.stem,
            "native_label": None,
            "sex": None,
            "sentence": None,
            "transcript": None,
            "kind": self.kind,
            "language": self.language,
            **dict.fromkeys(self.extra_features),
        }
        derived = {
            "audio": {"path": str(self.root / file), "bytes": None},
            "label": label,
            "label4": label if label in FOUR_LABELS else None,
            "file": file.as_posix(),
        }
        return defaults | parsed | derived

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
                    "label": text,
                    "label4": text,
                    "native_label": text,
                    "speaker": text,
                    "sex": text,
                    "sentence": text,
                    "transcript": text,
                    "kind": text,
                    "language": text,
                    "duration": datasets.Value("float64"),
                    "file": text,
                    **self.extra_features,
                }
            ),
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        # Headers are read here, not in _generate_examples: there, datasets would wrap a clear error in one of its own.
        durations = clip_durations((self.root / clip["file"] for clip in self.clips), self.config.skip_bad)
        rows = [
            clip | {"duration": duration}
            for clip, duration in zip(self.clips, durations, strict=True)
            if duration is not None
        ]
        # A list in gen_kwargs is an axis along which datasets divides the work: between processes, or when streaming.
        shards = [tuple(rows[start : start + CLIPS_PER_SHARD]) for start in range(0, len(rows), CLIPS_PER_SHARD)]
        return [datasets.SplitGenerator(name=datasets.Split.TRAIN, gen_kwargs={"shards": shards})]

    def _generate_examples(self, shards: list[tuple[dict[str, Any], ...]]) -> Iterator[tuple[str, dict[str, Any]]]:
        for shard in shards:
            for row in shard:
                yield row["id"], row


def _code_hash(corpus: type[SpeechCorpus]) -> str:
    """Hash the code that makes the rows, so that a table made by older code is not taken for a new one."""
    modules = [sys.modules[cls.__module__] for cls in corpus.__mro__ if issubclass(cls, SpeechCorpus)]
    modules += [sys.modules[f"{__package__}.{name}"] for name in corpus.helper_modules]
    digest = hashlib.sha256()
    for module in modules:
        if file := getattr(module, "__file__", None):  # a corpus defined in a notebook has none
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:16]
