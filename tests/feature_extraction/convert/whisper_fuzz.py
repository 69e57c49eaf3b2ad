"""Mutates Whisper files at random and converts them: `python -m tests.feature_extraction.convert.whisper_fuzz 10000`.

Every file has to load or to give our error. The command limits its own memory, and prints how it went.
"""

import argparse
import tempfile
from collections import Counter
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
from tests.feature_extraction.convert.deepspeech_fuzz import MEMORY_BYTES, mutate_bytes

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


def fuzz(folder: Path, rounds: int, seed: int) -> Counter[str]:
    """Convert so many mutants, of all types in turn, and count how it went."""
    outcomes: Counter[str] = Counter()
    variables = variables_of(tiny_whisper(vocab_size=270))
    files = [pack(quantize(variables, kind)) for kind in TYPES]
    for index in range(rounds):
        random = np.random.default_rng((seed, index))
        content = files[index % len(files)]
        structure = np.arange(len(content)) if index % 8 == 0 else structure_of(content)
        try:
            outcomes[convert_mutant(folder, mutate_bytes(content, structure, random))] += 1
        except BaseException:
            print(f"seed {seed}, index {index}")
            raise
    return outcomes


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


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rounds", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import resource  # which Windows has not

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        for outcome, number in sorted(fuzz(Path(folder, "model"), options.rounds, options.seed).items()):
            print(f"{outcome:20} {number}")


if __name__ == "__main__":
    main()
