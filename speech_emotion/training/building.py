"""Feature extractor and model, made as the arguments of a training say, or loaded to be fine-tuned."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import nn

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERConfig, SERForAudioClassification
from speech_emotion.pretrained import SMALL_DEEPSPEECH, pretrained_path

from .arguments import ModelArguments, preset_settings
from .encoder_training import TrainedEncoder, choose_parameters
from .run_record import differences
from .splits import ClipSplit, balanced_weights, feature_statistics

DEEPSPEECH = "deepspeech"  # the stream whose network comes with the library
# What may be another in each training: no weight depends on it.
REGULARIZATION = ("dropout", "attention_dropout", "encoder_dropout", "label_smoothing")


def make_extractor(args: ModelArguments) -> SERFeatureExtractor:
    """Make the feature extractor, or load that of the model to fine-tune."""
    if args.model_name_or_path is None:
        trained = trained_encoder(args)
        return SERFeatureExtractor(
            streams=tuple(args.streams),
            encoders=_encoders(args) if trained is None else {trained.stream: trained.entry()},
            win_length=args.win_length,
            dynamic_range=args.dynamic_range or None,
            clip_normalization=args.clip_normalization,
            front=args.front,
        )
    return SERFeatureExtractor.from_pretrained(args.model_name_or_path, revision=args.model_revision)


def _encoders(args: ModelArguments) -> dict[str, dict[str, object]]:
    """Write the entry of the one stream that has an encoder."""
    streams = [stream for stream in args.streams if stream != "mel"]
    said = {"name_or_path": args.encoder, "revision": args.encoder_revision, "layer": args.encoder_layer}
    entry = {key: value for key, value in said.items() if value is not None}
    if len(streams) > 1:
        raise ValueError(f"The command takes one encoder; the streams {', '.join(streams)} would need one each.")
    if entry and not streams:
        raise ValueError("--encoder is for a stream of its own, for example --streams mel deepspeech.")
    if streams and args.encoder is None:
        if streams != [DEEPSPEECH] or args.encoder_revision is not None:
            raise ValueError(
                f"The stream {streams[0]!r} needs --encoder, the folder or Hub id of its network; only {DEEPSPEECH!r} "
                "has one that comes with the library."
            )
        entry["name_or_path"] = str(pretrained_path(SMALL_DEEPSPEECH))
    return {stream: entry for stream in streams}


def trained_encoder(args: ModelArguments) -> TrainedEncoder | None:
    """Return the encoder that learns with a new model; `None` where none does."""
    if args.train_encoder == "none" or args.model_name_or_path is not None:
        return None
    entries = _encoders(args)
    if len(args.streams) > 1 or not entries:
        raise ValueError(
            f"--train_encoder {args.train_encoder}: an encoder that learns is the model's only stream, such as "
            f"--streams encoder --encoder whisper-base; the streams are {', '.join(args.streams)}."
        )
    ((stream, entry),) = entries.items()
    source = {key: entry[key] for key in ("name_or_path", "revision") if key in entry}
    return TrainedEncoder.of(args.train_encoder, stream, source, entry.get("layer"), args.lora_rank)


def make_model(
    args: ModelArguments, labels: list[str], train: ClipSplit, extractor: SERFeatureExtractor
) -> SERForAudioClassification:
    """Make a model with the statistics of the training clips, or load one to fine-tune, with its own."""
    weights = balanced_weights(train.labels, len(labels)) if args.class_weights == "balanced" else None
    if args.model_name_or_path is not None:
        network = SERForAudioClassification.from_pretrained(
            args.model_name_or_path,
            revision=args.model_revision,
            class_weights=None,
            dtype=torch.float32,
            **{name: value for name, value in _asked(args).items() if name in REGULARIZATION},
        )
        set_labels(network, labels)
        network.config.class_weights = weights
        if network.ser.encoder is not None:
            choose_parameters(network, args.train_encoder, args.lora_rank)
        elif args.train_encoder != "none":
            raise ValueError(
                f"--train_encoder {args.train_encoder}: the model to fine-tune has no encoder of its own. Leave that "
                "out, or train a new model."
            )
        return network.train()
    if args.stem_channels and extractor.streams[0] != "mel":  # their sizes cannot tell: DeepSpeech's may be 384 too
        raise ValueError(
            f"--stem_channels convolve over mel bands, but the first stream is {extractor.streams[0]!r}; name 'mel' "
            "first in --streams, or leave the stem out."
        )
    trained = trained_encoder(args)
    streams = {"input_size": extractor.feature_size, "stream_sizes": extractor.stream_sizes}
    config = SERConfig(
        class_weights=weights,
        id2label=dict(enumerate(labels)),
        **_model_sizes(args),
        **(streams if trained is None else trained.fields()),
    )
    network = SERForAudioClassification(config)
    if trained is not None:
        trained.begin(network, train)
        return network.train()
    clips = (train[index]["input_features"] for index in range(len(train)))
    network.ser.set_normalization(*feature_statistics(clips, extractor.feature_size))
    return network.train()


def _model_sizes(args: ModelArguments) -> dict[str, Any]:
    """Pick the fields that are fields of `SERConfig` by the same name."""
    shared = {item.name for item in fields(args)} & set(SERConfig.own_fields())
    sizes = {name: getattr(args, name) for name in sorted(shared - {"class_weights"})}
    return sizes | {"stem_channels": args.stem_channels or None}


# Fine-tuning: a saved model that is trained further keeps its features, its sizes, and what it knows of emotions. ---


def set_labels(network: SERForAudioClassification, labels: Sequence[str]) -> None:
    """Give a classifier other emotions, or the same in another order."""
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
    """Return the arguments as the model that was loaded fulfills them; refuse those that it would not heed."""
    own: dict[str, Any] = {name: getattr(config, name) for name in _model_sizes(args)}
    own |= {
        "stem_channels": list(config.stem_channels or []),
        "streams": list(extractor.streams),
        "win_length": extractor.win_length,
        "dynamic_range": extractor.dynamic_range or 0.0,
        "clip_normalization": extractor.clip_normalization,
        "front": extractor.front,
        "encoder": None,
        "encoder_revision": None,
        "encoder_layer": None,
    }
    asked = {name: value for name, value in _asked(args).items() if name in own}
    changes = list(differences({name: own[name] for name in asked}, asked))
    if changes:
        raise ValueError(
            f"The model to fine-tune is not as asked for: {'; '.join(changes)}. Leave that out, or train a new model."
        )
    return replace(args, **own)


def _asked(args: ModelArguments) -> dict[str, Any]:
    """Return the arguments that were given, or have other values than the preset's."""
    names = [item.name for item in fields(args)]
    preset = preset_settings(args.preset, args.streams)
    default = ModelArguments(**{name: value for name, value in preset.items() if name in names})
    asked = {name: getattr(args, name) for name in names}
    return {name: value for name, value in asked.items() if name in args.given or value != getattr(default, name)}
