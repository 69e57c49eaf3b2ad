"""DeepSpeech's alphabets: the labels of the network's outputs, in order, without the blank."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..tokenizer_deepspeech import ENGLISH
from .file_bytes import ModelFileError

MOST_BYTES = 1 << 20


def read_alphabet(alphabet: str | Path | Sequence[str]) -> list[str]:
    """Read an alphabet from wherever the user has it."""
    if not isinstance(alphabet, str | Path):
        return _check([str(label) for label in alphabet], "alphabet")
    if alphabet == "english":
        return list(ENGLISH)
    path = Path(alphabet)
    if not path.is_file():
        raise FileNotFoundError(f"alphabet={str(alphabet)!r}: no such file; give an alphabet.txt, or 'english'.")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(
            f"{path}: larger than {MOST_BYTES >> 20} MB, no alphabet; give the alphabet.txt of the model."
        )
    try:
        content = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text; give the alphabet.txt of the model.") from error
    # A line that begins with "#" is a comment, one with "\#" the label "#". A line's space is a label: no stripping.
    lines = [line.removesuffix("\r") for line in content.removeprefix("\ufeff").split("\n")]
    labels = [line.replace("\\#", "#", 1) if line.startswith("\\#") else line for line in lines if line[:1] != "#"]
    return _check(labels[:-1] if labels and labels[-1] == "" else labels, str(path))


def unpack_alphabet(packed: np.ndarray | list[bytes] | None) -> list[str]:
    """Read the alphabet that model files carry since release 0.6.

    Source: mozilla/DeepSpeech v0.9.3, `native_client/alphabet.cc`.
    """
    if not isinstance(packed, list) or len(packed) != 1:
        raise ModelFileError("the model's alphabet is no string; the file is damaged")
    (content,) = packed
    labels: dict[int, str] = {}
    try:
        (number,) = struct.unpack_from("<H", content)
        position = 2
        for _ in range(number):
            index, length = struct.unpack_from("<HH", content, position)
            label = content[position + 4 : position + 4 + length]
            if len(label) < length:
                raise ModelFileError("the model's alphabet is cut off; the file is damaged")
            labels[index] = label.decode()
            position += 4 + length
    except struct.error as error:
        raise ModelFileError("the model's alphabet is cut off; the file is damaged") from error
    except UnicodeDecodeError as error:
        raise ModelFileError(
            "the model's alphabet is of bytes that are no characters (the bytes output mode), which is not supported"
        ) from error
    if sorted(labels) != list(range(number)):
        raise ModelFileError("the model's alphabet has gaps; the file is damaged")
    try:
        return _check([labels[index] for index in range(number)], "the model's alphabet")
    except ValueError as error:
        raise ModelFileError(str(error)) from error


def _check(labels: list[str], name: str) -> list[str]:
    if not labels or "" in labels:
        raise ValueError(f"{name}: has {'an empty label' if labels else 'no labels'}; check that it is the model's.")
    twice = sorted({label for label in labels if labels.count(label) > 1}) if len(set(labels)) < len(labels) else []
    if twice:
        raise ValueError(f"{name}: the label {twice[0]!r} occurs twice; check that it is the model's.")
    return labels
