"""A saved model that every fold of a cross-validation fine-tunes, and what has to be known of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from transformers.utils import cached_file

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERConfig
from speech_emotion.training.run_record import Heard, check_unheard, heard_speakers, public_name

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class StartingModel:
    """A saved model."""

    public_name: str  # its id on the Hub, or its folder's name without what lies above it
    weights: str  # hash of its weights, 16 hexadecimal digits: another model under the same name is another start
    heard: Heard  # whom it has heard, as `heard_speakers` tells
    streams: tuple[str, ...]  # feature streams that it reads
    fusion: str  # how it fuses them

    @classmethod
    def read(cls, name_or_path: str, revision: str | None = None) -> "StartingModel":
        """Find a model's weights, and whom they have heard."""
        path = cached_file(name_or_path, WEIGHTS, revision=revision)
        heard = heard_speakers(name_or_path, revision)
        if heard is None:
            raise ValueError(
                f"Nobody knows whom {name_or_path} has heard: no results.json of this library lies beside its "
                "weights. A cross-validation needs a model that was trained by train.py, or none to start from."
            )
        with open(path, "rb") as weights:
            digest = hashlib.file_digest(weights, "sha256").hexdigest()[:16]
        config = SERConfig.from_pretrained(name_or_path, revision=revision)
        settings, _ = SERFeatureExtractor.get_feature_extractor_dict(name_or_path, revision=revision)
        return cls(public_name(name_or_path), digest, heard, tuple(settings["streams"]), config.fusion)

    def check_fold(self, title: str, validation: Sequence[str], test: Sequence[str]) -> None:
        """Refuse a fold that would validate or test this model on speakers it has heard; see `check_unheard`."""
        check_unheard(self.heard, title, validation, test, self.public_name)


__all__ = ["StartingModel"]
