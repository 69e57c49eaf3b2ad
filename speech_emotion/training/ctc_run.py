"""One DeepSpeech training from beginning to end: corpus → speakers → features → model → figures → card → Hub."""

import warnings
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase, set_seed

from dataset_scripts import Fold, load_corpus, save_fold
from feature_extraction import DeepSpeechConfig, DeepSpeechFeatureExtractor, DeepSpeechForCTC
from feature_extraction.tokenizer_deepspeech import ENGLISH, build_tokenizer
from speech_emotion.files import write_json, write_jsonl, write_text
from speech_emotion.progress import quiet_unless_terminal

from .augmentation_masking import SpecAugment
from .ctc_arguments import CTCDataArguments, CTCModelArguments, CTCTrainingArguments
from .ctc_card import RecognitionReport, SpokenSplit, recognizer_card
from .ctc_figures import describe_split, measure_split, transcript_rows
from .ctc_input_scaling import scale_inputs, unscale_inputs
from .ctc_perturbation import Perturbation
from .ctc_speakers import choose_transcribed_fold, speaker_rows
from .ctc_split import TranscribedSplit, make_transcribed_split
from .ctc_trainer import CTCTrainer
from .ctc_transcripts import decode_greedily
from .feature_cache import cache_features
from .launch import check_launch, prepare_folder, sole_training
from .normalization import feature_statistics
from .provenance import corpus_title, library_versions, training_settings
from .reproducible_trainer import Augmentation
from .run_identity import RUN_FILE, check_identity, clips_identity, features_identity, restored_settings
from .splits import check_recordings
from .stages import STAGES_FILE, stages_so_far


@dataclass(frozen=True)
class CTCResult:
    """What a training gave."""

    output_dir: Path  # where model, card, fold, figures and transcripts lie
    stopped: bool = False  # whether SIGTERM stopped it; then there are a checkpoint and no figures
    report: RecognitionReport | None = field(default=None, repr=False)  # what was measured; `None` when stopped


def run_ctc_training(data: CTCDataArguments, model: CTCModelArguments, training: CTCTrainingArguments) -> CTCResult:
    """Train a small DeepSpeech, choose its epoch on the validation speakers, and report.

    >>> from speech_emotion.training.ctc_arguments import parse_ctc_arguments
    >>> result = run_ctc_training(*parse_ctc_arguments(["--hidden_size", "256"]))  # doctest: +SKIP
    >>> sorted(result.report.validation.errors)  # doctest: +SKIP
    ['adults', 'all', 'children']
    """
    check_launch(training)
    if not training.should_log:
        datasets.disable_progress_bars()
    quiet_unless_terminal()
    with sole_training(training):
        return _run(data, model, training)


def _run(data: CTCDataArguments, model_args: CTCModelArguments, training: CTCTrainingArguments) -> CTCResult:
    folder = Path(training.output_dir)
    checkpoint = prepare_folder(folder, training)
    reader = ClipReader(data, training)
    fold, clips = reader.fold, {name: reader.read(name) for name in ("train", "validation")}
    seconds = reader.extractor.hop_length / reader.extractor.sampling_rate
    if training.should_log:
        for name, split in clips.items():
            print(f"{name:<10} {_in_words(SpokenSplit(**describe_split(split, seconds)))}", flush=True)
    set_seed(training.seed)
    network, augmentations = make_recognizer(model_args, reader.tokenizer, clips["train"])
    patience = training.early_stopping_patience
    trainer = CTCTrainer(
        network,
        training,
        clips["train"],
        clips["validation"],
        tokenizer=reader.tokenizer,
        augmentations=augmentations,
        processing_class=reader.extractor,
        callbacks=[EarlyStoppingCallback(patience)] if patience and training.eval_strategy != "no" else [],
    )
    identity = reader.identity() | restored_settings(training)
    if checkpoint is not None:
        check_identity(checkpoint, identity)
    stages = stages_so_far(checkpoint, _asked_for(data, model_args, training))
    trainer.records = {RUN_FILE: identity, STAGES_FILE: stages}
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if trainer.stop.stopped:
        return CTCResult(folder, stopped=True)

    trainer.leave_mixed_precision()
    unscale_inputs(network)
    if training.half:
        round_to_half(network)
    if data.evaluate_test:
        clips["test"] = reader.read("test")
    measured, transcripts = {}, []
    for name in (name for name in clips if name != "train"):
        # Every process takes part, in the same order; Trainer gathers all clips' labels, each once.
        labels, losses = trainer.predict(clips[name]).predictions
        texts = decode_greedily(labels, reader.tokenizer)
        measured[name] = measure_split(clips[name], texts, losses, seconds)
        transcripts += transcript_rows(name, clips[name], texts)
    report = _report(data, model_args, training, reader.rows, fold, trainer, measured, clips["train"], seconds, stages)
    if trainer.is_world_process_zero():
        for name in ("results.json", "transcripts.jsonl", "fold.jsonl", "README.md"):  # an earlier run's
            (folder / name).unlink(missing_ok=True)
        save_recognizer(network, reader.extractor, reader.tokenizer, folder, training.half)
        save_fold(fold, speaker_rows(reader.rows), folder / "fold.jsonl")
        write_jsonl(folder / "transcripts.jsonl", sorted(transcripts, key=lambda row: (row["split"], row["id"])))
        write_json(folder / "results.json", asdict(report))
        write_text(folder / "README.md", str(recognizer_card(report, training.hub_model_id or folder.name)))
        if training.push_to_hub:
            trainer.push_with_card(partial(recognizer_card, report))
    return CTCResult(folder, report=report)


class ClipReader:
    """Reads a corpus split by split; what nobody asks for is never decoded."""

    def __init__(self, data: CTCDataArguments, training: CTCTrainingArguments) -> None:
        self.data, self.training = data, training
        self.extractor = DeepSpeechFeatureExtractor()
        self.tokenizer = build_tokenizer(ENGLISH)
        with training.main_process_first(local=False, desc="corpus"), warnings.catch_warnings():
            if not training.should_log:  # what there is to say of the corpus is said once
                warnings.simplefilter("ignore")
            places = {"data_dir": data.data_dir, "config": data.config, "cache_dir": data.cache_dir}
            if data.skip_bad and "/" not in data.corpus:  # a copy's audio is only looked at when features are made
                places["skip_bad"] = True
            self.rows = load_corpus(data.corpus, **places)
            self.fold: Fold = choose_transcribed_fold(self.rows, data)
        self._recordings: dict[str, list[tuple[str, str | None]]] = {}

    def read(self, name: str) -> TranscribedSplit:
        """Read a split, in order of length."""
        ids = set(self.fold.splits[name])
        part = self.rows.select([index for index, clip in enumerate(self.rows["id"]) if clip in ids])
        with self.training.main_process_first(local=False, desc=f"features of the {name} split"):
            features = cache_features(part, self.extractor, self.data.skip_bad, str(self.training.device))
        plain = features.with_format(None)
        self._recordings[name] = list(zip(plain["id"], plain["recording"], strict=True))
        check_recordings(self._recordings, self.fold.name)
        vocabulary = self.tokenizer.get_vocab()
        return make_transcribed_split(name, part, features, vocabulary, self.data.skip_bad)

    def identity(self) -> dict[str, object]:
        """Return what a run is of, and has to be when it is resumed; of recordings those that were read."""
        said = dict(zip(self.rows["id"], zip(self.rows["speaker"], self.rows["transcript"], strict=True), strict=True))
        parts = {
            name: clips_identity(
                [(clip, said[clip][1]) for clip in ids],
                [said[clip][0] for clip in ids],
                [recording for _, recording in self._recordings.get(name, [])],
            )
            for name, ids in self.fold.splits.items()
        }
        return {"corpus": corpus_title(self.rows), "features": features_identity(self.extractor), **parts}


def make_recognizer(
    args: CTCModelArguments, tokenizer: PreTrainedTokenizerBase, train: TranscribedSplit
) -> tuple[DeepSpeechForCTC, list[Augmentation]]:
    """Make a new model, and what is done to the batches it learns from."""
    config = DeepSpeechConfig(hidden_size=args.hidden_size, dropout=args.dropout, vocab_size=len(tokenizer))
    network = DeepSpeechForCTC(config)
    mean, std = feature_statistics((train[index]["input_features"] for index in range(len(train))), config.input_size)
    scale_inputs(network, mean, std)
    masks = ("time_masks", "time_mask_frames", "feature_masks", "feature_mask_size")
    spec_augment = SpecAugment(mean, **{name: getattr(args, name) for name in masks})
    return network.train(), [Perturbation(args.tempo, args.gain), spec_augment]


@torch.no_grad()
def round_to_half(network: DeepSpeechForCTC) -> None:
    """Round every weight to the nearest float16, kept as float32, so that figures are those of what is saved."""
    for name, parameter in network.named_parameters():
        rounded = parameter.half()
        if not bool(rounded.isfinite().all()):
            raise ValueError(f"{name} has a weight that float16 cannot hold; train without --half.")
        parameter.copy_(rounded)


def save_recognizer(
    network: DeepSpeechForCTC,
    extractor: DeepSpeechFeatureExtractor,
    tokenizer: PreTrainedTokenizerBase,
    folder: str | Path,
    half: bool = False,
) -> None:
    """Save what `pipeline` needs."""
    weights = network.state_dict()
    network.save_pretrained(
        folder, state_dict={name: value.half() for name, value in weights.items()} if half else weights
    )
    extractor.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _report(
    data: CTCDataArguments,
    model_args: CTCModelArguments,
    training: CTCTrainingArguments,
    rows: datasets.Dataset,
    fold: Fold,
    trainer: CTCTrainer,
    measured: dict[str, SpokenSplit],
    train: TranscribedSplit,
    seconds: float,
    stages: list[dict[str, Any]],
) -> RecognitionReport:
    figures = ("epoch", "eval_loss", "eval_cer", "eval_wer")
    history = trainer.state.log_history
    losses = {entry["step"]: entry["loss"] for entry in history if "loss" in entry}
    evaluations = [entry for entry in history if "eval_loss" in entry]
    best = None
    if training.load_best_model_at_end:  # else Trainer knows the best step too, but the last one was kept
        best = next((entry["epoch"] for entry in evaluations if entry["step"] == trainer.state.best_global_step), None)
    return RecognitionReport(
        corpus=data.corpus,
        title=corpus_title(rows),
        homepage=rows.info.homepage,
        corpus_license=rows.info.license,
        citation=rows.info.citation,
        language=rows[0]["language"],
        fold=fold.name,
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
        hidden_size=model_args.hidden_size,
        half=training.half,
        seed=training.seed,
        epochs=trainer.state.epoch,
        best_epoch=best,
        train=SpokenSplit(**describe_split(train, seconds)),
        validation=measured["validation"],
        test=measured.get("test"),
        curve=[{name: entry[name] for name in figures} | {"loss": losses.get(entry["step"])} for entry in evaluations],
        arguments=_asked_for(data, model_args, training),
        stages=stages,
        versions=library_versions(),
    )


def _asked_for(data: CTCDataArguments, model: CTCModelArguments, training: CTCTrainingArguments) -> dict[str, object]:
    """What distinguishes one run from another, without tokens and paths."""
    return {
        "corpus": data.corpus,
        "config": data.config,
        "validation_speakers": None if data.folds_file else data.validation_speakers,
        **vars(model),
        **training_settings(training),
    }


def _in_words(part: SpokenSplit) -> str:
    groups = ", ".join(f"{len(speakers)} {group}" for group, speakers in part.speakers.items())
    return f"{part.clips:5} clips, {part.hours:.2f} hours, {groups}"


__all__ = ["CTCResult", "run_ctc_training"]
