"""What very many scores are of: files, or a data set of the Hub, in units of which each is scored as a whole."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from feature_extraction.safe_text import printable

Clip = tuple[str, Any]  # its name, and what the pipeline reads


class FileChunks:
    """Files in the order of their list; a unit is so many of them.

    Args:
        files: Their names. All processes, and all later runs, need the same list.
        size: Files of a unit.

    Example:
        >>> chunks = FileChunks(["a.wav", "b.wav", "c.wav"], size=2)
        >>> len(chunks), [name for name, _ in chunks[1]]
        (2, ['c.wav'])
    """

    def __init__(self, files: Sequence[str], size: int) -> None:
        self.files, self.size = files, size
        self.about = {"files": len(files), "list": _digest(files), "files_per_part": size}

    def __len__(self) -> int:
        return -(-len(self.files) // self.size)

    def __getitem__(self, number: int) -> Iterator[Clip]:
        for name in islice(self.files, number * self.size, (number + 1) * self.size):
            yield printable(name), Path(name)


class DatasetFiles:
    """The rows of a data set, streamed; a unit is one of its data files.

    Args:
        name: Its id on the Hub, perhaps with `@` and a revision, or a folder that holds its data files.
        split: Which of its splits.
        config: Which of its configurations, if it has several.
        column: The column of sounds, if it has several.

    Raises:
        FileNotFoundError: There is no such data set.
        ValueError: It has no such split or column, or its rows hold no sounds but names of files.
    """

    def __init__(self, name: str, split: str, config: str | None = None, column: str | None = None) -> None:
        source, _, revision = (name, "", "") if Path(name).is_dir() else name.partition("@")
        if not Path(source).is_dir() and not re.fullmatch(r"(\w[\w.-]*/)?\w[\w.-]*", source):
            raise FileNotFoundError(f"There is no folder {printable(name)}, and it is no id of a data set on the Hub.")
        import datasets

        builder = datasets.load_dataset_builder(source, config, revision=revision or None)
        streams = builder.as_streaming_dataset()
        if split not in streams:
            raise ValueError(f"{name} has no split {split}; its splits are {', '.join(map(printable, streams))}.")
        rows, features = streams[split], streams[split].features or {}
        sounds = [key for key, feature in features.items() if isinstance(feature, datasets.Audio)]
        if column is None and len(sounds) != 1:
            several = f"several columns of sounds, {', '.join(map(printable, sounds))}; name one, with --column"
            raise ValueError(f"{name} has {several if sounds else 'no column of sounds'}.")
        self.column = column or sounds[0]
        if self.column not in features:
            raise ValueError(
                f"{name} has no column {self.column}; its columns are {', '.join(map(printable, features))}."
            )
        if builder.name == "audiofolder":
            raise ValueError(f"{name} is a folder of files and no table of sounds: download it, and name the folder.")
        # Not as Audio: a streamed row of that is encoded with torchcodec, even with decode=False.
        stored = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
        self.rows = rows.select_columns([self.column]).cast_column(self.column, stored)
        files = [str(file) for file in builder.config.data_files[split]]  # those of the Hub name their commit
        self.about = {"dataset": source, "split": split, "column": self.column, "files": len(files)}
        self.about |= {"config": builder.config.name, "list": _digest(files)}

    def __len__(self) -> int:
        return self.rows.num_shards

    def __getitem__(self, number: int) -> Iterator[Clip]:
        for row in self.rows.shard(num_shards=len(self), index=number):
            sound = row[self.column] or {}
            name = printable(sound.get("path") or "")
            # A path in a stranger's table may be one of this machine.
            yield name, {"bytes": sound.get("bytes") or b"", "path": name}


def _digest(names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(os.fsencode(name) + b"\0")
    return digest.hexdigest()
