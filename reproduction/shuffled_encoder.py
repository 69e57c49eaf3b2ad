"""A control of what DeepSpeech learned: the same network with its weights shuffled, which knows no letter."""

import copy
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from feature_extraction import DeepSpeechFeatureExtractor, DeepSpeechForCTC, SERFeatureExtractor
from speech_emotion.cross_validation.neural_system import NeuralSystem
from speech_emotion.cross_validation.system_names import ModelName
from speech_emotion.pretrained import SMALL_DEEPSPEECH, pretrained_path
from speech_emotion.training.building import make_extractor

SEED = 0  # all folds and seeds share one shuffle: features are computed once


class ShuffledEncoderSystem(NeuralSystem):
    """Model-2 or Model-3 with a DeepSpeech whose weights are shuffled, each tensor's among themselves.

    Sizes, features and the distribution of every tensor's values stay; what was learned from speech is gone, and so is
    the scaling of the MFCCs that the first layer holds (the model normalizes its features anyway). What is left is a
    fixed random function of the MFCCs around a frame and before it. Where a model does as well with it as with the
    trained network, that it does well is not due to words. Another shuffle gives other figures, by some points.
    """

    def __init__(
        self,
        name: str,
        title: str,
        model: str,
        overrides: Mapping[str, Any] | None = None,
        encoder: str | None = None,
    ) -> None:
        super().__init__(ModelName(model), overrides, encoder)
        self.name, self.title = name, title
        if self.model.encoder is not None or self.model.model_name_or_path is not None:
            raise ValueError(f"{name} shuffles the DeepSpeech that comes with the library, and takes no other model.")

    def make_extractor(self) -> SERFeatureExtractor:
        """Make the feature extractor with the shuffled network, once."""
        if self._extractor is None:
            trained = pretrained_path(SMALL_DEEPSPEECH)
            network = DeepSpeechForCTC.from_pretrained(trained)
            shuffle_weights(network, SEED)
            with tempfile.TemporaryDirectory(prefix="ser-shuffled-") as folder:
                network.save_pretrained(folder)
                DeepSpeechFeatureExtractor.from_pretrained(trained).save_pretrained(folder)
                shuffled = copy.copy(self.model)
                shuffled.encoder = folder
                extractor = make_extractor(shuffled)
            # What it was made of, not where it lay: the cache's name has it in it, and the hash of its weights.
            for entry in extractor.encoders.values():
                entry["name_or_path"] = SMALL_DEEPSPEECH
            self._extractor = extractor
        return self._extractor

    def settings(self) -> dict[str, Any]:
        """Return the system's own settings; that its encoder is shuffled is told beside the encoder's hash."""
        return super().settings() | {"encoder_weights": {"shuffled_with_seed": SEED}}


@torch.no_grad()
def shuffle_weights(network: torch.nn.Module, seed: int) -> None:
    """Shuffle the weights of a network in place, each tensor's among themselves.

    >>> layer = torch.nn.Linear(3, 2)
    >>> before = layer.weight.flatten().tolist()
    >>> shuffle_weights(layer, seed=0)
    >>> sorted(layer.weight.flatten().tolist()) == sorted(before), layer.weight.flatten().tolist() == before
    (True, False)
    """
    random = np.random.default_rng(seed)
    for _, parameter in sorted(network.named_parameters()):
        order = torch.from_numpy(random.permutation(parameter.numel()))
        parameter.copy_(parameter.flatten()[order].view_as(parameter))
