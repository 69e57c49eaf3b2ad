"""TensorFlow checkpoints of DeepSpeech → weights and what little they state."""

from pathlib import Path

from .convert_facts import ModelFacts
from .convert_releases import RELEASES
from .convert_weights import check_weights, find_variables
from .tensorflow_checkpoint import Checkpoint


def read_checkpoint(prefix: Path) -> ModelFacts:
    """Read a checkpoint."""
    checkpoint = Checkpoint(prefix)
    style, names = find_variables(checkpoint.entries)
    weights = {key: checkpoint.read(name) for key, name in names.items()}
    check_weights(weights)
    return ModelFacts(
        weights=weights,
        releases=tuple(name for name, release in RELEASES.items() if release.variables == style),
    )


__all__ = ["read_checkpoint"]
