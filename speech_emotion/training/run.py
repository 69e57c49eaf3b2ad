"""One training from beginning to end: corpus → splits → features → model → figures → card → Hub."""

import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import EarlyStoppingCallback, set_seed
from transformers.training_args import OptimizerNames

from dataset_scripts import load_corpus, save_fold
from feature_extraction import SERFeatureExtractor
from speech_emotion.files import write_json, write_jsonl, write_text
from speech_emotion.progress import quiet_unless_terminal

from .arguments import DataArguments, ModelArguments, SERTrainingArguments
from .augmentation import make_augmentations
from .building import make_extractor, make_model
from .card import RunReport, SplitReport, model_card
from .descriptions import describe_architecture, describe_splits, describe_streams, place_on_card, public_name
from .feature_cache import cache_features, cache_streamed
from .fine_tuning import loaded_arguments
from .heard_speakers import Heard, check_unheard, heard_speakers
from .launch import check_launch, prepare_folder, sole_training
from .provenance import FURTHER_SETTINGS, corpus_title, library_versions, training_settings
from .run_identity import RUN_FILE, check_identity, clips_identity, features_identity, restored_settings
from .split_report import report_split, speakers_of
from .splits import Splits, choose_fold, keep_labels, make_splits
from .stages import STAGES_FILE, stages_so_far
from .stream_state import stream_state
from .trainer import SERTrainer


@dataclass(frozen=True)
class TrainingResult:
    """What a training gave."""

    output_dir: Path  # where model, card, fold, figures and scores lie
    stopped: bool = False  # whether SIGTERM stopped it; then there are a checkpoint and no figures
    report: RunReport | None = field(default=None, repr=False)  # what was measured; `None` when stopped


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
        print(describe_splits(public_name(data.corpus), fold.name, labels, splits), flush=True)
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
    identity = _identity(rows, features, labels, splits, extractor, model_args, heard) | restored_settings(training)
    if checkpoint is not None:
        check_identity(checkpoint, identity)
    stages = stages_so_far(checkpoint, _asked_for(data, model_args, training))
    trainer.records = {RUN_FILE: identity, STAGES_FILE: stages}
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
        corpus=public_name(data.corpus),
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
        stages=stages if len(stages) > 1 else [],  # `arguments` tell of a single one
        heard_before=None if heard is None else {title: dict(parts) for title, parts in heard.items()},
    )
    if trainer.is_world_process_zero():
        save_fold(fold, rows, folder / "fold.jsonl")
        write_jsonl(folder / "scores.jsonl", scores)
        write_json(folder / "results.json", _as_json(report))
        write_text(folder / "README.md", str(model_card(report, training.hub_model_id or place_on_card(folder))))
        if training.push_to_hub:
            trainer.push_with_card(partial(model_card, report))
    return TrainingResult(folder, report=report)


def load_with_features(
    data: DataArguments, extractor: SERFeatureExtractor, device: str | None = None
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Load a corpus and the features of its clips, from the cache where they are there already."""
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


def _identity(
    rows: datasets.Dataset,
    features: datasets.Dataset,
    labels: list[str],
    splits: Splits,
    extractor: SERFeatureExtractor,
    model: ModelArguments,
    heard: Heard | None,
) -> dict[str, object]:
    """What a run is of, and has to be when it is resumed."""
    plain = features.with_format(None)
    recordings = dict(zip(plain["id"], plain["recording"], strict=True))
    parts = {
        name: clips_identity(
            list(zip(one.ids, one.labels, strict=True)), one.speakers, [recordings[clip] for clip in one.ids]
        )
        for name, one in splits.items()
    }
    return {
        "corpus": corpus_title(rows),
        "labels": labels,
        "features": features_identity(extractor),
        "model_name_or_path": public_name(model.model_name_or_path),
        "speakers heard before": heard,
        **parts,
    }


def _asked_for(data: DataArguments, model: ModelArguments, training: SERTrainingArguments) -> dict[str, object]:
    """What distinguishes one run from another, without tokens and paths."""
    return {
        "corpus": public_name(data.corpus),
        "config": data.config,
        "labels": data.labels,
        "scheme": data.scheme if data.folds_file is None else "file",
        "num_folds": data.num_folds,
        "fold": data.fold,
        **{name: value for name, value in vars(model).items() if name != "given"},
        "model_name_or_path": public_name(model.model_name_or_path),
        "encoder": public_name(model.encoder),
        **training_settings(training),
        "load_best_model_at_end": training.load_best_model_at_end,
        **{name: getattr(training, name) for name in ("data_seed", *FURTHER_SETTINGS)},
        "optim": OptimizerNames(training.optim).value,
    }


def _as_json(report: RunReport) -> dict[str, Any]:
    return {name: vars(value) if isinstance(value, SplitReport) else value for name, value in vars(report).items()}


__all__ = ["TrainingResult", "run_training"]
