"""A saved model that is trained further keeps its features, its sizes, and what it knows of emotions."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import nn

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERConfig, SERForAudioClassification

from .arguments import ModelArguments, model_sizes
from .presets import preset_settings

# What may be another in each training: no weight depends on it.
REGULARIZATION = ("dropout", "attention_dropout", "encoder_dropout", "label_smoothing", "loss", "focal_gamma")


def asked_regularization(args: ModelArguments) -> dict[str, Any]:
    """Pick what a loaded model is to be regularized with other than before.

    >>> asked_regularization(ModelArguments(dropout=0.5))
    {'dropout': 0.5}
    """
    default = _defaults(args)
    names = [name for name in REGULARIZATION if hasattr(args, name)]
    return {
        name: getattr(args, name)
        for name in names
        if name in args.given or getattr(args, name) != getattr(default, name)
    }


def set_labels(network: SERForAudioClassification, labels: Sequence[str]) -> None:
    """Give a classifier other emotions, or the same in another order.

    >>> from modeling_ser import SERConfig, SERForAudioClassification
    >>> network = SERForAudioClassification(SERConfig(id2label={0: "anger", 1: "fear"}))
    >>> anger = network.classifier.out_proj.weight[0].clone()
    >>> set_labels(network, ["sadness", "fear", "anger"])
    >>> bool((network.classifier.out_proj.weight[2] == anger).all()), network.config.num_labels
    (True, 3)
    """
    old, head = network.config.id2label, network.classifier.out_proj
    known = {label: index for index, label in old.items()}
    fresh = nn.Linear(head.in_features, len(labels), device=head.weight.device, dtype=head.weight.dtype)
    network._init_weights(fresh)
    with torch.no_grad():
        for index, label in enumerate(labels):
            if label in known:
                fresh.weight[index] = head.weight[known[label]]
                fresh.bias[index] = head.bias[known[label]]
    network.classifier.out_proj = fresh
    network.config.id2label = dict(enumerate(labels))
    network.config.label2id = {label: index for index, label in enumerate(labels)}


def loaded_arguments(args: ModelArguments, config: SERConfig, extractor: SERFeatureExtractor) -> ModelArguments:
    """Return the arguments as the model that was loaded fulfills them.

    >>> args = ModelArguments(model_name_or_path="you/emotions", tempo=0.1)
    >>> found = loaded_arguments(args, SERConfig(hidden_size=64), SERFeatureExtractor())
    >>> found.hidden_size, found.tempo
    (64, 0.1)
    >>> loaded_arguments(ModelArguments(hidden_size=32), SERConfig(hidden_size=64), SERFeatureExtractor())
    Traceback (most recent call last):
    ...
    ValueError: hidden_size is asked to be 32, but the model to fine-tune has 64. ...
    """
    own: dict[str, Any] = {name: getattr(config, name) for name in model_sizes(args)}
    own |= {
        "stem_channels": list(config.stem_channels or []),
        "streams": list(extractor.streams),
        "win_length": extractor.win_length,
        "dynamic_range": extractor.dynamic_range or 0.0,
        "clip_normalization": extractor.clip_normalization,
        "encoder": None,
        "encoder_revision": None,
        "encoder_layer": None,
    }
    default = _defaults(args)
    for name, value in own.items():
        asked = getattr(args, name)
        if asked != value and (name in args.given or asked != getattr(default, name)):
            has = "its own" if value is None or value == [] else value
            raise ValueError(
                f"{name} is asked to be {asked!r}, but the model to fine-tune has {has}. Leave it out, or train a new "
                "model."
            )
    return replace(args, **own)


def _defaults(args: ModelArguments) -> ModelArguments:
    """What the arguments are where nothing is said but the preset."""
    names = {item.name for item in fields(args)}
    preset = preset_settings(args.preset, args.streams)
    return ModelArguments(**{name: value for name, value in preset.items() if name in names})


__all__ = ["asked_regularization", "loaded_arguments", "set_labels"]
