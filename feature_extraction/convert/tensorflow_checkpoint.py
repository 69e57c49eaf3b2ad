"""TensorFlow checkpoints, version 2: an index of variables and the shards that hold their values."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .file_bytes import ModelFileError, array, count, cut, map_file
from .tensorflow_bytes import WireReader, as_bytes, as_int, data_type, text, varint

SSTABLE_MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
MOST_SHARDS = 99_999
MOST_BLOCKS, MOST_ENTRIES = 1000, 10_000  # a released model's index has 1 and 39
MOST_KEY_BYTES = 4096
PIECE_BYTES = 1 << 20
MOST_INDEX_BYTES = 4 << 20  # a released model's index has 1.4 kB
# Text files in which TensorFlow names the newest checkpoint of a folder, the more telling first.
STATE_FILES = ("best_dev_checkpoint", "checkpoint")
STATE_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """Where a variable's value is."""

    code: int  # TensorFlow's number of its type
    shape: list[int]  # its shape
    shard: int  # number of the shard
    offset: int  # in the shard, in bytes
    size: int  # in bytes
    crc: int  # masked CRC-32C of the value
    whole: bool  # whether the value is stored in one piece


class Checkpoint:
    """The variables of a checkpoint, read when asked for and checked against their checksums.

    Source: TensorFlow 1.15 `core/util/tensor_bundle/tensor_bundle.{h,cc}`, `core/protobuf/tensor_bundle.proto`,
        `core/lib/io/{format,table,block}.cc`.
    """

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.entries: dict[str, Entry] = {}
        self._shards: dict[int, memoryview] = {}
        self._extend_crc = _load_crc32c()
        index = map_file(f"{prefix}.index")
        if len(index) > MOST_INDEX_BYTES:
            raise ModelFileError(f"{prefix.name}.index is larger than {MOST_INDEX_BYTES >> 20} MB: no index")
        reader = WireReader()
        self._num_shards = 1
        for number, (key, value) in enumerate(self._table(index)):
            # Entries are counted, not kept ones: blocks may repeat, and a key may replace another.
            if number > MOST_ENTRIES:
                raise ModelFileError(f"more than {MOST_ENTRIES} variables, which no DeepSpeech model has")
            if key == b"":
                self._read_header(reader, value)
            else:
                name = text(memoryview(key), "the name of a variable")
                self.entries[name] = _read_entry(reader, value, name)

    def read(self, name: str) -> np.ndarray:
        """Return the value of a variable."""
        entry, what = self.entries[name], f"the variable {name!r}"
        if not entry.whole:
            raise ModelFileError(f"{what} is stored in slices, which no release of DeepSpeech does")
        dtype = data_type(entry.code, what)
        if count(entry.shape, what) * dtype.itemsize != entry.size:
            raise ModelFileError(f"{what} has the shape {entry.shape} but {entry.size} bytes; the index is damaged")
        content = cut(self._shard(entry.shard), entry.offset, entry.size, what)
        if self._masked_crc(content) != entry.crc:
            raise ModelFileError(f"{what} does not agree with its checksum; the checkpoint is damaged")
        return array(content, dtype, entry.shape, what)

    def _shard(self, number: int) -> memoryview:
        if not 0 <= number < self._num_shards:
            raise ModelFileError(f"shard {number} of {self._num_shards} is asked for; the index is damaged")
        if number not in self._shards:
            path = f"{self.prefix}.data-{number:05}-of-{self._num_shards:05}"
            if not os.path.exists(path):
                raise FileNotFoundError(
                    f"{path}: no such file; a checkpoint is its .index and all of its .data files."
                )
            self._shards[number] = map_file(path)
        return self._shards[number]

    def _read_header(self, reader: WireReader, value: memoryview) -> None:
        header = reader.last(value)
        self._num_shards = as_int(header.get(1, 1), "the number of shards")
        if not 1 <= self._num_shards <= MOST_SHARDS:
            raise ModelFileError(f"the checkpoint has {self._num_shards} shards; the index is damaged")
        if as_int(header.get(2), "the byte order") != 0:
            raise ModelFileError("the checkpoint was written on a big-endian machine, which is not supported")

    def _table(self, index: memoryview) -> Iterator[tuple[bytes, memoryview]]:
        """Walk the keys and values of a sorted string table."""
        footer = cut(index, len(index) - FOOTER_BYTES, FOOTER_BYTES, "the index's footer")
        if int.from_bytes(footer[-8:], "little") != SSTABLE_MAGIC:
            raise ModelFileError("the index has no footer of a TensorFlow checkpoint; it is damaged or something else")
        _, position = _handle(footer, 0)
        (offset, size), _ = _handle(footer, position)
        for number, (_, handle) in enumerate(self._block(index, offset, size)):
            if number == MOST_BLOCKS:
                raise ModelFileError(f"the index has more than {MOST_BLOCKS} blocks, which no DeepSpeech model has")
            (offset, size), _ = _handle(handle, 0)
            yield from self._block(index, offset, size)

    def _block(self, index: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
        """Walk a block, whose keys leave out what they share with the one before."""
        # After a block come one byte, the kind of compression, and the checksum of both.
        block = cut(index, offset, size + 5, "a block of the index")
        if self._masked_crc(block[:-4]) != int.from_bytes(block[-4:], "little"):
            raise ModelFileError("a block of the index does not agree with its checksum; the index is damaged")
        if block[size] != 0:
            raise ModelFileError("the index is compressed, which no release of DeepSpeech does")
        block = block[:size]
        restarts = int.from_bytes(cut(block, size - 4, 4, "the end of a block"), "little")
        block = cut(block, 0, size - 4 - 4 * restarts, "the restarts of a block")
        position, key = 0, b""
        while position < len(block):
            shared, position = varint(block, position)
            own, position = varint(block, position)
            length, position = varint(block, position)
            if shared > len(key) or shared + own > MOST_KEY_BYTES:
                raise ModelFileError("a key is longer than any variable's name; the index is damaged")
            key = key[:shared] + bytes(cut(block, position, own, "a key"))
            yield key, cut(block, position + own, length, "an entry")
            position += own + length

    def _masked_crc(self, content: memoryview) -> int:
        crc = 0
        for start in range(0, len(content), PIECE_BYTES):
            crc = self._extend_crc(crc, bytes(content[start : start + PIECE_BYTES]))  # the package takes only bytes
        return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def find_prefix(source: Path) -> Path | None:
    """Find the checkpoint that a path means."""
    if source.is_dir():
        return _prefix_in_folder(source)
    stem = re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", source.name)
    prefix = source.with_name(stem)
    return prefix if Path(f"{prefix}.index").is_file() else None


def _prefix_in_folder(folder: Path) -> Path:
    for name in STATE_FILES:
        if not (folder / name).is_file():
            continue
        with open(folder / name, "rb") as file:
            state = file.read(STATE_BYTES).decode(errors="replace")
        match = re.search(r'^model_checkpoint_path:\s*"([^"\n]+)"', state, re.MULTILINE)
        if match is None:
            raise ModelFileError(f"{name} names no checkpoint; give the path of the .index file")
        # It may be a path on the machine that trained the model: only the last part means something here.
        prefix = folder / re.split(r"[/\\]", match[1])[-1]
        if not Path(f"{prefix}.index").is_file():
            raise FileNotFoundError(f"{prefix}.index: no such file, though {folder / name} names this checkpoint.")
        return prefix
    found = sorted(folder.glob("*.index"))
    if len(found) != 1:
        kinds = ", ".join(path.name for path in found) or "no .index file"
        raise ModelFileError(f"the folder holds {kinds}; give the path of one checkpoint's .index file")
    return found[0].with_suffix("")


def _handle(buffer: memoryview, position: int) -> tuple[tuple[int, int], int]:
    offset, position = varint(buffer, position)
    size, position = varint(buffer, position)
    return (offset, size), position


def _read_entry(reader: WireReader, value: memoryview, name: str) -> Entry:
    what = f"the entry of {name!r}"
    fields = reader.last(value)
    crc = as_bytes(fields.get(6, memoryview(bytes(4))), what)
    if len(crc) != 4:
        raise ModelFileError(f"{what} has a broken checksum; the index is damaged")
    return Entry(
        code=as_int(fields.get(1), what),
        shape=reader.shape(fields.get(2, memoryview(b"")), what),
        shard=as_int(fields.get(3), what),
        offset=as_int(fields.get(4), what),
        size=as_int(fields.get(5), what),
        crc=int.from_bytes(crc, "little"),
        whole=7 not in fields,
    )


def _load_crc32c() -> Callable[[int, bytes], int]:
    try:
        import google_crc32c
    except ImportError as error:
        raise ModuleNotFoundError(
            "Reading TensorFlow checkpoints needs the package google-crc32c: pip install 'modeling-ser[convert]'"
        ) from error
    return google_crc32c.extend
