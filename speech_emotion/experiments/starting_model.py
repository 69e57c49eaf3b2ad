"""A saved model that every fold of a cross-validation fine-tunes, and what has to be known of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from transformers.utils import cached_file

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERConfig
from speech_emotion.training.descriptions import public_name
from speech_emotion.training.heard_speakers import Heard, check_unheard, heard_speakers

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class StartingModel:
    """A saved model.

    Args:
        public_name: Its id on the Hub, or its folder's name without what lies above it.
        weights: Hash of its weights, 16 hexadecimal digits: another model under the same name is another start.
        heard: Whom it has heard, as `heard_speakers` tells.
        streams: Feature streams that it reads.
        fusion: How it fuses them.
    """

    public_name: str
    weights: str
    heard: Heard
    streams: tuple[str, ...]
    fusion: str

    @classmethod
    def read(cls, name_or_path: str, revision: str | None = None) -> "StartingModel":
        """Find a model's weights, and whom they have heard.

        Args:
            name_or_path: Folder, or id on the Hub.
            revision: Commit on the Hub.

        Returns:
            What there is to know.

        Raises:
            OSError: If there is no such model.
            ValueError: If nobody knows whom it has heard: a cross-validation says of every clip that its speaker was
                never heard.
        """
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
