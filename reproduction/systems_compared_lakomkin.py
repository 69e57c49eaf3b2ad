"""Lakomkin et al. (2017) as a compared system."""

import hashlib
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers.utils import cached_file

from feature_extraction import DeepSpeechConfig, DeepSpeechFeatureExtractor, DeepSpeechForCTC
from reproduction.modeling_lakomkin import LakomkinConfig, LakomkinNetwork
from speech_emotion.cross_validation.system import FoldTask, System
from speech_emotion.pretrained import SMALL_DEEPSPEECH, pretrained_path
from speech_emotion.training.clip_split import ClipSplit
from speech_emotion.training.descriptions import public_name

from .compared_items import Items, Statistics
from .compared_system import NetworkSystem
from .compared_training import Recipe
from .letters import ALPHABET, encode_letters

CTC_WEIGHT = 0.1
SCRATCH_SIZE = 256


class Lakomkin(NetworkSystem):
    """A DeepSpeech and, on the activations of its fifth layer, a recognizer of emotions, trained together."""

    def __init__(
        self,
        name: str,
        title: str,
        pretrained: str | Path | None = None,
        config: LakomkinConfig | None = None,
        recipe: Recipe | None = None,
        hidden_size: int = SCRATCH_SIZE,
    ) -> None:
        default = Recipe(epochs=40, patience=8, learning_rate=3e-4)
        super().__init__(name, title, recipe or default)
        self.pretrained = None if pretrained is None else str(pretrained)
        self.config = config or LakomkinConfig()
        self.hidden_size = hidden_size

    def make_extractor(self) -> DeepSpeechFeatureExtractor:
        """Make the extractor of the recognizer's coefficients."""
        if self.pretrained is None:
            return DeepSpeechFeatureExtractor()
        return DeepSpeechFeatureExtractor.from_pretrained(self.pretrained)

    def statistics(self, task: FoldTask) -> Statistics:
        """Estimate statistics for a recognizer from random weights; one that was trained takes raw coefficients."""
        if self.pretrained is None:
            return super().statistics(task)
        size = self.make_extractor().feature_size
        return torch.zeros(size), torch.ones(size)

    def make_items(self, task: FoldTask, clips: ClipSplit, statistics: Statistics) -> Items:
        """Bring together coefficients and letters."""
        rows = task.rows.select_columns(["id", "transcript"])
        transcripts = dict(zip(rows["id"][:], rows["transcript"][:], strict=True))
        return Items(clips, statistics, [encode_letters(transcripts[clip]) for clip in clips.ids])

    def make_network(self, task: FoldTask) -> nn.Module:
        """Make both branches."""
        if self.pretrained is None:
            recognizer = DeepSpeechForCTC(DeepSpeechConfig(hidden_size=self.hidden_size))
        else:
            recognizer = DeepSpeechForCTC.from_pretrained(self.pretrained, dtype=torch.float32)
        if recognizer.config.vocab_size != len(ALPHABET) + 1 or recognizer.config.pad_token_id != len(ALPHABET):
            raise ValueError(
                f"The recognizer in {self.pretrained} has {recognizer.config.vocab_size} labels, and the English "
                f"alphabet with the blank last has {len(ALPHABET) + 1}; take another recognizer."
            )
        size = recognizer.config.hidden_size
        config = replace(self.config, num_labels=len(task.labels), activation_size=size)
        return LakomkinNetwork(recognizer, config)

    def loss(self, network: nn.Module, inputs: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        """Compute the emotion's cross entropy plus the weighted loss of CTC."""
        output = network.both(inputs["input_features"], inputs["attention_mask"])
        emotion = F.cross_entropy(output.emotion_logits, labels)
        spoken = letter_loss(output.letter_logits, inputs["attention_mask"], inputs["symbols"])
        return emotion + CTC_WEIGHT * spoken

    def train(self, task: FoldTask) -> tuple[nn.Module, list[Items], dict[str, Any]]:
        """Train both branches, and tell what the recognizer began with and had to learn from."""
        network, items, about = super().train(task)
        about["recognizer_starts_from"] = "random weights" if self.pretrained is None else public_name(self.pretrained)
        about["transcribed_training_clips"] = sum(bool(letters) for letters in items[0].symbols)
        return network, items, about

    def own_settings(self) -> dict[str, Any]:
        """Return sizes, the weight of CTC and what the recognizer starts from."""
        start: dict[str, Any] = {"random_weights": self.hidden_size}
        if self.pretrained is not None:
            start = {"weights": public_name(self.pretrained), "fingerprint": self._fingerprint}
        return {"network": asdict(self.config), "ctc_weight": CTC_WEIGHT, "recognizer": start}

    @cached_property
    def _fingerprint(self) -> str:
        """A few digits that change when the weights do."""
        with open(cached_file(self.pretrained, "model.safetensors"), "rb") as weights:
            return hashlib.file_digest(weights, "sha256").hexdigest()[:16]


def letter_loss(logits: torch.Tensor, attention_mask: torch.Tensor, letters: torch.Tensor) -> torch.Tensor:
    """Compute CTC's loss per letter, over the clips that have a transcript.

    Source: Graves et al., "Connectionist temporal classification", ICML 2006.
    """
    counts = (letters >= 0).sum(dim=1)  # (batch,)
    chosen = counts > 0
    if not bool(chosen.any()):
        return logits.sum() * 0.0
    losses = F.ctc_loss(
        logits[chosen].log_softmax(dim=-1).transpose(0, 1),  # (frames, clips, letters + 1)
        letters[chosen].clamp(min=0),
        attention_mask[chosen].sum(dim=1),
        counts[chosen],
        blank=logits.shape[-1] - 1,
        reduction="none",
        zero_infinity=True,
    )
    return (losses / counts[chosen]).mean()


def lakomkin_2017(pretrained: str | Path | None = SMALL_DEEPSPEECH) -> System:
    """Make the system."""
    if pretrained == SMALL_DEEPSPEECH:
        try:
            pretrained = pretrained_path(SMALL_DEEPSPEECH)
        except FileNotFoundError:
            pretrained = None
    title = "Lakomkin et al. 2017, joint CTC and emotion"
    return Lakomkin("lakomkin-2017", title + ("" if pretrained else " (recognizer from random weights)"), pretrained)


def make_system(name: str, encoder: str | None = None) -> System:
    """Make the system of a name, as the registry asks."""
    make = {"lakomkin-2017": lakomkin_2017}[name]
    return make() if encoder is None else make(encoder)


__all__ = ["Lakomkin", "lakomkin_2017", "letter_loss", "make_system"]
