"""The paper's models as compared systems, with every way of meeting imbalance."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from transformers import set_seed

from feature_extraction import SERFeatureExtractor
from speech_emotion.training.augmentation import make_augmentations
from speech_emotion.training.building import loaded_arguments, make_extractor, make_model
from speech_emotion.training.splits import ClipSplit

from .fold_results import switched_on
from .fold_training import TrainedFold, subset, train_fold
from .imbalance import oversample, undersample
from .neural_arguments import check_overrides, model_arguments, training_arguments, training_record
from .starting_model import StartingModel
from .system import FoldOutcome, FoldTask, System

Imbalance = Literal["none", "class-weights", "oversampling", "focal", "ensemble", "averaging"]
IMBALANCE = get_args(Imbalance)
OF_SEVERAL = ("ensemble", "averaging")  # ways by several networks
NUM_MEMBERS = 3
# By the features' own settings; what a preset says, field by field; a model to start from, by its weights.
TOLD_ELSEWHERE = (
    "encoder", "encoder_revision", "encoder_layer", "win_length", "preset", "model_name_or_path", "model_revision",
)  # fmt: skip


class NeuralSystem(System):
    """Model-1, Model-2 or Model-3."""

    def __init__(
        self,
        name: str,
        title: str,
        streams: Sequence[str],
        fusion: str = "frame",
        imbalance: Imbalance = "none",
        overrides: Mapping[str, Any] | None = None,
        encoder: str | None = None,
    ) -> None:
        super().__init__(name, title)
        if imbalance not in IMBALANCE:
            raise ValueError(f"imbalance must be one of {', '.join(IMBALANCE)}, not {imbalance!r}.")
        own = {"streams": list(streams), "fusion": fusion}
        if imbalance == "class-weights":
            own["class_weights"] = "balanced"
        if encoder is not None and tuple(streams) != ("mel",):
            own["encoder"] = encoder
        self.overrides = dict(overrides or {})
        check_overrides(self.overrides)
        self.imbalance = imbalance
        self.model = model_arguments(self.overrides, **own)
        self._extractor: SERFeatureExtractor | None = None
        self._start: StartingModel | None = None

    def make_extractor(self) -> SERFeatureExtractor:
        """Make the feature extractor, once; with an encoder, load it."""
        if self._extractor is None:
            self._extractor = make_extractor(self.model)
        return self._extractor

    def start(self) -> StartingModel | None:
        """Return the saved model that every fold fine-tunes, read once; `None` where each begins anew."""
        if self._start is None and self.model.model_name_or_path is not None:
            start = StartingModel.read(self.model.model_name_or_path, self.model.model_revision)
            found, own = (start.streams, start.fusion), (tuple(self.model.streams), self.model.fusion)
            if found != own:
                raise ValueError(
                    f"{self.name} reads {' + '.join(own[0])} with the fusion {own[1]!r}, but {start.public_name}, the "
                    f"model to start from, {' + '.join(found[0])} with {found[1]!r}. Choose the system that it is."
                )
            self._start = start
        return self._start

    def check_fold(self, title: str, validation: Sequence[str], test: Sequence[str]) -> None:
        """Refuse to fine-tune a model and then validate or test it on speakers it had heard before."""
        if (start := self.start()) is not None:
            start.check_fold(title, validation, test)

    def settings(self) -> dict[str, Any]:
        """Return sizes, training and the way of meeting imbalance; of an encoder the features' settings tell."""
        model = switched_on({name: value for name, value in vars(self.model).items() if name not in TOLD_ELSEWHERE})
        members = {"num_members": NUM_MEMBERS} if self.imbalance in OF_SEVERAL else {}
        start = self.start()
        return {
            "kind": "neural",
            "imbalance": self.imbalance,
            **members,
            **({} if start is None else {"starts_from": start.weights}),
            "model": model,
            "training": training_record(self.overrides),
        }

    def fit(self, task: FoldTask) -> FoldOutcome:
        """Train, choose the epoch by UA on the validation clips unless the last is to be kept, and score."""
        trained = [self._train(task, *chances) for chances in self._chances(task)]
        validation, test = (np.mean([one.scores[part] for one in trained], axis=0) for part in (0, 1))
        about: dict[str, Any] = {"parameters": sum(one.parameters for one in trained)}
        if (start := self.start()) is not None:
            about["starts_from"] = start.public_name
        if len(trained) == 1:
            (one,) = trained
            about |= {"epochs": len(one.curve), "best_epoch": one.best_epoch, "curve": one.curve}
        else:
            about |= {
                "epochs": [len(one.curve) for one in trained],
                "best_epoch": [one.best_epoch for one in trained],
                "curve": [{"member": member, **point} for member, one in enumerate(trained) for point in one.curve],
            }
        return FoldOutcome(validation, test, about)

    def _chances(self, task: FoldTask) -> list[tuple[int, ClipSplit, ClipSplit]]:
        """For each network its seed, the clips it is normalized by and the clips it learns from."""
        train = task.splits.train
        if self.imbalance == "ensemble":
            parts = [subset(train, undersample(train.labels, (task.seed, member))) for member in range(NUM_MEMBERS)]
            return [(member_seed(task.seed, member), part, part) for member, part in enumerate(parts)]
        if self.imbalance == "averaging":
            return [(member_seed(task.seed, member), train, train) for member in range(NUM_MEMBERS)]
        if self.imbalance == "oversampling":  # a repeated clip tells nothing new of how features are distributed
            return [(task.seed, train, subset(train, oversample(train.labels, task.seed)))]
        return [(task.seed, train, train)]

    def _train(self, task: FoldTask, seed: int, normalized_by: ClipSplit, learned: ClipSplit) -> TrainedFold:
        extractor = self.make_extractor()
        arguments = training_arguments(self.overrides, seed, task.folder, task.device)
        set_seed(seed)
        network = make_model(self.model, task.labels, normalized_by, extractor)
        model = self.model
        if model.model_name_or_path is not None:
            model = loaded_arguments(model, network.config, extractor)
        if self.imbalance == "focal":
            network.config.loss = "focal"  # read whenever a loss is computed
        splits = task.splits
        scored = [splits.validation, splits.test]
        return train_fold(
            network,
            arguments,
            learned,
            splits.validation,
            scored,
            extractor.feature_size,
            keep_best=self.overrides.get("load_best_model_at_end", True),
            augmentations=make_augmentations(model, extractor, network),
        )


def member_seed(seed: int, member: int) -> int:
    """Return the seed of one network of an ensemble.

    >>> member_seed(0, 0) != member_seed(0, 1) != member_seed(1, 0)
    True
    """
    return int(np.random.SeedSequence([seed, member]).generate_state(1)[0])


__all__ = ["IMBALANCE", "NUM_MEMBERS", "Imbalance", "NeuralSystem", "member_seed"]
