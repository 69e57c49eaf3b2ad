"""Encoders that are trained with the model: which blocks learn, and what is computed once before.

What lies below the blocks that learn never changes, so its states are features like any other: computed once, cached,
and shared by all folds. The network starts there while it is trained. What is saved is the whole: a model that holds
the encoder, and an extractor that gives the encoder's own input.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, Trainer, TrainingArguments

from feature_extraction import SERFeatureExtractor
from feature_extraction.encoder_inputs import input_entry
from feature_extraction.speech_encoders import SpeechEncoder, load_encoder
from modeling_ser import SERForAudioClassification
from modeling_ser.configuration_ser import ENCODER_KINDS
from modeling_ser.feature_statistics import normalization

from .batches import pad_features
from .low_rank import add_low_rank
from .splits import ClipSplit, one_clip

# Of the head's rate; adapters begin at nothing, and may learn faster than what was pretrained.
SHARES = {"lora": 0.1}
SHARE = 0.01
CLIPS_PER_PASS = 8
ENCODER = "ser.encoder."  # what the names of its parameters begin with
# Of a configuration what says nothing of the encoder.
NOT_SAVED = ("architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path", "name_or_path")


@dataclass(frozen=True)
class TrainedEncoder:
    """An encoder that learns with the model, as the arguments of a training say."""

    how: str  # top-N, lora or all
    stream: str  # its name
    source: Mapping[str, Any]  # name_or_path and revision
    layers: tuple[int, ...]  # that the model reads, side by side
    rank: int | None = None  # of the adapters

    @classmethod
    def of(
        cls, how: str, stream: str, source: Mapping[str, Any], layer: int | Sequence[int] | None, rank: int | None
    ) -> Self:
        """Take an encoder, of which a layer is read, or several, or the last one."""
        parse_how(how)
        chosen = cls(how, stream, source, (), rank)
        # As a dictionary: a DeepSpeech's own class would be remote code.
        kind = PreTrainedConfig.get_config_dict(source["name_or_path"], **_hub(source))[0].get("model_type")
        if kind not in ENCODER_KINDS:
            raise ValueError(
                f"--train_encoder {how}: a {kind!r} model stays frozen; {', '.join(ENCODER_KINDS)} can be trained."
            )
        highest = chosen.config.num_hidden_layers
        layers = (highest,) if layer is None else tuple(layer) if isinstance(layer, list | tuple) else (layer,)
        if max(layers) > highest or min(layers) < 0 or len(set(layers)) < len(layers):
            raise ValueError(
                f"--encoder_layer {' '.join(map(str, layers))}: the encoder has the layers 0 to {highest}."
            )
        chosen = replace(chosen, layers=layers)
        if chosen.start == max(layers):
            raise ValueError(f"--train_encoder {how}: below layer 0 there is no block; take a higher layer, or all.")
        return chosen

    @cached_property
    def config(self) -> PreTrainedConfig:
        """The configuration of the encoder in transformers."""
        return AutoConfig.from_pretrained(self.source["name_or_path"], **_hub(self.source))

    @property
    def start(self) -> int | None:
        """The highest layer that no block that learns has a part in; `None` if even its input's convolutions learn."""
        return first_layer(self.how, max(self.layers))

    @property
    def given_layers(self) -> tuple[int, ...] | None:
        """Layers that are computed once: those that the model reads below `start`, and that one."""
        if self.start is None:
            return None
        return tuple(sorted({self.start, *(layer for layer in self.layers if layer < self.start)}))

    def pretrained(self) -> SpeechEncoder:
        """Load the encoder that the training begins with."""
        return load_encoder(self.source["name_or_path"], **_hub(self.source))

    def entry(self) -> dict[str, Any]:
        """Write the stream's entry for the training: a frozen encoder's, or its input's where all of it learns."""
        if self.given_layers is None:
            return self.saved_entry()
        layers = list(self.given_layers)
        entry = {**self.source, "layer": layers if len(layers) > 1 else layers[0]}
        return entry | ({"context": "clip"} if self.config.model_type == "whisper" else {})

    def saved_entry(self) -> dict[str, Any]:
        """Write the stream's entry beside the saved model."""
        return input_entry(self.source["name_or_path"], **_hub(self.source))

    def saved_extractor(self, extractor: SERFeatureExtractor) -> SERFeatureExtractor:
        """Make the extractor that is saved: with the same settings, but for the stream."""
        settings = extractor.to_dict() | {"encoders": {self.stream: self.saved_entry()}}
        return type(extractor).from_dict(settings)

    def fields(self) -> dict[str, Any]:
        """Return the fields of the model's configuration that name the encoder."""
        size, number = self.config.hidden_size * len(self.layers), len(self.layers)
        settings = {name: value for name, value in self.config.to_diff_dict().items() if name not in NOT_SAVED}
        return {
            "input_size": size,
            "stream_sizes": [size],
            "layer_mix": [number] if number > 1 else None,
            "encoder_config": settings | {"model_type": self.config.model_type},
            "encoder_layers": list(self.layers),
        }

    def begin(self, network: SERForAudioClassification, clips: ClipSplit) -> None:
        """Give a new model the pretrained weights, the statistics of the layers over clips, and what it learns."""
        encoder = network.ser.encoder
        pretrained = self.pretrained().model.state_dict()
        encoder.network.load_state_dict({name: pretrained[name] for name in encoder.network.state_dict()})
        states = layer_states(network, clips, self.given_layers)
        size = network.config.input_size
        network.ser.set_normalization(*normalization(one_clip(clip, size) for clip in states))
        choose_parameters(network, self.how, self.rank)


def parse_how(how: str) -> int | None:
    """Return the number of top blocks that learn; `None` for another word that is known.

    >>> parse_how("top-2"), parse_how("lora")
    (2, None)
    """
    found = re.fullmatch(r"top-([1-9]\d*)", how)
    if found is None and how not in ("none", "lora", "all"):
        raise ValueError(f"--train_encoder takes none, top-N (such as top-2), lora or all, not {how!r}.")
    return None if found is None else int(found[1])


def first_layer(how: str, highest: int) -> int | None:
    """Return the layer that nothing that learns has a part in; `None` where there is none.

    >>> first_layer("top-2", highest=6), first_layer("lora", highest=6), first_layer("all", highest=6)
    (4, 0, None)
    """
    if how == "all":
        return None
    top = parse_how(how)
    if top is not None and top > highest:
        raise ValueError(
            f"--train_encoder {how}: layer {highest}, the highest that is read, has {highest} blocks below it; take "
            f"top-{highest} or fewer, or all."
        )
    return 0 if top is None else highest - top


def choose_parameters(network: SERForAudioClassification, how: str, rank: int | None = None) -> None:
    """Let those parameters of a model's own encoder learn that are to, and freeze the others."""
    encoder = network.ser.encoder
    encoder.requires_grad_(how == "all")
    if how == "all":
        if encoder.reads_log_mel:
            encoder.network.embed_positions.requires_grad_(False)  # Whisper's are sines
    elif how == "lora":
        add_low_rank(encoder.blocks, rank)
    elif how != "none":
        encoder.blocks[first_layer(how, len(encoder.blocks)) :].requires_grad_(True)


@torch.no_grad()
def layer_states(
    network: SERForAudioClassification, clips: ClipSplit, given: Sequence[int] | None
) -> Iterator[np.ndarray]:
    """Compute the layers that a model reads, clip by clip, each (states × size,)."""
    encoder = network.ser.encoder.eval()
    size = encoder.input_size if given is None else encoder.size * len(given)
    order = np.argsort(clips.num_frames, kind="stable")  # of like length together: less padding
    for start in range(0, len(order), CLIPS_PER_PASS):
        batch = pad_features([clips[int(index)] for index in order[start : start + CLIPS_PER_PASS]], size)
        states, mask = encoder(batch["input_features"].float(), batch["attention_mask"], given)
        for rows, length in zip(states, mask.sum(dim=1).tolist(), strict=True):
            yield rows[:length].flatten().numpy()


def make_encoder_optimizer(
    network: nn.Module, training: TrainingArguments, encoder_rate: float
) -> torch.optim.Optimizer:
    """Make the optimizer that the arguments name, with a rate of its own for what is pretrained; vectors decay not."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith(ENCODER), parameter.dim() > 1), []).append(parameter)
    kind, settings = Trainer.get_optimizer_cls_and_kwargs(training, network)
    rates = {False: training.learning_rate, True: encoder_rate}
    listed = [
        {"params": groups[key], "lr": rates[key[0]], "weight_decay": training.weight_decay if key[1] else 0.0}
        for key in sorted(groups)  # the head's first: its rate is the one that is logged
    ]
    return kind(listed, **settings)


def default_rate(how: str, learning_rate: float) -> float:
    """Return the encoder's rate where none is named.

    >>> default_rate("top-2", 1e-3), default_rate("lora", 1e-3)
    (1e-05, 0.0001)
    """
    return learning_rate * SHARES.get(how, SHARE)


def _hub(source: Mapping[str, Any]) -> dict[str, Any]:
    return {"revision": source["revision"]} if source.get("revision") is not None else {}
