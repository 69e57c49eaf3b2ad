"""Mutated model files of DeepSpeech, each of which has to convert or to give our error; see `tests.fuzzing`."""

from pathlib import Path

import numpy as np
import pytest

from feature_extraction.convert.deepspeech import complete_facts, read_model
from feature_extraction.convert.tensorflow_checkpoint import Checkpoint
from feature_extraction.convert.torch_model import build_model
from tests.feature_extraction.deepspeech_fixtures import VERSIONS, container, hashes, places, weights, write_container
from tests.fuzzing import Attempt, mutate_bytes

CHECKPOINT_FILES = [name for name in hashes() if "/checkpoint/" in name]
TARGETS = [name for name in hashes() if not name.endswith(("/checkpoint", "best_dev_checkpoint"))]


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


def attempts(folder: Path) -> Attempt:
    """Return what converts a mutant, of all containers in turn."""
    for name in CHECKPOINT_FILES:
        write_container(folder, name)

    def attempt(index: int, random: np.random.Generator) -> str:
        name = TARGETS[index % len(TARGETS)]
        content = mutate(name, random)
        try:
            with pytest.MonkeyPatch.context() as patch:
                if random.random() < 0.8:
                    patch.setattr(Checkpoint, "_masked_crc", lambda self, content: AnyChecksum())
                return f"{name} {convert_mutant(folder, name, content)}"
        finally:
            if name in CHECKPOINT_FILES:
                write_container(folder, name)

    return attempt
