"""What the compared papers' systems share: what they read, how they are trained, how a clip is scored."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers import EvalPrediction

from speech_emotion.cross_validation.system import FoldOutcome, FoldTask, System
from speech_emotion.evaluation import classification_metrics
from speech_emotion.training.batches import pad_features
from speech_emotion.training.run import run_training
from speech_emotion.training.splits import ClipSplit, feature_statistics
from speech_emotion.training.task import TrainingTask
from speech_emotion.training.training_arguments import SERTrainingArguments

NO_SYMBOL = -100  # what pads symbols, as transformers pads labels

Statistics = tuple[torch.Tensor, torch.Tensor]  # mean and deviation of each feature, (feature_size,) both


@dataclass(frozen=True)
class Recipe:
    """How to train."""

    epochs: int = 60  # at most
    patience: int = 10  # epochs without a better validation UA after which training ends
    batch_size: int = 16  # clips, or stretches of clips, of a step
    optimizer: Literal["adamw", "adadelta"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    gradient_norm: float = 1.0  # longer gradients are shortened to this length; 0 leaves them

    def make_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Make the optimizer of a network's parameters."""
        rates = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        if self.optimizer == "adamw":
            return torch.optim.AdamW(network.parameters(), **rates)
        # As in the paper that describes it: its steps need no rate, 1 leaves them; torch's own decay is 0.9.
        return torch.optim.Adadelta(network.parameters(), rho=0.95, eps=1e-6, **rates)

    def arguments(self, fold: FoldTask) -> SERTrainingArguments:
        """Say so in the words of `run_training`."""
        return SERTrainingArguments(
            output_dir=str(fold.folder),
            seed=fold.seed,
            use_cpu=fold.device == "cpu",
            num_train_epochs=self.epochs,
            early_stopping_patience=self.patience,
            per_device_train_batch_size=self.batch_size,
            per_device_eval_batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            lr_scheduler_type="constant",
            warmup_steps=0,
            weight_decay=self.weight_decay,
            max_grad_norm=self.gradient_norm,
            report_to="none",
            disable_tqdm=True,
        )


class Items(Dataset):
    """Clips of a split, with frames, symbols (phonemes or letters) or both; of frames alone also stretches of them."""

    def __init__(
        self,
        clips: ClipSplit,
        statistics: Statistics | None = None,
        symbols: Sequence[Sequence[int]] | None = None,
        longest: int | None = None,
    ) -> None:
        self.clips, self.statistics, self.symbols = clips, statistics, symbols
        # Transcripts are not sorted by length: those of one length are often one text, said over and over, and in a
        # batch of one text batch normalization leaves nothing to learn from. To pad them costs next to nothing.
        frames = clips.num_frames if statistics is not None else np.ones(len(symbols), dtype=np.int64)
        ends = [stretches(int(count), longest) for count in frames]
        self.clip_of_item = np.repeat(np.arange(len(clips)), [len(parts) for parts in ends])
        self._bounds = [bounds for parts in ends for bounds in parts]
        self.num_frames = np.array([end - start for start, end in self._bounds])  # by which batches are sorted

    def __len__(self) -> int:
        return len(self.clip_of_item)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return normalized frames, symbols, and as labels the class and the number of the clip."""
        clip = int(self.clip_of_item[index])
        item: dict[str, Any] = {"labels": [int(self.clips.labels[clip]), clip]}
        if self.statistics is not None:
            mean, std = self.statistics
            frames = torch.from_numpy(np.array(self.clips[clip]["input_features"])).view(-1, len(mean))
            scaled = (frames[slice(*self._bounds[index])] - mean) / std  # (frames, feature_size)
            item["input_features"] = scaled.numpy()
        if self.symbols is not None:
            item["symbols"] = torch.tensor(self.symbols[clip], dtype=torch.int64)
        return item


def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """Join items: frames padded with zeros, symbols with `NO_SYMBOL`, labels (batch, 2) of class and clip."""
    batch: dict[str, torch.Tensor] = {}
    if "input_features" in items[0]:
        batch |= pad_features(items, items[0]["input_features"].shape[1])
    if "symbols" in items[0]:
        rows = [item["symbols"] for item in items]
        batch["symbols"] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=NO_SYMBOL)
    return batch | {"labels": torch.tensor([item["labels"] for item in items])}


def stretches(frames: int, longest: int | None) -> list[tuple[int, int]]:
    """Cut a clip into as few stretches as go, of equal length or one frame less.

    >>> stretches(10, 4), stretches(4, 4)
    ([(0, 3), (3, 6), (6, 10)], [(0, 4)])
    """
    count = 1 if longest is None else max(1, -(-frames // longest))
    ends = [frames * part // count for part in range(count + 1)]
    return list(pairwise(ends))


def clip_scores(logits: np.ndarray, clip_of_item: np.ndarray) -> np.ndarray:
    """Score clips: the mean over a clip's items of the softmax of their logits."""
    scores = torch.from_numpy(logits).double().softmax(dim=-1).numpy()  # (items, classes)
    sums = np.zeros((clip_of_item.max() + 1, scores.shape[1]))
    np.add.at(sums, clip_of_item, scores)
    return sums / np.bincount(clip_of_item)[:, None]


class ComparedTask(TrainingTask):
    """A compared system's training on one fold, for `run_training`."""

    followed = ("ua",)
    lone_items = False  # an item alone in a batch has no batch statistics

    def __init__(self, system: "ComparedSystem", fold: FoldTask, items: Mapping[str, Items]) -> None:
        self.system, self.fold = system, fold
        self.train, self.validation = items["train"], items["validation"]
        self.scored = {name: items[name] for name in ("validation", "test")}
        self.collator = collate

    def make_network(self) -> nn.Module:
        """Make the system's network."""
        return self.system.make_network(self.fold)

    def make_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Make the recipe's optimizer."""
        return self.system.recipe.make_optimizer(network)

    def forward(self, network: nn.Module, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute a batch's loss and logits."""
        read = {name: tensor for name, tensor in inputs.items() if name != "labels"}
        return self.system.forward(network, read, inputs["labels"][:, 0])

    def metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Measure UA over clips, and as loss the mean over clips of -log of the true class's score."""
        truth = np.zeros(prediction.label_ids[:, 1].max() + 1, dtype=np.int64)
        truth[prediction.label_ids[:, 1]] = prediction.label_ids[:, 0]
        scores = clip_scores(prediction.predictions, prediction.label_ids[:, 1])
        of_truth = np.maximum(scores[np.arange(len(truth)), truth], np.finfo(np.float64).tiny)
        ua = classification_metrics(truth, scores.argmax(axis=1), scores.shape[1])["ua"]
        return {"loss": float(-np.log(of_truth).mean()), "ua": ua}


@dataclass(frozen=True)
class Trained:
    """A trained network and what it was trained on."""

    network: nn.Module  # with the weights of the epoch that did best on the validation clips
    items: dict[str, Items]  # of the training, validation and test clips
    scores: list[np.ndarray]  # of the validation and of the test clips, (clips, classes)
    about: dict[str, Any]


class ComparedSystem(System):
    """A network of others as a compared system; its epoch is chosen by validation UA."""

    config: Any  # default sizes of its network; the number of labels is the fold's
    recipe: Recipe  # how it is trained by default

    def __init__(self, name: str, title: str, config: Any = None, recipe: Recipe | None = None) -> None:
        super().__init__(name, title)
        self.config, self.recipe = config or self.config, recipe or self.recipe

    @abstractmethod
    def make_network(self, fold: FoldTask) -> nn.Module:
        """Make the untrained network; torch's generator is seeded before."""

    def make_items(self, fold: FoldTask, clips: ClipSplit, statistics: Statistics) -> Items:
        """Make what the network reads of a split; by default whole clips."""
        return Items(clips, statistics)

    def forward(
        self, network: nn.Module, inputs: dict[str, torch.Tensor], labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute what training makes small, by default cross entropy, and logits, (batch, classes)."""
        logits = network(**inputs)
        return F.cross_entropy(logits, labels), logits

    def statistics(self, fold: FoldTask) -> Statistics:
        """Estimate mean and deviation of each feature, by which frames are normalized."""
        clips = fold.splits.train
        frames = (clips[index]["input_features"] for index in range(len(clips)))
        return feature_statistics(frames, self.make_extractor().feature_size)

    def train(self, fold: FoldTask) -> Trained:
        """Train on a fold, and score its validation and test clips."""
        statistics = self.statistics(fold)
        items = {name: self.make_items(fold, clips, statistics) for name, clips in fold.splits.items()}
        task = ComparedTask(self, fold, items)
        result = run_training(task, self.recipe.arguments(fold), save=False)
        scores = [clip_scores(one.predictions, one.label_ids[:, 1]) for one in result.outputs.values()]
        about = {"epochs": len(result.curve), "best_epoch": int(result.best_epoch)}
        about |= {"parameters": result.parameters, "curve": result.curve}
        return Trained(result.network, items, scores, about)

    def fit(self, fold: FoldTask) -> FoldOutcome:
        """Train, and score the validation and test clips."""
        trained = self.train(fold)
        return FoldOutcome(*trained.scores, trained.about)

    def settings(self) -> dict[str, Any]:
        """Return recipe, sizes and the system's own settings."""
        shared = {"recipe": asdict(self.recipe), "network": asdict(self.config)}
        return {"kind": "compared-network", "system": self.name, **shared, **self.own_settings()}

    @abstractmethod
    def own_settings(self) -> dict[str, Any]:
        """Return what else its results depend on, for JSON."""
