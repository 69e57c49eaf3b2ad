"""CTranslate2's `model.bin` → named arrays, which are views of the file.

Layout, little-endian: u32 version of the format, name of the specification, u32 its revision; u32 number of variables,
and for each its name, u8 rank, u32 for each dimension, u8 type, u32 number of bytes, the bytes; u32 number of aliases,
and for each its name and that of a variable. A string is u16 length, bytes and a closing 0, which the length counts.
Weights of int8 and int16 have a second variable with the suffix "_scale", by which they are divided.

Source: OpenNMT/CTranslate2 v4, `python/ctranslate2/specs/model_spec.py`.
"""

import struct

import numpy as np

from .file_bytes import MOST_DIMENSIONS, ModelFileError, array, cut

VERSION = 6  # since 2.0 of 2021; Whisper was added later
BFLOAT16 = 5
TYPES = {
    0: np.dtype("<f4"),
    1: np.dtype("i1"),
    2: np.dtype("<i2"),
    3: np.dtype("<i4"),
    4: np.dtype("<f2"),
    BFLOAT16: np.dtype("<u2"),  # which NumPy does not know; widened when it is asked for
}
MOST_VARIABLES = 100_000  # Whisper large has 1,100
MOST_NAME_BYTES = 1024
MOST_SPEC_BYTES = 256


def find_spec(content: memoryview) -> str | None:
    """Tell whether a file is CTranslate2's: the name of its specification, such as "WhisperSpec", or None."""
    if len(content) < 6:
        return None
    length = int.from_bytes(content[4:6], "little")
    name = bytes(content[6 : 6 + length]) if length <= MOST_SPEC_BYTES else b""
    return name[:-1].decode() if name.endswith(b"Spec\0") and name.isascii() else None


class CTranslate2Model:
    """The variables of a model file, looked at once; a value is read when it is asked for."""

    def __init__(self, content: memoryview) -> None:
        self._content, self._position = content, 0
        version = self._number("I", "the version of the format")
        if version != VERSION:
            raise ModelFileError(
                f"the file is of version {version} of CTranslate2's format, of which {VERSION} is known here; "
                "convert the model anew with a newer CTranslate2"
            )
        self.spec = self._text("the name of the specification")
        self._number("I", "the revision of the specification")
        self._variables: dict[str, np.ndarray] = {}
        self._bfloat16: set[str] = set()
        for _ in range(self._count("variables")):
            self._read_variable()
        self.aliases: dict[str, str] = {}
        for _ in range(self._count("aliases")):
            name, variable = self._text("the name of an alias"), self._text("what an alias stands for")
            if name in self.names or variable not in self._variables:
                raise ModelFileError(f"the alias {name!r} of {variable!r} is taken, or stands for nothing")
            self.aliases[name] = variable
        if self._position != len(content):
            raise ModelFileError(
                f"the file goes on for {len(content) - self._position} bytes after its end; it is damaged"
            )

    @property
    def names(self) -> set[str]:
        """Names of all variables and aliases."""
        return self._variables.keys() | self.aliases.keys()

    def variable(self, name: str) -> np.ndarray:
        """Return a variable as it is stored, be it named by an alias."""
        try:
            return self._variables[self.aliases.get(name, name)]
        except KeyError:
            raise ModelFileError(f"the file has no {name}; it is damaged, or of an unknown kind of model") from None

    def weight(self, name: str) -> np.ndarray:
        """Return a weight as float16 or float32: as it is stored, where it is one of them."""
        stored, own_name = self.variable(name), self.aliases.get(name, name)
        if own_name in self._bfloat16:
            return (stored.astype(np.uint32) << 16).view(np.float32)
        if stored.dtype.kind == "f":
            return stored
        if stored.dtype.itemsize > 2 or f"{own_name}_scale" not in self._variables:
            raise ModelFileError(f"{name} is of type {stored.dtype} without a scale, as no weight is")
        scale = self._variables[f"{own_name}_scale"]
        if scale.size != 1 and scale.shape != stored.shape[:1]:
            raise ModelFileError(f"{name} has the shape {stored.shape}, but its scale {scale.shape}")
        if scale.dtype.kind != "f" or not (np.isfinite(scale).all() and (scale > 0).all()):
            raise ModelFileError(f"{name} has a scale that is not positive, or not finite; the file is damaged")
        rows = (-1,) + (1,) * (stored.ndim - 1)  # int8: one scale for each row; int16: one for all
        with np.errstate(over="ignore"):  # whoever asks looks whether all is finite
            return stored.astype(np.float32) / scale.astype(np.float32).reshape(rows if scale.size > 1 else ())

    def _read_variable(self) -> None:
        name = self._text("the name of a variable")
        if name in self._variables:
            raise ModelFileError(f"{name} occurs twice; the file is damaged")
        rank = self._number("B", f"the rank of {name}")
        if rank > MOST_DIMENSIONS:
            raise ModelFileError(f"{name} has {rank} dimensions; the file is damaged")
        shape = [self._number("I", f"a dimension of {name}") for _ in range(rank)]
        kind = self._number("B", f"the type of {name}")
        if kind not in TYPES:
            raise ModelFileError(f"{name} is of CTranslate2's type number {kind}, which is not known here")
        size = self._number("I", f"the size of {name}")
        value = array(cut(self._content, self._position, size, name), TYPES[kind], shape, name)
        if value.nbytes != size:
            raise ModelFileError(f"{name} has {size} bytes instead of {value.nbytes}; the file is damaged")
        self._position += size
        self._variables[name] = value
        if kind == BFLOAT16:
            self._bfloat16.add(name)

    def _count(self, what: str) -> int:
        number = self._number("I", f"the number of {what}")
        if number > MOST_VARIABLES:
            raise ModelFileError(f"the file says that it has {number} {what}, which no model has; it is damaged")
        return number

    def _number(self, kind: str, what: str) -> int:
        size = struct.calcsize(f"<{kind}")
        (value,) = struct.unpack(f"<{kind}", cut(self._content, self._position, size, what))
        self._position += size
        return value

    def _text(self, what: str) -> str:
        length = self._number("H", what)
        if not 0 < length <= MOST_NAME_BYTES:
            raise ModelFileError(f"{what} has {length} bytes, which none has; the file is damaged")
        content = bytes(cut(self._content, self._position, length, what))
        self._position += length
        if content[-1] or not content.isascii() or 0 in content[:-1]:
            raise ModelFileError(f"{what} is no name; the file is damaged")
        return content[:-1].decode()
