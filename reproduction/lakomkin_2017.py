"""Lakomkin et al. (2017) as a compared system.

Source: Lakomkin et al., "Reusing neural speech representations for auditory emotion recognition", IJCNLP 2017.

The paper's: a branch for speech recognition and one for emotion, trained jointly, the latter reading the activations
of the former.

Ours: the recognizer is a DeepSpeech; the emotion branch is a BLSTM over its normalized fifth layer, pooled by mean and
maximum; the loss is the cross entropy of the emotion plus 0.1 times CTC's loss per letter, over the clips of the batch
that have a transcript; transcripts are written in DeepSpeech's alphabet (ä as ae, …), and clips without one, or of
fewer frames than letters, add to the emotion's loss alone. The recognizer starts from weights that were trained on
speech, where there are such; else from random ones of 256 units, which the scores' record then says.
"""

import hashlib
import unicodedata
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F
from transformers.utils import cached_file

from feature_extraction import DeepSpeechConfig, DeepSpeechFeatureExtractor, DeepSpeechForCTC
from feature_extraction.modeling_deepspeech import ctc_losses
from feature_extraction.tokenizer_deepspeech import ENGLISH
from speech_emotion.cross_validation.system import FoldTask
from speech_emotion.pretrained import SMALL_DEEPSPEECH, pretrained_path
from speech_emotion.training.run_record import public_name
from speech_emotion.training.splits import ClipSplit

from .compared_network import ComparedSystem, Items, Recipe, Statistics, Trained
from .masked_blstm import MaskedBLSTM

CTC_WEIGHT = 0.1
# What takes more than leaving out an accent. German umlauts are so written where there are none.
SPELLED = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "œ": "oe", "ø": "oe", "å": "aa", "ł": "l", "đ": "d",
     "ð": "d", "þ": "th", "ı": "i", "’": "'", "-": " ", "–": " ", "—": " "}
)  # fmt: skip


@dataclass(frozen=True)
class LakomkinConfig:
    """Sizes of the emotion branch; all are ours."""

    num_labels: int = 4
    activation_size: int = 256  # values of the recognizer's layer that the branch reads; of random weights as many
    layer: int = 5  # that layer, as the recognizer's `hidden_states` count them
    hidden_size: int = 64  # cells of the branch's BLSTM in each direction
    dropout: float = 0.3  # before and after it


class JointOutput(NamedTuple):
    """What both branches give."""

    emotion_logits: torch.Tensor  # (batch, num_labels)
    letter_logits: torch.Tensor  # (batch, frames, vocab_size)


class LakomkinNetwork(nn.Module):
    """A recognizer of speech, whose activations the emotion branch reads.

    The branch: layer normalization → BLSTM → mean and maximum over time → dense layer. The gradient of the emotion's
    loss goes on into the recognizer.
    """

    def __init__(self, recognizer: nn.Module, config: LakomkinConfig) -> None:
        super().__init__()
        self.recognizer, self.layer = recognizer, config.layer
        # Activations of a trained recognizer reach 20, those of a random one stay near 0.
        self.norm = nn.LayerNorm(config.activation_size)
        self.blstm = MaskedBLSTM(config.activation_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(4 * config.hidden_size, config.num_labels)

    def forward(
        self, input_features: torch.Tensor, attention_mask: torch.Tensor, symbols: torch.Tensor | None = None
    ) -> JointOutput:
        """Score emotions and letters; the symbols are of the loss alone."""
        output = self.recognizer(input_features, attention_mask=attention_mask, output_hidden_states=True)
        activations = self.dropout(self.norm(output.hidden_states[self.layer]))
        hidden = self.blstm(activations, attention_mask)  # (batch, frames, 2 * hidden_size), 0 where padded
        real = attention_mask.bool().unsqueeze(-1)  # (batch, frames, 1)
        mean = hidden.sum(dim=1) / real.sum(dim=1)
        most = hidden.masked_fill(~real, -1.0).amax(dim=1)  # no output of an LSTM is below -1
        logits = self.classifier(self.dropout(torch.cat([mean, most], dim=1)))
        return JointOutput(logits, output.logits)


class Lakomkin(ComparedSystem):
    """A DeepSpeech and, on the activations of its fifth layer, a recognizer of emotions, trained together."""

    config = LakomkinConfig()
    recipe = Recipe(epochs=40, patience=8, learning_rate=3e-4)
    heeds = ("--encoder",)

    def __init__(
        self,
        name: str,
        title: str,
        pretrained: str | Path | None = None,
        config: LakomkinConfig | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__(name, title, config, recipe)
        self.pretrained = None if pretrained is None else str(pretrained)

    def make_extractor(self) -> DeepSpeechFeatureExtractor:
        """Make the extractor of the recognizer's coefficients."""
        if self.pretrained is None:
            return DeepSpeechFeatureExtractor()
        return DeepSpeechFeatureExtractor.from_pretrained(self.pretrained)

    def statistics(self, fold: FoldTask) -> Statistics:
        """Estimate statistics for a recognizer from random weights; one that was trained takes raw coefficients."""
        if self.pretrained is None:
            return super().statistics(fold)
        size = self.make_extractor().feature_size
        return torch.zeros(size), torch.ones(size)

    def make_items(self, fold: FoldTask, clips: ClipSplit, statistics: Statistics) -> Items:
        """Bring together coefficients and letters."""
        rows = fold.rows.select_columns(["id", "transcript"])
        transcripts = dict(zip(rows["id"][:], rows["transcript"][:], strict=True))
        return Items(clips, statistics, [encode_letters(transcripts[clip]) for clip in clips.ids])

    def make_network(self, fold: FoldTask) -> nn.Module:
        """Make both branches."""
        if self.pretrained is None:
            recognizer = DeepSpeechForCTC(DeepSpeechConfig(hidden_size=self.config.activation_size))
        else:
            recognizer = DeepSpeechForCTC.from_pretrained(self.pretrained, dtype=torch.float32)
        if recognizer.config.vocab_size != len(ENGLISH) + 1 or recognizer.config.pad_token_id != len(ENGLISH):
            raise ValueError(
                f"The recognizer in {self.pretrained} has {recognizer.config.vocab_size} labels, and the English "
                f"alphabet with the blank last has {len(ENGLISH) + 1}; take another recognizer."
            )
        size = recognizer.config.hidden_size
        return LakomkinNetwork(recognizer, replace(self.config, num_labels=len(fold.labels), activation_size=size))

    def forward(
        self, network: nn.Module, inputs: dict[str, torch.Tensor], labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the emotion's cross entropy plus the weighted CTC loss of clips with a transcript, and logits."""
        output, letters = network(**inputs), inputs["symbols"]
        losses = ctc_losses(output.letter_logits, inputs["attention_mask"], letters, len(ENGLISH), zero_infinity=True)
        spoken = losses.sum() / (letters >= 0).any(dim=1).sum().clamp(min=1)
        return F.cross_entropy(output.emotion_logits, labels) + CTC_WEIGHT * spoken, output.emotion_logits

    def train(self, fold: FoldTask) -> Trained:
        """Train both branches, and tell what the recognizer began with and had to learn from."""
        trained = super().train(fold)
        trained.about["recognizer_starts_from"] = public_name(self.pretrained) or "random weights"
        trained.about["transcribed_training_clips"] = sum(bool(letters) for letters in trained.items["train"].symbols)
        return trained

    def own_settings(self) -> dict[str, Any]:
        """Return the weight of CTC and what the recognizer starts from."""
        start: dict[str, Any] = {"random_weights": self.config.activation_size}
        if self.pretrained is not None:
            start = {"weights": public_name(self.pretrained), "fingerprint": self._fingerprint}
        return {"ctc_weight": CTC_WEIGHT, "recognizer": start}

    @cached_property
    def _fingerprint(self) -> str:
        """A few digits that change when the weights do."""
        with open(cached_file(self.pretrained, "model.safetensors"), "rb") as weights:
            return hashlib.file_digest(weights, "sha256").hexdigest()[:16]


def encode_letters(transcript: str | None) -> list[int]:
    """Write a transcript in DeepSpeech's alphabet and number its letters."""
    text = unicodedata.normalize("NFC", transcript or "").lower().translate(SPELLED)
    text = unicodedata.normalize("NFD", text)
    words = "".join(letter for letter in text if letter in ENGLISH or letter.isspace()).split()
    return [ENGLISH.index(letter) for letter in " ".join(words)]


def make_system(name: str, title: str, encoder: str | Path | None = None) -> Lakomkin:
    """Make the system; its recognizer starts from `encoder`, or from the small DeepSpeech that comes along."""
    if encoder in (None, SMALL_DEEPSPEECH):
        try:
            encoder = pretrained_path(SMALL_DEEPSPEECH)
        except FileNotFoundError:
            encoder = None
            title = f"{title}, recognizer from random weights"
    return Lakomkin(name, title, encoder)
