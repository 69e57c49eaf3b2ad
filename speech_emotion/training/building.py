"""What a training works with, made of its arguments: the feature extractor and the model."""

import torch

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERConfig, SERForAudioClassification
from speech_emotion.pretrained import SMALL_DEEPSPEECH, pretrained_path

from .arguments import ModelArguments, model_sizes
from .clip_split import ClipSplit
from .fine_tuning import asked_regularization, loaded_arguments, set_labels
from .normalization import feature_statistics
from .splits import balanced_weights

DEEPSPEECH = "deepspeech"  # the stream whose network comes with the library


def make_extractor(args: ModelArguments) -> SERFeatureExtractor:
    """Make the feature extractor, or load that of the model to fine-tune."""
    if args.model_name_or_path is None:
        return SERFeatureExtractor(
            streams=tuple(args.streams),
            encoders=_encoders(args),
            win_length=args.win_length,
            dynamic_range=args.dynamic_range or None,
            clip_normalization=args.clip_normalization,
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


def make_model(
    args: ModelArguments, labels: list[str], train: ClipSplit, extractor: SERFeatureExtractor
) -> SERForAudioClassification:
    """Make a model with the statistics of the training clips, or load one to fine-tune, with its own."""
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}
    weights = balanced_weights(train.labels, len(labels)) if args.class_weights == "balanced" else None
    if args.model_name_or_path is not None:
        network = SERForAudioClassification.from_pretrained(
            args.model_name_or_path,
            revision=args.model_revision,
            class_weights=None,
            dtype=torch.float32,
            **asked_regularization(args),
        )
        loaded_arguments(args, network.config, extractor)  # refuses what the loaded model would not heed
        set_labels(network, labels)
        network.config.class_weights = weights
        return network.train()
    if args.stem_channels and extractor.streams[0] != "mel":  # their sizes cannot tell: DeepSpeech's may be 384 too
        raise ValueError(
            f"--stem_channels convolve over mel bands, but the first stream is {extractor.streams[0]!r}; name 'mel' "
            "first in --streams, or leave the stem out."
        )
    size = extractor.feature_size
    shape = {"input_size": size, "stream_sizes": extractor.stream_sizes}
    network = SERForAudioClassification(SERConfig(class_weights=weights, **shape, **names, **model_sizes(args)))
    clips = (train[index]["input_features"] for index in range(len(train)))
    network.ser.set_normalization(*feature_statistics(clips, size))
    return network.train()


__all__ = ["make_extractor", "make_model"]
