"""What a training learns, and from whom: what one training has that another has not."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from huggingface_hub import ModelCard
from torch import nn
from torch.utils.data import Dataset
from transformers import EvalPrediction, TrainerCallback, TrainingArguments
from transformers.trainer_utils import PredictionOutput

Inputs = Mapping[str, torch.Tensor]
Augmentation = Callable[[Inputs], dict[str, torch.Tensor]]


class TableColumn(NamedTuple):
    """A column of the table that is printed while a training runs."""

    key: str  # in what Trainer logs
    title: str
    form: str  # a format, whose width is the column's


COMMON_COLUMNS = (
    TableColumn("epoch", "epoch", "{:6.1f}"),
    TableColumn("loss", "train loss", "{:10.4f}"),
    TableColumn("eval_loss", "val. loss", "{:9.4f}"),
)


@dataclass(frozen=True)
class TrainingResult:
    """What a training gave."""

    output_dir: Path | None  # where everything lies; `None` where nothing was saved
    stopped: bool = False  # whether SIGTERM stopped it; then there is a checkpoint, and nothing of what follows
    report: Any = field(default=None, repr=False)  # what was measured, where the training was saved
    outputs: dict[str, PredictionOutput] = field(default_factory=dict, repr=False)  # of the task's `scored` clips
    # One entry per evaluation: `epoch`, `train_loss`, `validation_loss`, and `validation_` + each of `followed`.
    curve: list[dict[str, float]] = field(default_factory=list, repr=False)
    epochs: float = 0.0  # that were trained
    best_epoch: float | None = None  # whose weights were kept, from 1; the last where that was asked for
    best_step: int | None = None  # at whose end that was
    parameters: int = 0  # trainable values
    network: nn.Module | None = field(default=None, repr=False)  # trained, with the weights that were kept


class TrainingTask(ABC):
    """What is learned, and from whom; `run_training` does the rest alike for every task.

    Whoever writes a task sets `train`, `validation`, `scored` and `collator`, in its `__init__` or in `prepare`, and
    writes `make_network`, `metrics` and, unless the network returns `loss` and `logits`, `forward`. The rest is for
    runs that are saved.
    """

    # Data sets have `num_frames`, the length of each item: items of like length are trained on together.
    train: Dataset
    validation: Dataset | None  # `None` where nobody is left to validate
    scored: Mapping[str, Dataset]  # what is predicted in the end, by name
    collator: Callable[[Sequence[Any]], dict[str, torch.Tensor]]  # joins items; `labels` among what it gives
    processing_class: Any = None  # saved with the network
    columns: ClassVar[tuple[TableColumn, ...]] = COMMON_COLUMNS
    followed: ClassVar[tuple[str, ...]] = ()  # metrics that the learning curve holds
    lone_items: ClassVar[bool] = True  # whether a batch of one item, without batch statistics, may be left over
    files: ClassVar[tuple[str, ...]] = ()  # that `write` writes
    callbacks: Sequence[TrainerCallback] = ()  # beside those of every task

    def runs(self, training: Any) -> "Iterator[tuple[TrainingTask, Any]]":
        """Yield trainings that are to be made one after the other, and their arguments; the last is this one."""
        yield self, training

    def prepare(self, training: TrainingArguments) -> None:  # noqa: B027
        """Load what is trained on, where that is not there already."""

    @abstractmethod
    def make_network(self) -> nn.Module:
        """Make the network, or load it; chance is seeded before."""

    def augmentations(self, network: nn.Module) -> list[Augmentation]:
        """Make what is done to each training batch, by chance."""
        return []

    def make_optimizer(self, network: nn.Module) -> torch.optim.Optimizer | None:
        """Make an optimizer; `None` for the one that the arguments name. The schedule is theirs in any case."""
        return None

    def arithmetic(self) -> AbstractContextManager:
        """Return what forward and backward passes are run within."""
        return nullcontext()

    def forward(self, network: nn.Module, inputs: Inputs) -> tuple[torch.Tensor, Any]:
        """Compute a batch's loss, and what `metrics` is to see of it: a tensor or several, item by item.

        `network` may be wrapped for several processes.
        """
        output = network(**inputs)
        return output.loss, output.logits

    @abstractmethod
    def metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Measure a data set; a `loss` among the figures takes the place of the mean over batches."""

    # For runs that are saved ---------------------------------------------------------------------------------------

    def description(self) -> str:
        """Say in words who trains, validates and is tested."""
        return ""

    def identity(self) -> dict[str, Any]:
        """Return what a run is of, and has to be when it is resumed."""
        return {}

    def settings(self, training: TrainingArguments) -> dict[str, Any]:
        """Return what distinguishes one run from another, without tokens and paths."""
        return {}

    def save_state(self, network: nn.Module, folder: Path) -> None:  # noqa: B027
        """Save what a checkpoint needs besides weights, optimizer and schedule."""

    def load_state(self, network: nn.Module, folder: Path) -> None:  # noqa: B027
        """Load it again."""

    def finish(self, network: nn.Module, best: Path | None) -> None:  # noqa: B027
        """Give the network its final form, after a training whose best checkpoint, if that is kept, is `best`."""

    def calibrate(self, network: nn.Module, outputs: Mapping[str, PredictionOutput]) -> None:  # noqa: B027
        """Fit what turns the network's final outputs into scores, on those of `scored`; it is saved afterwards."""

    def save(self, network: nn.Module, folder: Path, save: Callable[[], None]) -> None:
        """Save the final network; `save` does it as for a checkpoint."""
        save()

    def report(self, result: TrainingResult, settings: dict[str, Any], stages: list[dict[str, Any]]) -> Any:
        """Tell what was measured."""
        return None

    def write(self, report: Any, result: TrainingResult, folder: Path) -> None:  # noqa: B027
        """Write `files`: the report and the scores of each clip."""

    def card(self, report: Any, repo_id: str, revision: str | None = None) -> ModelCard:
        """Fill the model card."""
        raise NotImplementedError(f"{type(self).__name__} has no card.")
