"""The letters of transcribed speech, learned by a small DeepSpeech with CTC, as a task."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from torch.utils.data import Dataset
from transformers import EvalPrediction, TrainingArguments

from dataset_scripts import load_corpus, save_fold
from feature_extraction import DeepSpeechConfig, DeepSpeechFeatureExtractor, DeepSpeechForCTC
from feature_extraction.modeling_deepspeech import ctc_losses
from feature_extraction.tokenizer_deepspeech import ENGLISH, build_tokenizer
from speech_emotion.evaluation.error_rates import error_rates
from speech_emotion.files import write_json, write_jsonl

from .arguments import CTCDataArguments, CTCModelArguments, corpus_places, told_settings
from .augmentation import Perturbation, SpecAugment
from .batches import IGNORED, FeatureCollator
from .card import common_fields
from .ctc_card import (
    RecognitionReport,
    describe_split,
    measure_split,
    recognizer_card,
    split_in_words,
    transcript_rows,
)
from .ctc_data import TranscribedSplit, choose_transcribed_fold, decode_greedily, make_transcribed_split, speaker_rows
from .ctc_input_scaling import scale_inputs, scaled_input_layer, unscale_inputs
from .feature_cache import cache_features
from .run_record import clips_identity, corpus_title, features_identity, training_settings
from .splits import check_recordings, feature_statistics
from .task import COMMON_COLUMNS, Augmentation, Inputs, TableColumn, TrainingResult, TrainingTask

INPUT_LAYER = "input_layer.pt"


class RecognitionTask(TrainingTask):
    """Transcripts of clips, learned by a new DeepSpeech; splits that nobody asks for are never decoded."""

    columns = (
        *COMMON_COLUMNS,
        TableColumn("eval_cer", "val. CER", "{:8.1%}"),
        TableColumn("eval_wer", "val. WER", "{:8.1%}"),
    )
    followed = ("cer", "wer")
    files = ("results.json", "transcripts.jsonl", "fold.jsonl", "README.md")

    def __init__(self, data: CTCDataArguments, model: CTCModelArguments, half: bool = False) -> None:
        self.data, self.model, self.half = data, model, half
        self.extractor = self.processing_class = DeepSpeechFeatureExtractor()
        self.tokenizer = build_tokenizer(ENGLISH)
        self.collator = FeatureCollator(self.extractor.feature_size)
        self._recordings: dict[str, list[tuple[str, str | None]]] = {}

    def prepare(self, training: TrainingArguments) -> None:
        """Read the corpus, and the clips to learn from and to choose by."""
        self.training = training
        with training.main_process_first(local=False, desc="corpus"), warnings.catch_warnings():
            if not training.should_log:  # what there is to say of the corpus is said once
                warnings.simplefilter("ignore")
            self.rows = load_corpus(self.data.corpus, **corpus_places(self.data))
            self.fold = choose_transcribed_fold(self.rows, self.data)
        self.train, self.validation = self._read("train"), self._read("validation")

    @cached_property
    def scored(self) -> Mapping[str, Dataset]:
        """The validation clips and, where that is asked for, the test clips, read now: after the training."""
        tested = {"test": self._read("test")} if self.data.evaluate_test else {}
        return {"validation": self.validation, **tested}

    def _read(self, name: str) -> TranscribedSplit:
        """Read a split, in order of length."""
        ids = set(self.fold.splits[name])
        part = self.rows.select([index for index, clip in enumerate(self.rows["id"]) if clip in ids])
        with self.training.main_process_first(local=False, desc=f"features of the {name} split"):
            features = cache_features(
                part, self.extractor, self.data.skip_bad, str(self.training.device), max_seconds=self.data.max_seconds
            )
        plain = features.with_format(None)
        self._recordings[name] = list(zip(plain["id"], plain["recording"], strict=True))
        check_recordings(self._recordings, self.fold.name)
        return make_transcribed_split(name, part, features, self.tokenizer.get_vocab(), self.data.skip_bad)

    def make_network(self) -> DeepSpeechForCTC:
        """Make a new model, whose first layer learns on normalized coefficients."""
        sizes = {"hidden_size": self.model.hidden_size, "dropout": self.model.dropout}
        config = DeepSpeechConfig(vocab_size=len(self.tokenizer), **sizes)
        network = DeepSpeechForCTC(config)
        clips = (self.train[index]["input_features"] for index in range(len(self.train)))
        self._mean, std = feature_statistics(clips, config.input_size)
        scale_inputs(network, self._mean, std)
        return network.train()

    def augmentations(self, network: DeepSpeechForCTC) -> list[Augmentation]:
        """Change tempo and gain, and mask stretches."""
        masks = ("time_masks", "time_mask_frames", "feature_masks", "feature_mask_size")
        masking = SpecAugment(self._mean, **{name: getattr(self.model, name) for name in masks})
        return [Perturbation(self.model.tempo, self.model.gain), masking]

    def forward(self, network: torch.nn.Module, inputs: Inputs) -> tuple[torch.Tensor, Any]:
        """Compute the loss; in evaluation every frame's best label and every clip's loss, not all labels' scores."""
        if network.training:
            return network(**inputs).loss, None
        mask, labels = inputs["attention_mask"], inputs["labels"]
        logits = network(input_features=inputs["input_features"], attention_mask=mask).logits
        losses = ctc_losses(logits, mask, labels, self.tokenizer.pad_token_id)
        best = logits.argmax(dim=-1).masked_fill(mask == 0, IGNORED)  # (batch, frames)
        return losses.mean(), (best, losses)

    def metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Measure errors over letters and words; the loss of each clip counts once."""
        best, losses = prediction.predictions
        spoken = [row[row >= 0].tolist() for row in prediction.label_ids]
        references = [self.tokenizer.decode(row, group_tokens=False) for row in spoken]
        rates = error_rates(references, decode_greedily(best, self.tokenizer))
        return {"cer": rates.cer, "wer": rates.wer, "loss": float(losses.astype(np.float64).mean())}

    # For runs that are saved ---------------------------------------------------------------------------------------

    def description(self) -> str:
        """Say in words who trains and validates."""
        parts = (("train", self.train), ("validation", self.validation))
        return "\n".join(f"{name:<10} {split_in_words(split, self._seconds_per_frame)}" for name, split in parts)

    @property
    def _seconds_per_frame(self) -> float:
        return self.extractor.hop_length / self.extractor.sampling_rate

    def identity(self) -> dict[str, Any]:
        """Return what a run is of: clips, speakers and transcripts of the splits, recordings of those read."""
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

    def settings(self, training: TrainingArguments) -> dict[str, Any]:
        """Return what distinguishes one run from another, without tokens and paths."""
        told = told_settings(self.data, self.model)
        if self.data.folds_file:
            told["validation_speakers"] = None
        return told | training_settings(training)

    def save_state(self, network: DeepSpeechForCTC, folder: Path) -> None:
        """Save the tokenizer, and the first layer as it learns: folded into raw inputs it would be rounded."""
        self.tokenizer.save_pretrained(folder)
        layer = scaled_input_layer(network)
        if layer is not None:
            torch.save(layer.exact_state(), folder / INPUT_LAYER)

    def load_state(self, network: DeepSpeechForCTC, folder: Path) -> None:
        """Load the first layer."""
        layer = scaled_input_layer(network)
        if not (folder / INPUT_LAYER).is_file():
            raise FileNotFoundError(f"{folder} cannot be resumed exactly: it has no {INPUT_LAYER}.")
        layer.load_exact_state(torch.load(folder / INPUT_LAYER, map_location=layer.weight.device, weights_only=True))

    def finish(self, network: DeepSpeechForCTC, best: Path | None) -> None:
        """Give the network a plain first layer, into which the best checkpoint loads to the bit; round if asked to."""
        unscale_inputs(network)
        if best is not None:
            network.load_state_dict(load_file(best / "model.safetensors"))
        if self.half:
            round_to_half(network)

    def save(self, network: DeepSpeechForCTC, folder: Path, save: Callable[[], None]) -> None:
        """Save the network, in half precision if asked to."""
        save()
        if self.half and self.training.should_save:
            state = {name: value.half() for name, value in network.state_dict().items()}
            network.save_pretrained(folder, state_dict=state)

    def report(
        self, result: TrainingResult, settings: dict[str, Any], stages: list[dict[str, Any]]
    ) -> RecognitionReport:
        """Tell what was measured, and of what."""
        seconds, measured = self._seconds_per_frame, {}
        self.transcripts: list[dict[str, str]] = []
        for name, clips in self.scored.items():
            best, losses = result.outputs[name].predictions
            texts = decode_greedily(best, self.tokenizer)
            measured[name] = measure_split(clips, texts, losses, seconds)
            self.transcripts += transcript_rows(name, clips, texts)
        stored = {"epoch": "epoch", "validation_loss": "eval_loss", "validation_cer": "eval_cer"}
        stored |= {"validation_wer": "eval_wer", "train_loss": "loss"}
        return RecognitionReport(
            **common_fields(self.data.corpus, self.rows, self.fold.name, result, settings),
            hidden_size=self.model.hidden_size,
            half=self.half,
            best_epoch=result.best_epoch if self.training.load_best_model_at_end else None,
            train=describe_split(self.train, seconds),
            validation=measured["validation"],
            test=measured.get("test"),
            curve=[{key: point[name] for name, key in stored.items()} for point in result.curve],
            stages=stages,
        )

    def write(self, report: RecognitionReport, result: TrainingResult, folder: Path) -> None:
        """Write the report, the fold, and what was recognized of each clip."""
        save_fold(self.fold, speaker_rows(self.rows), folder / "fold.jsonl")
        write_jsonl(folder / "transcripts.jsonl", sorted(self.transcripts, key=lambda row: (row["split"], row["id"])))
        write_json(folder / "results.json", asdict(report))

    def card(self, report: RecognitionReport, repo_id: str, revision: str | None = None) -> ModelCard:
        """Fill the recognizer's card."""
        return recognizer_card(report, repo_id, revision)


@torch.no_grad()
def round_to_half(network: DeepSpeechForCTC) -> None:
    """Round every weight to the nearest float16, kept as float32, so that figures are those of what is saved."""
    for name, parameter in network.named_parameters():
        rounded = parameter.half()
        if not bool(rounded.isfinite().all()):
            raise ValueError(f"{name} has a weight that float16 cannot hold; train without --half.")
        parameter.copy_(rounded)
