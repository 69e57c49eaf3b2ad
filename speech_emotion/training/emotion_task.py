"""The emotions of a corpus's speakers, or of ready splits, as a task."""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import datasets
import numpy as np
import torch
from huggingface_hub import ModelCard
from scipy.special import softmax
from transformers import EvalPrediction, TrainingArguments
from transformers.trainer_utils import PredictionOutput

from dataset_scripts import Fold, load_corpus, save_fold
from dataset_scripts.names import first_few
from feature_extraction import SERFeatureExtractor
from feature_extraction.onednn_linear import OneDNNLinear
from modeling_ser import SERForAudioClassification
from modeling_ser.modeling_ser import classification_loss
from speech_emotion.evaluation import classification_metrics
from speech_emotion.evaluation.calibration import fit_temperature
from speech_emotion.files import write_json, write_jsonl

from .arguments import DataArguments, ModelArguments, corpus_places, named_columns, told_settings
from .augmentation import make_augmentations
from .batches import FeatureCollator
from .building import loaded_arguments, make_extractor, make_model, trained_encoder
from .card import (
    PICTURE,
    UNSAFE,
    RunReport,
    SplitReport,
    common_fields,
    describe_architecture,
    describe_splits,
    describe_streams,
    draw_confusions,
    model_card,
    report_split,
    speakers_of,
)
from .encoder_training import default_rate, make_encoder_optimizer
from .feature_cache import cache_features, cache_streamed, stream_state
from .low_rank import load_exact_state, merge_low_rank, save_exact_state
from .run_record import (
    FURTHER_SETTINGS,
    Heard,
    check_unheard,
    clips_identity,
    corpus_title,
    features_identity,
    heard_speakers,
    public_name,
    training_settings,
)
from .splits import (
    UNKNOWN,
    ClipSplit,
    Splits,
    choose_fold,
    feature_statistics,
    keep_labels,
    make_splits,
    name_unknown_speakers,
)
from .task import COMMON_COLUMNS, Augmentation, Inputs, TableColumn, TrainingResult, TrainingTask

SHARES = "learned: what share of its raters heard each emotion in a clip; counted: what most of them heard"


class EmotionTask(TrainingTask):
    """Emotions of clips, learned by a model of this library, new or fine-tuned."""

    columns = (
        *COMMON_COLUMNS,
        TableColumn("eval_wa", "val. WA", "{:7.1%}"),
        TableColumn("eval_ua", "val. UA", "{:7.1%}"),
    )
    followed = ("ua",)
    files = ("results.json", "scores.jsonl", "fold.jsonl", "README.md", PICTURE)

    def __init__(self, data: DataArguments | None, model: ModelArguments) -> None:
        self.data, self.model = data, model
        self.loss = "cross_entropy"
        self.rows: datasets.Dataset
        self.fold: Fold
        self.heard: Heard | None = None

    @classmethod
    def of_splits(
        cls,
        model: ModelArguments,
        labels: list[str],
        splits: Splits,
        extractor: SERFeatureExtractor,
        normalized_by: ClipSplit | None = None,
        loss: str = "cross_entropy",
    ) -> Self:
        """Make a task of ready splits; the features are normalized by the training clips, or by others."""
        task = cls(None, model)
        task.loss = loss
        task._take(labels, splits, extractor, normalized_by)
        return task

    def _take(
        self,
        labels: list[str],
        splits: Splits,
        extractor: SERFeatureExtractor,
        normalized_by: ClipSplit | None = None,
    ) -> None:
        self.labels, self.splits, self.extractor = labels, splits, extractor
        self.train, self.validation = splits.train, splits.validation
        self.scored = {"validation": splits.validation, "test": splits.test}
        self.normalized_by = splits.train if normalized_by is None else normalized_by
        self.collator = FeatureCollator(extractor.feature_size)
        self.encoder = trained_encoder(self.model)
        self.processing_class = extractor if self.encoder is None else self.encoder.saved_extractor(extractor)

    def prepare(self, training: TrainingArguments) -> None:
        """Read corpus and features, unless the splits are there already."""
        self.training = training
        if self.data is None:
            return
        extractor = make_extractor(self.model)
        # One process builds what is cached, the others then find it.
        with training.main_process_first(local=False, desc="corpus and features"), warnings.catch_warnings():
            if not training.should_log:  # what there is to say of the corpus is said once
                warnings.simplefilter("ignore")
            corpus, self.features, variants = load_with_features(
                self.data, extractor, str(training.device), self.model.variants
            )
            self.rows, labels = self._choose_rows(corpus)
            self.fold = self._choose_fold()
        self._take(labels, self._make_splits(labels, variants), extractor)
        self.heard = heard_speakers(self.model.model_name_or_path, self.model.model_revision)
        parts = speakers_of(self.splits.validation), speakers_of(self.splits.test)
        if not self.data.unsafe_split:
            check_unheard(self.heard, corpus_title(self.rows), *parts, str(self.model.model_name_or_path))

    def _choose_rows(self, corpus: datasets.Dataset) -> tuple[datasets.Dataset, list[str]]:
        """Keep the clips that are learned from, and name what is learned of them."""
        return keep_labels(corpus, self.data.labels)

    def _choose_fold(self) -> Fold:
        """Make or read the fold; speakers may be unknown, or shared, only where that was asked for by name."""
        if self.data.final is not None:
            raise ValueError("A training on all speakers is a FinalTask; parse_arguments makes one of --final.")
        if not self.data.unsafe_split:
            return choose_fold(self.rows, self.data)
        warnings.warn(
            "--unsafe_split: clips are divided WHOEVER SPEAKS. Voices that were heard in training are known in the "
            "test, and the figures are too good: say so wherever you give them.",
            stacklevel=3,
        )
        self.rows = name_unknown_speakers(self.rows)
        if self.model.by_speaker and UNKNOWN in self.rows.unique("speaker"):
            raise ValueError("--by_speaker needs to know who speaks. Name a --speaker_column, or leave it out.")
        plain = self.features.with_format(None)
        return choose_fold(self.rows, self.data, dict(zip(plain["id"], plain["recording"], strict=True)))

    def _make_splits(self, labels: list[str], variants: list[datasets.Dataset], **how: Any) -> Splits:
        shares = self.data.unsafe_split
        return make_splits(self.rows, self.features, self.fold, labels, variants, shares_speakers=shares, **how)

    def _problem(self) -> dict[str, Any]:
        """Return the fields of the model's configuration that say what kind of answers are learned."""
        return {"problem_type": None, "value_ranges": None}

    def make_network(self) -> SERForAudioClassification:
        """Make a model with the statistics of the training clips, or load the one to fine-tune."""
        network = make_model(self.model, self.labels, self.normalized_by, self.extractor, self._problem())
        if self.model.model_name_or_path is not None:
            self.model = loaded_arguments(self.model, network.config, self.extractor)
        network.config.temperature = 1.0  # that of a model to fine-tune was of its old weights
        if self.loss != "cross_entropy":  # else as the model to fine-tune says
            network.config.loss = self.loss  # read whenever a loss is computed
        self._config = network.config
        if self.model.by_speaker:
            self._normalize_speakers(network)
        return network

    def _normalize_speakers(self, network: SERForAudioClassification) -> None:
        """Normalize each speaker's clips by their own statistics, as those who use the model are to adapt it."""
        if network.ser.encoder is not None:
            raise ValueError(
                "--by_speaker: the layers of an encoder that belongs to the model change while it learns, "
                "and with them each speaker's statistics. Take a frozen encoder, or leave it out."
            )
        emotions: dict[str, set[int]] = {}
        for speaker, label in zip(self.splits.train.speakers, self.splits.train.labels, strict=True):
            emotions.setdefault(speaker, set()).add(label)
        lone = sorted(speaker for speaker, labels in emotions.items() if len(labels) == 1)
        if lone:
            raise ValueError(
                f"--by_speaker: all training clips of {first_few(lone)} are of one emotion, which their own "
                "statistics would remove. Leave them out, or leave out --by_speaker."
            )
        for _, part in self.splits.items():
            part.normalize_speakers(network.ser.feature_mean, network.ser.feature_std)

    def make_optimizer(self, network: SERForAudioClassification) -> torch.optim.Optimizer | None:
        """Give an encoder that learns a rate of its own."""
        how = self.model.train_encoder
        if how == "none":
            return None
        rate = self.model.encoder_learning_rate
        rate = default_rate(how, self.training.learning_rate) if rate is None else rate
        return make_encoder_optimizer(network, self.training, rate)

    def arithmetic(self) -> AbstractContextManager:
        """Compute an encoder's large linear maps by what is fastest, unless its blocks are checkpointed."""
        plain = self.model.train_encoder == "none" or self.training.activation_checkpointing
        return nullcontext() if plain else OneDNNLinear()

    def forward(self, network: torch.nn.Module, inputs: Inputs) -> tuple[torch.Tensor, Any]:
        """Compute a batch's loss and logits; an encoder that learns goes on from where the features end."""
        given = {} if self.encoder is None else {"given_layers": self.encoder.given_layers}
        output = network(**inputs, **given)
        return output.loss, output.logits

    def augmentations(self, network: SERForAudioClassification) -> list[Augmentation]:
        """Make those that the arguments name."""
        if network.ser.encoder is None:
            return make_augmentations(self.model, self.extractor, network)
        fill = torch.zeros(self.extractor.feature_size)
        if self.model.time_masks or self.model.band_masks:  # the model's own mean is that of layers above
            clips = (self.train[index]["input_features"] for index in range(len(self.train)))
            fill, _ = feature_statistics(clips, self.extractor.feature_size)
        args = self.model
        if self.encoder is None or self.encoder.given_layers is None:  # its own input has more frames than its layers
            args = replace(args, time_mask_frames=args.time_mask_frames * network.ser.encoder.frame_stride)
        return make_augmentations(args, self.extractor, network, fill)

    def metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Measure WA, UA and F1; the loss of each clip counts once."""
        logits, labels, classes = prediction.predictions, prediction.label_ids, len(self.labels)
        loss = classification_loss(torch.from_numpy(logits), torch.from_numpy(labels), self._config).item()
        predicted, labels = np.argmax(logits, axis=-1), classes_of(labels)
        if self.data is None:  # `evaluate` writes each evaluation's clips into an Arrow table first
            return classification_metrics(labels, predicted, classes) | {"loss": loss}
        # Every process holds all predictions, so each computes alone and in memory: no files to meet in.
        from speech_emotion.evaluation.ser_metric import SERMetric  # evaluate takes a second to import

        metric = SERMetric(keep_in_memory=True)
        return metric.compute(predictions=predicted, references=labels, num_labels=classes) | {"loss": loss}

    # For runs that are saved ---------------------------------------------------------------------------------------

    def calibrate(self, network: SERForAudioClassification, outputs: Mapping[str, PredictionOutput]) -> None:
        """Fit the temperature to the validation speakers."""
        found = outputs["validation"]
        scores = softmax(found.predictions.astype(np.float64), axis=1)  # (clips, classes)
        network.config.temperature = fit_temperature(found.label_ids, scores)

    def description(self) -> str:
        """Say in words who trains, validates and is tested."""
        told = describe_splits(public_name(self.data.corpus), self.fold.name, self.labels, self.splits)
        return f"{told}\n  {SHARES}" if self._learns_shares() else told

    def _learns_shares(self) -> bool:
        return self.splits.train.targets is not self.splits.train.labels

    def identity(self) -> dict[str, Any]:
        """Return what a run is of: clips, speakers and recordings of the splits, labels, features."""
        plain = self.features.with_format(None)
        recordings = dict(zip(plain["id"], plain["recording"], strict=True))
        parts = {
            name: clips_identity(
                list(zip(one.ids, one.targets, strict=True)), one.speakers, [recordings[clip] for clip in one.ids]
            )
            for name, one in self.splits.items()
        }
        return {
            "corpus": corpus_title(self.rows),
            "labels": self.labels,
            "features": features_identity(self.extractor),
            "model_name_or_path": public_name(self.model.model_name_or_path),
            **self._encoder_identity(),
            "speakers heard before": self.heard,
            **parts,
        }

    def _encoder_identity(self) -> dict[str, Any]:
        """Say what of an encoder learns and how fast, which a checkpoint brings back whatever is asked for."""
        if self.model.train_encoder == "none":
            return {}
        names = ("train_encoder", "encoder_learning_rate", "lora_rank")
        found = {name: getattr(self.model, name) for name in names}
        if self.encoder is not None and self.encoder.given_layers is None:  # else the features' digest tells
            found["encoder"] = self.encoder.pretrained().digest()
        return found

    def settings(self, training: TrainingArguments) -> dict[str, Any]:
        """Return what distinguishes one run from another, without tokens and paths."""
        told = told_settings(self.data, self.model)
        told |= {name: public_name(told[name]) for name in ("corpus", "model_name_or_path", "encoder")}
        if self.data.folds_file is not None:
            told["scheme"] = "file"
        if self.data.unsafe_split:
            told["scheme"] = UNSAFE
        further = ("load_best_model_at_end", "data_seed", *FURTHER_SETTINGS, "optim")
        return told | training_settings(training, *further)

    def save_state(self, network: SERForAudioClassification, folder: Path) -> None:
        """Save adapters as they learn."""
        save_exact_state(network, folder)

    def load_state(self, network: SERForAudioClassification, folder: Path) -> None:
        """Load them."""
        load_exact_state(network, folder)

    def finish(self, network: SERForAudioClassification, best: Path | None) -> None:
        """Merge adapters into the weights; those of the best checkpoint are loaded merged."""
        merge_low_rank(network)

    def report(self, result: TrainingResult, settings: dict[str, Any], stages: list[dict[str, Any]]) -> RunReport:
        """Tell what was measured, and of what."""
        parts = {"validation": SplitReport(clips=0, speakers=[]), "test": SplitReport(clips=0, speakers=[])}
        self.scores = []
        temperature = result.network.config.temperature
        for name, output in result.outputs.items():
            clips = self.scored[name]
            if not np.allclose(output.label_ids, clips.targets):
                raise RuntimeError(f"The {name} clips came back from Trainer in another order than they went in.")
            parts[name], scores = self._report_split(name, clips, output, temperature)
            self.scores += scores
        return RunReport(
            **common_fields(public_name(self.data.corpus), self.rows, self.fold.name, result, settings),
            labels=self.labels,
            streams=describe_streams(self.processing_class),
            architecture=describe_architecture(result.network.config),
            temperature=temperature,
            learned_shares=self._learns_shares(),
            kept_epoch=result.best_epoch,
            kept_step=result.best_step,
            train=SplitReport(clips=len(self.splits.train), speakers=speakers_of(self.splits.train)),
            **parts,
            stages=stages if len(stages) > 1 else [],  # `arguments` tell of a single one
            heard_before=None if self.heard is None else {title: dict(who) for title, who in self.heard.items()},
        )

    def _report_split(
        self, name: str, clips: ClipSplit, output: PredictionOutput, temperature: float
    ) -> tuple[SplitReport, list[dict[str, Any]]]:
        return report_split(name, clips, torch.from_numpy(output.predictions), self.labels, temperature)

    def write(self, report: RunReport, result: TrainingResult, folder: Path) -> None:
        """Write the report, the fold, and each clip's scores."""
        save_fold(self.fold, self.rows, folder / "fold.jsonl", shares_speakers=self.data.unsafe_split)
        write_jsonl(folder / "scores.jsonl", self.scores)
        write_json(folder / "results.json", asdict(report))
        draw_confusions(report, folder)

    def card(self, report: RunReport, repo_id: str, revision: str | None = None) -> ModelCard:
        """Fill the model card."""
        return model_card(report, repo_id, revision)


def classes_of(targets: np.ndarray) -> np.ndarray:
    """Return each clip's class, (clips,), of its class or of its raters' shares, (clips, classes)."""
    return targets.argmax(axis=-1) if targets.ndim == 2 else targets


def load_with_features(
    data: DataArguments, extractor: SERFeatureExtractor, device: str | None = None, variants: int = 0
) -> tuple[datasets.Dataset, datasets.Dataset, list[datasets.Dataset]]:
    """Load a corpus, the features of its clips, and those of variants; from the cache where they are there already."""
    places = corpus_places(data)
    if data.speaker_pattern is not None:
        places["speaker_pattern"] = data.speaker_pattern
    if not data.streaming:
        rows = load_corpus(data.corpus, **places)
        features, *others = (
            cache_features(rows, extractor, data.skip_bad, device, variant, data.max_seconds)
            for variant in range(variants + 1)
        )
        return rows, features, others
    if "/" not in data.corpus:
        raise ValueError(
            f"--streaming is for copies of a corpus (you/{data.corpus} on the Hub, or a folder); {data.corpus} itself "
            "is on this machine's disk anyway."
        )
    stream = load_corpus(data.corpus, **places, streaming=True)
    state = stream_state(data.corpus) + "".join(map(str, named_columns(data).items()))
    (rows, features), *others = (
        cache_streamed(stream, state, extractor, data.skip_bad, device, data.cache_dir, variant, data.max_seconds)
        for variant in range(variants + 1)
    )
    return rows, features, [one for _, one in others]
