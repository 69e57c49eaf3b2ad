"""One training from beginning to end: corpus → splits → features → model → figures → card → Hub."""

import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import EarlyStoppingCallback, set_seed

from dataset_scripts import load_corpus, save_fold
from feature_extraction import SERFeatureExtractor
from modeling_ser import SERConfig, SERForAudioClassification
from speech_emotion.evaluation import classification_metrics, confusion_counts
from speech_emotion.files import write_json, write_jsonl, write_text
from speech_emotion.pretrained import SMALL_DEEPSPEECH, pretrained_path
from speech_emotion.progress import quiet_unless_terminal

from .arguments import DataArguments, ModelArguments, SERTrainingArguments, model_sizes
from .augmentation import make_augmentations
from .card import ENCODER, RunReport, SplitReport, model_card
from .clip_split import ClipSplit
from .feature_cache import cache_features, cache_streamed
from .fine_tuning import asked_regularization, loaded_arguments, set_labels
from .heard_speakers import check_unheard, heard_speakers
from .launch import check_launch, prepare_folder, sole_training
from .normalization import feature_statistics
from .provenance import corpus_title, library_versions, training_settings
from .splits import Splits, balanced_weights, choose_fold, keep_labels, make_splits
from .stream_state import stream_state
from .trainer import SERTrainer

# What an extractor subtracts from a clip's energies, in words, by its `clip_normalization`.
SUBTRACTED = {"none": "", "level": ", less the clip's mean", "band": ", less each band's mean over the clip"}
DEEPSPEECH = "deepspeech"  # the stream whose network comes with the library


@dataclass(frozen=True)
class TrainingResult:
    """What a training gave.

    Args:
        output_dir: Where model, card, fold, figures and scores lie.
        stopped: Whether SIGTERM stopped it; then there are a checkpoint and no figures.
        report: What was measured; `None` when stopped.
    """

    output_dir: Path
    stopped: bool = False
    report: RunReport | None = field(default=None, repr=False)


def run_training(data: DataArguments, model: ModelArguments, training: SERTrainingArguments) -> TrainingResult:
    """Train one model on one fold, choose its epoch on the validation speakers, and report on the test speakers.

    The output folder then holds the model with its code (`from_pretrained` and `pipeline` load it), `README.md` (the
    card), `results.json`, `fold.jsonl` (who was in which split), `scores.jsonl` (each validation and test clip's
    scores) and the last checkpoints. On the Hub, if asked for, each checkpoint is a commit.

    Args:
        data: Which clips, and who trains, validates and is tested.
        model: Features, sizes and loss.
        training: Everything else.

    Returns:
        The result; on processes other than the first too.

    Raises:
        ValueError: If clips, labels, folds or settings do not fit, naming what and why.
        FileNotFoundError: If the corpus, a clip or a checkpoint is missing.
        FileExistsError: If the output folder holds another run's checkpoints.
        RuntimeError: If the launch would not do what was asked for.
        FloatingPointError: If the loss is not finite.

    Example:
        >>> from speech_emotion.training import parse_arguments, run_training
        >>> result = run_training(*parse_arguments(["--corpus", "polish"]))  # doctest: +SKIP
        >>> result.report.test.metrics["ua"]  # doctest: +SKIP
        0.5777777777777777
    """
    check_launch(training)
    if not training.should_log:
        datasets.disable_progress_bars()
    quiet_unless_terminal()
    with sole_training(training):
        return _run(data, model, training)


def _run(data: DataArguments, model_args: ModelArguments, training: SERTrainingArguments) -> TrainingResult:
    folder = Path(training.output_dir)
    checkpoint = prepare_folder(folder, training)
    extractor = make_extractor(model_args)
    # One process builds what is cached, the others then find it.
    with training.main_process_first(local=False, desc="corpus and features"), warnings.catch_warnings():
        if not training.should_log:  # what there is to say of the corpus is said once
            warnings.simplefilter("ignore")
        corpus, features = load_with_features(data, extractor, str(training.device))
        rows, labels = keep_labels(corpus, data.labels)
        fold = choose_fold(rows, data)
    splits = make_splits(rows, features, fold, labels)
    heard = heard_speakers(model_args.model_name_or_path, model_args.model_revision)
    validating, tested = speakers_of(splits.validation), speakers_of(splits.test)
    check_unheard(heard, corpus_title(rows), validating, tested, str(model_args.model_name_or_path))
    if training.should_log:
        print(describe_splits(_public_name(data.corpus), fold.name, labels, splits), flush=True)
    set_seed(training.seed)
    network = make_model(model_args, labels, splits.train, extractor)
    if model_args.model_name_or_path is not None:
        model_args = loaded_arguments(model_args, network.config, extractor)
    patience = training.early_stopping_patience
    trainer = SERTrainer(
        network,
        training,
        splits.train,
        splits.validation,
        feature_size=extractor.feature_size,
        processing_class=extractor,
        augmentations=make_augmentations(model_args, extractor, network),
        callbacks=[EarlyStoppingCallback(patience)] if patience and training.eval_strategy != "no" else [],
    )
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if trainer.stop.stopped:
        return TrainingResult(folder, stopped=True)

    trainer.leave_mixed_precision()
    if trainer.is_world_process_zero():  # an earlier run's, which would speak of the new weights
        for name in ("results.json", "scores.jsonl", "fold.jsonl", "README.md"):
            (folder / name).unlink(missing_ok=True)
    trainer.save_model()
    parts, scores = {}, []
    for name, clips in (("validation", splits.validation), ("test", splits.test)):
        # Every process takes part; Trainer gathers all clips' logits, each once.
        output = trainer.predict(clips)
        if output.label_ids.tolist() != list(clips.labels):
            raise RuntimeError(f"The {name} clips came back from Trainer in another order than they went in.")
        logits = torch.from_numpy(output.predictions)
        parts[name], clip_scores = report_split(name, clips, logits, labels)
        scores += clip_scores
    report = RunReport(
        corpus=_public_name(data.corpus),
        title=corpus_title(rows),
        homepage=rows.info.homepage,
        corpus_license=rows.info.license,
        citation=rows.info.citation,
        language=rows[0]["language"],
        labels=labels,
        fold=fold.name,
        seed=training.seed,
        epochs=trainer.state.epoch,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        streams=describe_streams(extractor),
        architecture=describe_architecture(network.config),
        train=SplitReport(clips=len(splits.train), speakers=speakers_of(splits.train)),
        validation=parts["validation"],
        test=parts["test"],
        arguments=_asked_for(data, model_args, training),
        versions=library_versions(),
        heard_before=None if heard is None else {title: dict(parts) for title, parts in heard.items()},
    )
    if trainer.is_world_process_zero():
        save_fold(fold, rows, folder / "fold.jsonl")
        write_jsonl(folder / "scores.jsonl", scores)
        write_json(folder / "results.json", _as_json(report))
        write_text(folder / "README.md", str(model_card(report, training.hub_model_id or _place(folder))))
        if training.push_to_hub:
            trainer.push_with_card(partial(model_card, report))
    return TrainingResult(folder, report=report)


def load_with_features(
    data: DataArguments, extractor: SERFeatureExtractor, device: str | None = None
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Load a corpus and the features of its clips, from the cache where they are there already.

    Args:
        data: Which corpus; with `streaming`, a copy of one that is read clip by clip.
        extractor: Makes the features.
        device: Where to compute them.

    Returns:
        The clips, and their features as `cache_features` returns them.

    Raises:
        ValueError: If a clip cannot be used, or something that is not a copy is to be streamed.
        FileNotFoundError: If the corpus or a clip is missing.
    """
    places = {"data_dir": data.data_dir, "config": data.config, "cache_dir": data.cache_dir}
    if data.speaker_pattern is not None:
        places["speaker_pattern"] = data.speaker_pattern
    if data.skip_bad and "/" not in data.corpus:  # a copy's audio is only looked at when features are made
        places["skip_bad"] = True
    if not data.streaming:
        rows = load_corpus(data.corpus, **places)
        return rows, cache_features(rows, extractor, skip_bad=data.skip_bad, device=device)
    if "/" not in data.corpus:
        raise ValueError(
            f"--streaming is for copies of a corpus (you/{data.corpus} on the Hub, or a folder); {data.corpus} itself "
            "is on this machine's disk anyway."
        )
    stream = load_corpus(data.corpus, **places, streaming=True)
    return cache_streamed(
        stream, stream_state(data.corpus), extractor, data.skip_bad, device=device, cache_dir=data.cache_dir
    )


def make_extractor(args: ModelArguments) -> SERFeatureExtractor:
    """Make the feature extractor, or load that of the model to fine-tune.

    Args:
        args: The arguments.

    Returns:
        The extractor.
    """
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
    """Make a model with the statistics of the training clips, or load one to fine-tune, with its own.

    Args:
        args: The arguments.
        labels: Emotions in the order of the classes.
        train: Training clips: statistics and class weights come from them.
        extractor: Makes the features; the model takes their sizes from it.

    Returns:
        The model, in training mode.

    Raises:
        ValueError: If the arguments do not fit each other or the features, or no model is there to fine-tune.
    """
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


def report_split(
    name: str, clips: ClipSplit, logits: torch.Tensor, labels: list[str]
) -> tuple[SplitReport, list[dict[str, Any]]]:
    """Measure a split.

    Args:
        name: Of the split.
        clips: Its clips.
        logits: (clips, classes).
        labels: Emotions in the order of the classes.

    Returns:
        The report, and for each clip its id, split, speaker, true and predicted label and score of every label.
    """
    probabilities = logits.double().softmax(dim=-1).numpy()  # (clips, classes)
    predicted = probabilities.argmax(axis=1)
    report = SplitReport(
        clips=len(clips),
        speakers=speakers_of(clips),
        metrics=classification_metrics(clips.labels, predicted, len(labels)),
        confusion=confusion_counts(clips.labels, predicted, len(labels)).tolist(),
    )
    scores = [
        {
            "id": clip,
            "split": name,
            "speaker": speaker,
            "label": labels[label],
            "prediction": labels[guess],
            "scores": dict(zip(labels, row.tolist(), strict=True)),
        }
        for clip, speaker, label, guess, row in zip(
            clips.ids, clips.speakers, clips.labels, predicted, probabilities, strict=True
        )
    ]
    return report, scores


def speakers_of(clips: ClipSplit) -> list[str]:
    """Return the speakers of a split, sorted."""
    return sorted(set(clips.speakers))


def describe_splits(corpus: str, fold: str, labels: list[str], splits: Splits) -> str:
    """Say in words who trains, validates and is tested.

    Args:
        corpus: Name of the corpus.
        fold: Name of the fold.
        labels: Emotions in the order of the classes.
        splits: The splits.

    Returns:
        Some lines.
    """
    lines = [f"{corpus}, {fold}: {', '.join(labels)}"]
    for name, clips in splits.items():
        counts = np.bincount(clips.labels, minlength=len(labels))
        classes = ", ".join(f"{label} {count}" for label, count in zip(labels, counts, strict=True))
        lines.append(f"  {name:<10} {len(clips):5} clips ({classes}); speakers {', '.join(speakers_of(clips))}")
    return "\n".join(lines)


def describe_streams(extractor: SERFeatureExtractor) -> list[str]:
    """Say in words what each stream of an extractor is.

    Args:
        extractor: The extractor.

    Returns:
        A phrase for each stream.

    Example:
        >>> describe_streams(SERFeatureExtractor())
        ['mel: 128 log-mel bands with Δ and ΔΔ, 40 frames a second of 25 ms']
        >>> print(*describe_streams(SERFeatureExtractor(dynamic_range=60.0, clip_normalization="level")))
        mel: 128 log-mel bands with Δ and ΔΔ, 40 frames ... 25 ms, floor 60 dB below the loudest, less the clip's mean
    """
    rate, length = extractor.sampling_rate / extractor.hop_length, extractor.win_length / extractor.sampling_rate
    mel = f"{extractor.num_mel_bins} log-mel bands with Δ and ΔΔ, {rate:g} frames a second of {1000 * length:g} ms"
    if extractor.dynamic_range is not None:
        mel += f", floor {extractor.dynamic_range:g} dB below the loudest"
    mel += SUBTRACTED[extractor.clip_normalization]
    phrases = {"mel": mel}
    for stream, entry in extractor.encoders.items():
        source = _public_name(entry.get("name_or_path")) or "a bundled encoder"
        phrases[stream] = f"layer {entry['layer']} of {source}, frozen"
    return [f"{stream}: {phrases[stream]}" for stream in extractor.streams]


def describe_architecture(config: SERConfig) -> str:
    """Say in words what network a configuration makes.

    Args:
        config: The configuration.

    Returns:
        A phrase.

    Example:
        >>> describe_architecture(SERConfig(stem_channels=[8, 16]))
        'A two-layer convolutional encoder ... self-attention, behind 2 convolutions over frames × mel bands'
    """
    several = ", one for each stream" if config.fusion == "late" else ""
    depth = len(config.stem_channels or [])
    stem = f", behind {depth} convolution{'s' * (depth > 1)} over frames × mel bands" if depth else ""
    pooling = "" if config.pooling == "mean" else f", pooled by {config.pooling.replace('_', ' ')}"
    return f"{ENCODER}{several}{stem}{pooling}"


def _asked_for(data: DataArguments, model: ModelArguments, training: SERTrainingArguments) -> dict[str, object]:
    """What distinguishes one run from another, without tokens and paths."""
    return {
        "corpus": _public_name(data.corpus),
        "config": data.config,
        "labels": data.labels,
        "scheme": data.scheme if data.folds_file is None else "file",
        "num_folds": data.num_folds,
        "fold": data.fold,
        **{name: value for name, value in vars(model).items() if name != "given"},
        "model_name_or_path": _public_name(model.model_name_or_path),
        "encoder": _public_name(model.encoder),
        **training_settings(training),
        "load_best_model_at_end": training.load_best_model_at_end,
    }


def _public_name(name: str | None) -> str | None:
    """Name a folder without what lies above it, which is nobody's business; other names are kept."""
    return Path(name).resolve().name if name is not None and Path(name).is_dir() else name


def _place(folder: Path) -> str:
    """Where a card says that the model lies: as the user named it, but for what lies above it on this machine."""
    outside = folder.is_absolute() or ".." in folder.parts
    return f"path/to/{folder.resolve().name}" if outside else f"./{folder.as_posix()}"


def _as_json(report: RunReport) -> dict[str, Any]:
    return {name: vars(value) if isinstance(value, SplitReport) else value for name, value in vars(report).items()}


__all__ = ["TrainingResult", "run_training"]
