"""Mutates model files at random and converts them: `python -m tests.feature_extraction.convert.deepspeech_fuzz 10000`.

Every file has to load or to give our error. The command limits its own memory, and prints how it went.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from feature_extraction.convert.deepspeech import complete_facts, read_model
from feature_extraction.convert.tensorflow_checkpoint import Checkpoint
from feature_extraction.convert.torch_model import build_model
from tests.feature_extraction.deepspeech_fixtures import VERSIONS, container, hashes, places, weights, write_container

MEMORY_BYTES = 4 << 30
CHECKPOINT_FILES = [name for name in hashes() if "/checkpoint/" in name]
TARGETS = [name for name in hashes() if not name.endswith(("/checkpoint", "best_dev_checkpoint"))]
# Numbers that tempt readers: small, at the limits of their types, larger than any file.
NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**63, 2**64 - 1)


class AnyChecksum(int):
    """Agrees with every other: otherwise checksums would stop nearly all mutations at the door."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


def mutate(name: str, random: np.random.Generator) -> bytes:
    """Change a container in one to four places, mostly outside of its weights, or cut it off."""
    content = container(name)
    values = list(weights(name.split("/")[0]).values())
    weight_bytes = np.zeros(len(content), bool)
    for offset, number, _ in places(name).tolist():
        weight_bytes[offset : offset + values[number].nbytes] = True
    return mutate_bytes(content, np.flatnonzero(~weight_bytes), random)


def mutate_bytes(content: bytes, structure: np.ndarray, random: np.random.Generator) -> bytes:
    """Change bytes in one to four places, mostly at the positions of the structure, or cut them off."""
    content = bytearray(content)
    for _ in range(random.integers(1, 5)):
        # Weeding out the weights matters: they are most of a file, and any bytes will do there.
        position = int(random.choice(structure)) if random.random() < 0.9 else int(random.integers(len(content)))
        position = min(position, max(0, len(content) - 1))
        length = int(random.choice([1, 2, 4, 8, 64, 4096]))
        match random.integers(6):
            case 0:
                content[position : position + 1] = bytes([random.integers(256)])
            case 1:
                content[position : position + 1] = bytes([content[position] ^ (1 << int(random.integers(8)))])
            case 2:
                number = NUMBERS[random.integers(len(NUMBERS))].to_bytes(8, "little")
                size = int(random.choice([1, 2, 4, 8]))
                content[position : position + size] = number[:size]
            case 3:
                del content[position : position + length]
            case 4:
                origin = int(random.choice(structure))
                content[position:position] = content[origin : origin + length]
            case 5 if random.random() < 0.3:
                del content[position:]
            case _:
                content[position : position + length] = random.bytes(length)
        if not content:
            break
    return bytes(content)


def convert_mutant(folder: Path, name: str, content: bytes) -> str:
    """Convert mutated bytes; returns "loaded", or the kind of our error."""
    path = write_container(folder, name, content)
    try:
        facts = read_model(path)
        complete_facts(facts, str(path), VERSIONS[name[:3]], None if facts.alphabet else "english")
        build_model(facts)
    except (ValueError, FileNotFoundError) as error:
        assert str(path.parent) in str(error), f"the error does not name the file: {error}"
        return type(error).__name__
    return "loaded"


def fuzz(folder: Path, rounds: int, seed: int) -> Counter[tuple[str, str]]:
    """Convert so many mutants, of all containers in turn, and count by container how it went."""
    outcomes: Counter[tuple[str, str]] = Counter()
    for name in CHECKPOINT_FILES:
        write_container(folder, name)
    for index in range(rounds):
        random = np.random.default_rng((seed, index))
        name = TARGETS[index % len(TARGETS)]
        content = mutate(name, random)
        with pytest.MonkeyPatch.context() as patch:
            if random.random() < 0.8:
                patch.setattr(Checkpoint, "_masked_crc", lambda self, content: AnyChecksum())
            try:
                outcomes[name, convert_mutant(folder, name, content)] += 1
            except BaseException:
                print(f"seed {seed}, index {index}: {name}")
                raise
        if name in CHECKPOINT_FILES:
            write_container(folder, name)
    return outcomes


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rounds", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import resource  # which Windows has not

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        for (name, outcome), number in sorted(fuzz(Path(folder), options.rounds, options.seed).items()):
            print(f"{name:55} {outcome:20} {number}")


if __name__ == "__main__":
    main()
