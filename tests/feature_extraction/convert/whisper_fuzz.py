"""Mutated Whisper files, each of which has to convert or to give our error; see `tests.fuzzing`."""

from pathlib import Path

import numpy as np

from feature_extraction.convert.whisper import read_whisper
from feature_extraction.convert.whisper_model import build_network
from tests.feature_extraction.convert.ctranslate2_fixtures import (
    pack,
    quantize,
    tiny_whisper,
    variables_of,
    write_model,
)
from tests.fuzzing import Attempt, mutate_bytes

TYPES = ("float32", "float16", "int8", "int16")


def convert_mutant(folder: Path, content: bytes) -> str:
    """Convert mutated bytes; returns "loaded", or the kind of our error."""
    source = write_model(folder, content)
    try:
        build_network(read_whisper(source))
    except ValueError as error:
        assert type(error).__name__ == "ModelFileError"
        return type(error).__name__
    return "loaded"


def attempts(folder: Path) -> Attempt:
    """Return what converts a mutant, of all types in turn."""
    variables = variables_of(tiny_whisper(vocab_size=270))
    files = [pack(quantize(variables, kind)) for kind in TYPES]

    def attempt(index: int, random: np.random.Generator) -> str:
        content = files[index % len(files)]
        structure = np.arange(len(content)) if index % 8 == 0 else structure_of(content)
        return convert_mutant(folder / "model", mutate_bytes(content, structure, random))

    return attempt


def structure_of(content: bytes) -> np.ndarray:
    """Find the bytes around names: most of what is not weights."""
    found = np.zeros(len(content), bool)
    for word in (b"encoder/", b"decoder/", b"Spec"):
        place = content.find(word)
        while place >= 0:
            found[max(0, place - 8) : place + 64] = True
            place = content.find(word, place + 1)
    found[:32] = found[-64:] = True
    return np.flatnonzero(found)
