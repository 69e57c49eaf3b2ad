"""One training from beginning to end: corpus → splits → features → model → figures → card → Hub."""

import logging
import platform
import shutil
import warnings
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from huggingface_hub import HfApi
from transformers import EarlyStoppingCallback, set_seed

from dataset_scripts import load_corpus, save_fold
from feature_extraction import SERFeatureExtractor
from modeling_ser import SERConfig, SERForAudioClassification
from speech_emotion.evaluation import classification_metrics, confusion_counts
from speech_emotion.files import write_json, write_jsonl, write_text
from speech_emotion.progress import quiet_unless_terminal

from .arguments import DataArguments, ModelArguments, SERTrainingArguments, model_sizes
from .card import RunReport, SplitReport, model_card
from .clip_split import ClipSplit
from .feature_cache import cache_features, cache_streamed
from .hub_push import push_folder
from .launch import check_launch, find_checkpoint, sole_training
from .normalization import feature_statistics
from .splits import Splits, balanced_weights, choose_fold, keep_labels, make_splits
from .stream_state import stream_state
from .trainer import SERTrainer

logger = logging.getLogger(__name__)

LIBRARIES = ("modeling-ser", "transformers", "torch", "datasets", "accelerate")


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
    checkpoint = _prepare_folder(folder, training)
    extractor = make_extractor(model_args)
    # One process builds what is cached, the others then find it.
    with training.main_process_first(local=False, desc="corpus and features"), warnings.catch_warnings():
        if not training.should_log:  # what there is to say of the corpus is said once
            warnings.simplefilter("ignore")
        corpus, features = load_with_features(data, extractor, str(training.device))
        rows, labels = keep_labels(corpus, data.labels)
        fold = choose_fold(rows, data)
    splits = make_splits(rows, features, fold, labels)
    if training.should_log:
        print(describe_splits(_public_name(data.corpus), fold.name, labels, splits), flush=True)
    set_seed(training.seed)
    network = make_model(model_args, labels, splits.train, extractor.feature_size)
    patience = training.early_stopping_patience
    trainer = SERTrainer(
        network,
        training,
        splits.train,
        splits.validation,
        feature_size=extractor.feature_size,
        processing_class=extractor,
        callbacks=[EarlyStoppingCallback(patience)] if patience else [],
    )
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if trainer.stop.stopped:
        return TrainingResult(folder, stopped=True)

    trainer.save_model()
    parts, scores = {}, []
    for name, clips in (("validation", splits.validation), ("test", splits.test)):
        # Every process takes part; Trainer gathers all clips' logits, each once.
        logits = torch.from_numpy(trainer.predict(clips).predictions)
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
        streams=list(extractor.streams),
        train=SplitReport(clips=len(splits.train), speakers=speakers_of(splits.train)),
        validation=parts["validation"],
        test=parts["test"],
        arguments=_asked_for(data, model_args, training),
        versions=library_versions(),
    )
    if trainer.is_world_process_zero():
        save_fold(fold, rows, folder / "fold.jsonl")
        write_jsonl(folder / "scores.jsonl", scores)
        write_json(folder / "results.json", _as_json(report))
        write_text(folder / "README.md", str(model_card(report, training.hub_model_id or folder.name)))
        if training.push_to_hub:
            _push(trainer, report)
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


def _prepare_folder(folder: Path, training: SERTrainingArguments) -> Path | None:
    """Find the checkpoint to resume from, on every process before the first may remove anything."""
    if training.overwrite_output_dir and not training.resume_from_checkpoint:
        with training.main_process_first(local=False, desc="emptying the output folder"):
            if training.process_index == 0:
                for path in folder.glob("checkpoint-*"):
                    shutil.rmtree(path)
        return None
    return find_checkpoint(folder, training.resume_from_checkpoint)


def make_extractor(args: ModelArguments) -> SERFeatureExtractor:
    """Make the feature extractor, or load that of the model to fine-tune.

    Args:
        args: The arguments.

    Returns:
        The extractor.
    """
    if args.model_name_or_path is None:
        return SERFeatureExtractor(streams=tuple(args.streams))
    return SERFeatureExtractor.from_pretrained(args.model_name_or_path, revision=args.model_revision)


def make_model(
    args: ModelArguments, labels: list[str], train: ClipSplit, feature_size: int
) -> SERForAudioClassification:
    """Make a model with the statistics of the training clips, or load one to fine-tune, with its own.

    Args:
        args: The arguments.
        labels: Emotions in the order of the classes.
        train: Training clips: statistics and class weights come from them.
        feature_size: Features per frame.

    Returns:
        The model, in training mode.
    """
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}
    weights = balanced_weights(train.labels, len(labels)) if args.class_weights == "balanced" else None
    if args.model_name_or_path is not None:
        network = SERForAudioClassification.from_pretrained(
            args.model_name_or_path,
            revision=args.model_revision,
            ignore_mismatched_sizes=True,
            class_weights=weights,
            dtype=torch.float32,
            **names,
        )
        return network.train()
    config = SERConfig(input_size=feature_size, class_weights=weights, **names, **model_sizes(args))
    network = SERForAudioClassification(config)
    network.ser.set_normalization(
        *feature_statistics((train[index]["input_features"] for index in range(len(train))), feature_size)
    )
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


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a training depends on."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:  # this one, run from a checkout that was never installed
            versions[library] = "checkout"
    return versions


def corpus_title(rows: datasets.Dataset) -> str:
    """Return a corpus's title: the first sentence of its description."""
    return rows.info.description.split(". ")[0]


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


def _asked_for(data: DataArguments, model: ModelArguments, training: SERTrainingArguments) -> dict[str, object]:
    """What distinguishes one run from another, without tokens and paths."""
    names = (
        "num_train_epochs",
        "max_steps",
        "per_device_train_batch_size",
        "world_size",
        "gradient_accumulation_steps",
        "learning_rate",
        "weight_decay",
        "warmup_steps",
        "early_stopping_patience",
        "seed",
    )
    chosen = {name: getattr(training, name) for name in names} | {"lr_scheduler_type": str(training.lr_scheduler_type)}
    return {
        "corpus": _public_name(data.corpus),
        "config": data.config,
        "labels": data.labels,
        "scheme": data.scheme if data.folds_file is None else "file",
        "num_folds": data.num_folds,
        "fold": data.fold,
        **vars(model),
        "model_name_or_path": _public_name(model.model_name_or_path),
        **chosen,
    }


def _public_name(name: str | None) -> str | None:
    """Name a folder without what lies above it, which is nobody's business; other names are kept."""
    return Path(name).resolve().name if name is not None and Path(name).is_dir() else name


def _as_json(report: RunReport) -> dict[str, Any]:
    return {name: vars(value) if isinstance(value, SplitReport) else value for name, value in vars(report).items()}


def _push(trainer: SERTrainer, report: RunReport) -> None:
    """Push the best model, then the card that names the commit it was pushed in."""
    commit = trainer.push_to_hub(commit_message="End of training")
    card = model_card(report, trainer.hub_model_id, revision=commit.oid)
    write_text(Path(trainer.args.output_dir) / "README.md", str(card))
    final = push_folder(
        HfApi(token=trainer.args.hub_token),
        trainer.hub_model_id,
        trainer.args.output_dir,
        "Model card",
        trainer.args.hub_revision,
    )
    logger.info("Pushed to %s", final.repo_url)


__all__ = ["TrainingResult", "run_training"]
