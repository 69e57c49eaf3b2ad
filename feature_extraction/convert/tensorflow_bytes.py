"""Bounds-checked reading of TensorFlow's types and of protocol buffers, from a memory map.

Google's own parser of protocol buffers builds an object for every message, and two bytes can make one: a hostile file
of a model's size would take gigabytes. Here messages are walked in place, and a budget bounds how many fields are
looked at. A released model has some thousands.
"""

import struct
from collections.abc import Iterator

import numpy as np

from .file_bytes import ModelFileError, cut

# Numbers of TensorFlow's DataType.
DATA_TYPES = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    4: np.dtype("u1"),
    6: np.dtype("i1"),
    9: np.dtype("<i8"),
}
MOST_FIELDS = 1_000_000
MOST_TEXT_BYTES = 4096
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Value = int | memoryview


def data_type(code: int, what: str) -> np.dtype:
    """Return the type that TensorFlow's number means."""
    if code not in DATA_TYPES:
        raise ModelFileError(f"{what} is of TensorFlow's type number {code}, which is not known here")
    return DATA_TYPES[code]


def scalar(value: object) -> float | None:
    """Return the only element of an array; None of anything else."""
    return float(value.item()) if isinstance(value, np.ndarray) and value.size == 1 else None


def varint(buffer: memoryview, position: int) -> tuple[int, int]:
    """Read a number of variable length; return it and the position behind it."""
    result = 0
    for shift in range(0, 70, 7):
        if position >= len(buffer):
            raise ModelFileError("a number runs past the end; the file is truncated or damaged")
        byte = buffer[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            if result >> 64:
                break
            return result, position
    raise ModelFileError("a number is longer than 64 bits; the file is damaged")


def signed(value: int) -> int:
    """Read 64 bits as a signed number."""
    return value - (1 << 64) if value >> 63 else value


class WireReader:
    """Walks messages of one file within one budget."""

    def __init__(self, budget: int = MOST_FIELDS) -> None:
        self.budget = budget

    def fields(self, message: memoryview) -> Iterator[tuple[int, int, Value]]:
        """Walk the fields of a message: number, wire type, value."""
        position = 0
        while position < len(message):
            self._spend()
            key, position = varint(message, position)
            number, kind = key >> 3, key & 7
            if number == 0:
                raise ModelFileError("a field has the number 0; the file is damaged or of another format")
            if kind == VARINT:
                value, position = varint(message, position)
                yield number, kind, value
                continue
            if kind == BYTES:
                length, position = varint(message, position)
            elif kind in (FIXED32, FIXED64):
                length = 4 if kind == FIXED32 else 8
            else:
                raise ModelFileError(f"a field has the wire type {kind}; the file is damaged or of another format")
            yield number, kind, cut(message, position, length, f"field {number} of a message")
            position += length

    def last(self, message: memoryview) -> dict[int, Value]:
        """Read a message whose fields do not repeat: field number → value."""
        return {number: value for number, _, value in self.fields(message)}

    def numbers(self, value: Value) -> list[int]:
        """Read a repeated integer field, be it packed or a single number."""
        if isinstance(value, int):
            return [signed(value)]
        position, result = 0, []
        while position < len(value):
            self._spend()
            number, position = varint(value, position)
            result.append(signed(number))
        return result

    def shape(self, message: Value, what: str) -> list[int]:
        """Read a TensorShapeProto; -1 stands for an unknown dimension."""
        fields = self.fields(as_bytes(message, what))
        dimensions = [self.last(as_bytes(value, what)) for number, _, value in fields if number == 2]
        return [as_int(dimension.get(1), what) for dimension in dimensions]

    def _spend(self) -> None:
        self.budget -= 1
        if self.budget < 0:
            raise ModelFileError(f"more than {MOST_FIELDS} fields, which no DeepSpeech model has; the file is refused")


def text(value: Value | None, what: str) -> str:
    """Read a string field."""
    if value is None:
        return ""
    content = as_bytes(value, what)
    if len(content) > MOST_TEXT_BYTES:
        raise ModelFileError(f"{what} has {len(content)} bytes, which none in a DeepSpeech model has")
    try:
        return bytes(content).decode()
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{what} is no text; the file is damaged") from error


def as_bytes(value: Value, what: str) -> memoryview:
    """Return a field's bytes, or refuse a number in their place."""
    if isinstance(value, int):
        raise ModelFileError(f"{what} is a number where bytes belong; the file is damaged")
    return value


def as_int(value: Value | None, what: str) -> int:
    """Return a field's number, signed, 0 where it is not written, or refuse bytes in its place."""
    if value is None:
        return 0
    if not isinstance(value, int):
        raise ModelFileError(f"{what} is bytes where a number belongs; the file is damaged")
    return signed(value)


def as_float(value: Value, what: str) -> float:
    """Return a field's 32-bit float, or refuse anything else in its place."""
    if isinstance(value, int) or len(value) != 4:
        raise ModelFileError(f"{what} is no 32-bit float; the file is damaged")
    return struct.unpack("<f", value)[0]
