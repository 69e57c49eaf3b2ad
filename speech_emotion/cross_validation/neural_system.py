"""The paper's models as compared systems, with every way of meeting imbalance."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax
from transformers.utils import cached_file

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERConfig
from speech_emotion.training import run_training
from speech_emotion.training.arguments import ModelArguments, TrainingDefaults, preset_settings
from speech_emotion.training.building import shared_extractor
from speech_emotion.training.command_line import given_options
from speech_emotion.training.emotion_task import EmotionTask
from speech_emotion.training.run_record import (
    FURTHER_SETTINGS,
    Heard,
    check_unheard,
    heard_speakers,
    public_name,
    switched_on,
    training_settings,
)
from speech_emotion.training.splits import ClipSplit, Splits
from speech_emotion.training.task import TrainingResult
from speech_emotion.training.training_arguments import SERTrainingArguments

from .system import FoldOutcome, FoldTask, System
from .system_names import ENCODERS, MODELS, SAID_BY_NAME, ModelName, encoder_arguments

OF_SEVERAL = ("ensemble", "averaging")  # ways by several networks
NUM_MEMBERS = 3
# By the features' own settings; what a preset says, field by field; a model to start from, by its weights.
TOLD_ELSEWHERE = (
    "encoder", "encoder_revision", "encoder_layer", "win_length", "preset", "model_name_or_path", "model_revision",
)  # fmt: skip
# What the cross-validation itself decides.
DECIDED = (
    "data_seed", "ddp_backend", "eval_strategy", "hub_model_id", "logging_strategy",
    "output_dir", "overwrite_output_dir", "preset", "push_to_hub", "report_to", "resume_from_checkpoint",
    "save_strategy", "seed", "use_cpu",
)  # fmt: skip
LISTS = ("encoder_layer", "stem_channels")  # settings that may be several numbers
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class StartingModel:
    """A saved model that every fold fine-tunes, and what has to be known of it."""

    public_name: str  # its id on the Hub, or its folder's name without what lies above it
    weights: str  # hash of its weights, 16 hexadecimal digits: another model under the same name is another start
    heard: Heard  # whom it has heard, as `heard_speakers` tells
    streams: tuple[str, ...]  # feature streams that it reads
    fusion: str  # how it fuses them

    @classmethod
    def read(cls, name_or_path: str, revision: str | None = None) -> "StartingModel":
        """Find a model's weights, and whom they have heard."""
        heard = heard_speakers(name_or_path, revision)
        path = cached_file(name_or_path, WEIGHTS, revision=revision)
        if heard is None:
            raise ValueError(
                f"Nobody knows whom {name_or_path} has heard: no results.json of this library lies beside its "
                "weights. A cross-validation needs a model that was trained by train.py, or none to start from."
            )
        with open(path, "rb") as weights:
            digest = hashlib.file_digest(weights, "sha256").hexdigest()[:16]
        config = SERConfig.from_pretrained(name_or_path, revision=revision)
        settings, _ = SERFeatureExtractor.get_feature_extractor_dict(name_or_path, revision=revision)
        return cls(public_name(name_or_path), digest, heard, tuple(settings["streams"]), config.fusion)


class NeuralSystem(System):
    """Model-1, Model-2 or Model-3."""

    heeds = ("--set", "--encoder")

    def __init__(
        self, parts: ModelName, overrides: Mapping[str, Any] | None = None, encoder: str | None = None
    ) -> None:
        super().__init__(str(parts), parts.title)
        self.imbalance = imbalance = parts.imbalance
        streams, fusion, _ = MODELS[parts.model]
        own: dict[str, Any] = {"fusion": fusion} | encoder_arguments(parts.encoder, streams, encoder)
        if imbalance == "class-weights":
            own["class_weights"] = "balanced"
        preset_name = parts.preset or (ENCODERS[parts.encoder].preset if parts.encoder else "")
        preset = preset_settings(preset_name, own) if preset_name else {}
        preset = {field: value for field, value in preset.items() if field not in own}  # which the name says
        if parts.encoder:
            self.heeds = ("--set",)
        if imbalance == "focal":  # which knows no smoothed target
            preset.pop("label_smoothing", None)
        self.overrides = preset | dict(overrides or {})
        check_overrides(self.overrides)
        self.model = model_arguments(self.overrides, **own)
        self._extractor: SERFeatureExtractor | None = None

    def make_extractor(self) -> SERFeatureExtractor:
        """Make the feature extractor, once; with an encoder, load it."""
        if self._extractor is None:
            self._extractor = shared_extractor(self.model)
        return self._extractor

    @property
    def variants(self) -> int:
        """How many variants of each training clip it learns from."""
        return self.model.variants

    @cached_property
    def start(self) -> StartingModel | None:
        """The saved model that every fold fine-tunes; `None` where each begins anew."""
        if self.model.model_name_or_path is None:
            return None
        start = StartingModel.read(self.model.model_name_or_path, self.model.model_revision)
        found, own = (start.streams, start.fusion), (tuple(self.model.streams), self.model.fusion)
        if found != own:
            raise ValueError(
                f"{self.name} reads {' + '.join(own[0])} with the fusion {own[1]!r}, but {start.public_name}, the "
                f"model to start from, {' + '.join(found[0])} with {found[1]!r}. Choose the system that it is."
            )
        return start

    def check_fold(self, title: str, validation: Sequence[str], test: Sequence[str]) -> None:
        """Refuse to fine-tune a model and then validate or test it on speakers it had heard before."""
        if self.start is not None:
            check_unheard(self.start.heard, title, validation, test, self.start.public_name)

    def settings(self) -> dict[str, Any]:
        """Return sizes, training and the way of meeting imbalance; of an encoder the features' settings tell."""
        model = switched_on({name: value for name, value in vars(self.model).items() if name not in TOLD_ELSEWHERE})
        return {
            "kind": "neural",
            "imbalance": self.imbalance,
            **({"num_members": NUM_MEMBERS} if self.imbalance in OF_SEVERAL else {}),
            **({} if self.start is None else {"starts_from": self.start.weights}),
            "model": model,
            "training": training_record(self.overrides),
        }

    def fit(self, task: FoldTask) -> FoldOutcome:
        """Train, choose the epoch by UA on the validation clips unless the last is to be kept, and score."""
        trained = [self._train(task, *chances) for chances in self._chances(task)]
        scores = [np.mean([_scores(one, part) for one in trained], axis=0) for part in ("validation", "test")]
        about: dict[str, Any] = {"parameters": sum(one.parameters for one in trained)}
        if self.start is not None:
            about["starts_from"] = self.start.public_name
        epochs, best = [len(one.curve) for one in trained], [one.best_epoch for one in trained]
        curve = [{"member": member, **point} for member, one in enumerate(trained) for point in one.curve]
        if len(trained) == 1:
            epochs, best, curve = epochs[0], best[0], trained[0].curve
        about |= {"epochs": epochs, "best_epoch": best, "curve": curve}
        return FoldOutcome(*scores, about)

    def _chances(self, task: FoldTask) -> list[tuple[int, ClipSplit, ClipSplit]]:
        """For each network its seed, the clips it is normalized by and the clips it learns from."""
        train = task.splits.train
        if self.imbalance in OF_SEVERAL:
            parts = [train] * NUM_MEMBERS
            if self.imbalance == "ensemble":
                draws = (undersample(train.labels, (task.seed, member)) for member in range(NUM_MEMBERS))
                parts = [subset(train, drawn) for drawn in draws]
            return [(member_seed(task.seed, member), part, part) for member, part in enumerate(parts)]
        if self.imbalance == "oversampling":  # a repeated clip tells nothing new of how features are distributed
            return [(task.seed, train, subset(train, oversample(train.labels, task.seed)))]
        return [(task.seed, train, train)]

    def _train(self, task: FoldTask, seed: int, normalized_by: ClipSplit, learned: ClipSplit) -> TrainingResult:
        splits = Splits(learned, task.splits.validation, task.splits.test)
        loss = "focal" if self.imbalance == "focal" else "cross_entropy"
        emotions = EmotionTask.of_splits(
            self.model, task.labels, splits, self.make_extractor(), normalized_by=normalized_by, loss=loss
        )
        return run_training(emotions, training_arguments(self.overrides, seed, task.folder, task.device), save=False)


def _scores(result: TrainingResult, part: str) -> np.ndarray:
    """Probabilities of a part's clips, (clips, classes), in float64."""
    return softmax(result.outputs[part].predictions.astype(np.float64), axis=1)


def subset(clips: ClipSplit, indices: Sequence[int]) -> ClipSplit:
    """Take clips of a split, some perhaps several times."""
    ids, speakers, labels = (
        [values[index] for index in indices] for values in (clips.ids, clips.speakers, clips.labels)
    )
    targets = None if clips.targets is clips.labels else [clips.targets[index] for index in indices]
    positions = clips.positions[np.asarray(indices)]
    return ClipSplit(clips.features, positions, ids, speakers, labels, clips.variants, targets)


def member_seed(seed: int, member: int) -> int:
    """Return the seed of one network of an ensemble."""
    return int(np.random.SeedSequence([seed, member]).generate_state(1)[0])


def undersample(labels: Sequence[int], seed: int | Sequence[int]) -> np.ndarray:
    """Draw from every class, without replacement, as many clips as the rarest has.

    Source: slides of Bhosale et al., ICASSP 2020, "downsampling + ensembling"; that the rarest class sets the number
        is our reading.
    """
    clips_of = _clips_of_classes(labels)
    size = min(map(len, clips_of))
    random = np.random.default_rng(seed)
    return np.sort(np.concatenate([random.choice(clips, size, replace=False) for clips in clips_of]))


def oversample(labels: Sequence[int], seed: int | Sequence[int]) -> np.ndarray:
    """Repeat the clips of every class until it has as many as the largest."""
    clips_of = _clips_of_classes(labels)
    size = max(map(len, clips_of))
    random = np.random.default_rng(seed)
    drawn = []
    for clips in clips_of:
        times, rest = divmod(size, len(clips))
        drawn += [np.repeat(clips, times), random.choice(clips, rest, replace=False)]
    return np.sort(np.concatenate(drawn))


def _clips_of_classes(labels: Sequence[int]) -> list[np.ndarray]:
    """Indices of the clips of each class that occurs."""
    classes = np.asarray(labels)
    if classes.ndim != 1 or not len(classes):
        raise ValueError(f"There must be a class for each clip, and at least one clip; the shape is {classes.shape}.")
    return [np.flatnonzero(classes == label) for label in np.unique(classes)]


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """Read settings such as `hidden_size=64` or `encoder_layer=2,3`, fields of a model's or a training's arguments."""
    given = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not value:
            raise ValueError(f"{word!r} is no setting; write for example hidden_size=64.")
        given[name] = value
    check_overrides(given)
    line = []
    for name, value in given.items():
        line += [f"--{name}", *(value.split(",") if name in LISTS else [value])]
    told = io.StringIO()  # a parser tells of a fault there, and wants to end the program
    try:
        with redirect_stderr(told):
            return given_options(line, (ModelArguments, TrainingDefaults))
    except SystemExit:
        raise ValueError(f"--set {' '.join(words)}: {told.getvalue().rpartition('error: ')[2].strip()}") from None


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Assert that every name is a field that may be set."""
    known = {item.name for kind in (ModelArguments, SERTrainingArguments) for item in fields(kind)}
    for name in overrides:
        if name in DECIDED:
            raise ValueError(f"{name} is decided by the cross-validation and cannot be set.")
        if name in SAID_BY_NAME:
            raise ValueError(f"{name} belongs to the name of a system and cannot be set; choose {SAID_BY_NAME[name]}.")
        if name not in known:
            raise ValueError(f"There is no setting {name!r}; `train.py --help` lists those of model and training.")


def model_arguments(overrides: Mapping[str, Any], **own: Any) -> ModelArguments:
    """Return the arguments of the model."""
    names = {item.name for item in fields(ModelArguments)}
    return ModelArguments(**own | {name: value for name, value in overrides.items() if name in names})


def training_arguments(
    overrides: Mapping[str, Any], seed: int = 0, folder: str | Path = "unused", device: str = "cpu"
) -> SERTrainingArguments:
    """Return the arguments of a training, by default `train.py`'s."""
    names = {item.name for item in fields(SERTrainingArguments)} - {item.name for item in fields(ModelArguments)}
    given = {name: value for name, value in overrides.items() if name in names}
    return SERTrainingArguments(**given, output_dir=str(folder), seed=seed, use_cpu=device == "cpu")


def training_record(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a training's results depend on, apart from its seed."""
    arguments = training_arguments(overrides)
    record = training_settings(arguments, *FURTHER_SETTINGS)
    del record["seed"], record["world_size"]  # of which the latter is 1
    others = {name: value for name, value in overrides.items() if hasattr(arguments, name) and name not in record}
    return record | others
