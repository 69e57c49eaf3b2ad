"""Feature extractor and model, made as the arguments of a training say, or loaded to be fine-tuned."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any
from weakref import WeakValueDictionary

import torch
from transformers import PreTrainedConfig

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERConfig, SERForAudioClassification
from modeling_ser.feature_statistics import normalization
from speech_emotion.pretrained import SHORT_NAMES, SMALL_DEEPSPEECH, encoder_place
from speech_emotion.pretrained.hub_models import check_hub

from .arguments import ModelArguments, preset_settings
from .encoder_training import TrainedEncoder, choose_parameters
from .run_record import differences
from .splits import ClipSplit, balanced_weights

DEEPSPEECH = "deepspeech"  # the stream that has a network where none is named: the small one that comes along
# What may be another in each training: no weight depends on it.
REGULARIZATION = ("dropout", "attention_dropout", "encoder_dropout", "label_smoothing")


def make_extractor(args: ModelArguments) -> SERFeatureExtractor:
    """Make the feature extractor, or load that of the model to fine-tune."""
    if args.model_name_or_path is None:
        trained = trained_encoder(args)
        extractor = SERFeatureExtractor(
            streams=tuple(args.streams),
            encoders=_encoders(args) if trained is None else {trained.stream: trained.entry()},
            # Several layers of a corpus are gigabytes, and half precision is finer than what they tell. An encoder
            # that learns goes on from its states, and once saved from a waveform: those are not rounded.
            feature_dtype="float16" if isinstance(args.encoder_layer, list) and trained is None else "float32",
            win_length=args.win_length,
            dynamic_range=args.dynamic_range or None,
            clip_normalization=args.clip_normalization,
            front=args.front,
        )
    else:
        extractor = SERFeatureExtractor.from_pretrained(args.model_name_or_path, revision=args.model_revision)
    unheeded = sorted({"band_masks", "band_warp"} & args.given)
    if unheeded and "mel" not in extractor.streams:
        raise ValueError(
            f"--{unheeded[0]} is for mel bands, which no stream here has ({', '.join(extractor.streams)}). Leave it "
            "out, or add mel to --streams."
        )
    return extractor


def shared_extractor(args: ModelArguments) -> SERFeatureExtractor:
    """Make the feature extractor, or take one that is in use for the same features: an encoder is large."""
    names = [item.name for item in fields(args) if item.metadata["changes"] == "features"]
    place = repr([getattr(args, name) for name in (*names, "model_name_or_path", "model_revision")])
    extractor = _in_use.get(place)
    if extractor is None:
        _in_use[place] = extractor = make_extractor(args)
    return extractor


_in_use: WeakValueDictionary[str, SERFeatureExtractor] = WeakValueDictionary()


def _encoders(args: ModelArguments) -> dict[str, dict[str, object]]:
    """Write the entry of the one stream that has an encoder."""
    streams = [stream for stream in args.streams if stream != "mel"]
    said = {"name_or_path": args.encoder, "revision": args.encoder_revision, "layer": args.encoder_layer}
    entry: dict[str, object] = {key: value for key, value in said.items() if value is not None}
    if len(streams) > 1:
        raise ValueError(f"The command takes one encoder; the streams {', '.join(streams)} would need one each.")
    if entry and not streams:
        raise ValueError("--encoder is for a stream of its own, for example --streams mel encoder.")
    if not streams:
        return {}
    name = args.encoder
    if name is None:
        if streams != [DEEPSPEECH] or args.encoder_revision is not None:
            raise ValueError(
                f"The stream {streams[0]!r} needs --encoder, its network: one of {', '.join(SHORT_NAMES)}, a folder, "
                "or an id on the Hub."
            )
        name = SMALL_DEEPSPEECH
    entry["name_or_path"] = place = encoder_place(name, args.encoder_revision)
    check_hub(place)
    settings, _ = PreTrainedConfig.get_config_dict(place, revision=args.encoder_revision)
    if settings.get("model_type") == "whisper":  # read at each clip's own length, not filled up to 30 s
        entry["context"] = "clip"
    return {streams[0]: entry}


def trained_encoder(args: ModelArguments) -> TrainedEncoder | None:
    """Return the encoder that learns with a new model; `None` where none does."""
    if args.encoder_learning_rate is not None and args.train_encoder == "none":
        raise ValueError(
            "--encoder_learning_rate is for an encoder that learns; say how, with --train_encoder, or leave it out."
        )
    if "lora_rank" in args.given and args.train_encoder != "lora":
        raise ValueError("--lora_rank is that of --train_encoder lora; ask for that, or leave it out.")
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
    args: ModelArguments,
    labels: list[str],
    train: ClipSplit,
    extractor: SERFeatureExtractor,
    problem: Mapping[str, Any] | None = None,
) -> SERForAudioClassification:
    """Make a model with the statistics of the training clips, or load one to fine-tune, with its own.

    `problem` are fields of its configuration that say what kind of answers it learns.
    """
    problem = dict(problem or {})
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
        if (network.config.problem_type == "regression") != (problem.get("problem_type") == "regression"):
            problem = {"loss": "cross_entropy", "label_smoothing": 0.0} | problem  # its own were for other answers
        for name, value in problem.items():
            setattr(network.config, name, value)
        network.config.check_ranges()
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
    streams = {
        "input_size": extractor.feature_size,
        "stream_sizes": extractor.stream_sizes,
        "layer_mix": layer_mix(extractor),
    }
    config = SERConfig(
        class_weights=weights,
        id2label=dict(enumerate(labels)),
        **problem,
        **_model_sizes(args),
        **(streams if trained is None else trained.fields()),
    )
    network = SERForAudioClassification(config)
    if trained is not None:
        trained.begin(network, train)
        return network.train()
    network.ser.set_normalization(*normalization(train.statistics(extractor.feature_size)))
    return network.train()


def layer_mix(extractor: SERFeatureExtractor) -> list[int] | None:
    """Return how many layers each stream holds, for `SERConfig.layer_mix`; `None` where each is of one."""
    taken = [extractor.encoders.get(stream, {}).get("layer") for stream in extractor.streams]
    numbers = [len(layers) if isinstance(layers, list | tuple) else 1 for layers in taken]
    return numbers if max(numbers) > 1 else None


def _model_sizes(args: ModelArguments) -> dict[str, Any]:
    """Pick the fields that are fields of `SERConfig` by the same name."""
    shared = {item.name for item in fields(args)} & set(SERConfig.own_fields())
    sizes = {name: getattr(args, name) for name in sorted(shared - {"class_weights"})}
    return sizes | {"stem_channels": args.stem_channels or None}


# Fine-tuning: a saved model that is trained further keeps its features, its sizes, and what it knows of emotions. ---


def set_labels(network: SERForAudioClassification, labels: Sequence[str]) -> None:
    """Give a classifier other emotions, or the same in another order."""
    known = {label: index for index, label in network.config.id2label.items()}
    for name in ("out_proj", "statistics"):
        head = getattr(network.classifier, name)
        if head is None:
            continue
        fresh = type(head)(head.in_features, len(labels), device=head.weight.device, dtype=head.weight.dtype)
        network._init_weights(fresh)
        with torch.no_grad():
            for index, label in enumerate(labels):
                if label in known:
                    fresh.weight[index] = head.weight[known[label]]
                    fresh.bias[index] = head.bias[known[label]]
        setattr(network.classifier, name, fresh)
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
    preset = preset_settings(args.preset, {"streams": args.streams, "encoder": args.encoder})
    default = ModelArguments(**{name: value for name, value in preset.items() if name in names})
    asked = {name: getattr(args, name) for name in names}
    return {name: value for name, value in asked.items() if name in args.given or value != getattr(default, name)}
