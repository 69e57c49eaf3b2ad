"""Bounds-checked reading of a file of somebody else's, from a memory map.

Readers of model files see hostile bytes sooner or later. Every length is checked before it is used, and arrays are
views of the file, so none is ever larger than it.
"""

import math
import mmap
import os
from collections.abc import Sequence

import numpy as np

MOST_DIMENSIONS = 8


class ModelFileError(ValueError):
    """A file is damaged, or is no model that can be converted; the message says what is wrong."""


def map_file(path: str | os.PathLike[str]) -> memoryview:
    """Map a file into memory, read only."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise ModelFileError("the file is empty (0 bytes); fetch it anew")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def cut(buffer: memoryview, offset: int, length: int, what: str) -> memoryview:
    """Return a part of a buffer."""
    if offset < 0 or length < 0 or offset + length > len(buffer):
        raise ModelFileError(
            f"{what} would lie at bytes {offset} to {offset + length} of {len(buffer)}; "
            "the file is truncated or damaged"
        )
    return buffer[offset : offset + length]


def array(buffer: memoryview, dtype: np.dtype, shape: Sequence[int], what: str) -> np.ndarray:
    """View bytes as an array."""
    size = count(shape, what)
    values = np.frombuffer(cut(buffer, 0, size * dtype.itemsize, what), dtype, size)
    return values.reshape(tuple(shape))


def count(shape: Sequence[int], what: str) -> int:
    """Return the number of elements of a shape."""
    if len(shape) > MOST_DIMENSIONS or any(size < 0 for size in shape):
        raise ModelFileError(f"{what} has the impossible shape {list(shape[:MOST_DIMENSIONS])}; the file is damaged")
    return math.prod(int(size) for size in shape)
