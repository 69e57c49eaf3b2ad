"""What a compared system is: features of a clip, and a fit on one fold."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import datasets
import numpy as np
import torch

from speech_emotion.training.splits import Splits


class ClipFeatures(Protocol):
    """What the feature cache needs of an extractor; `SERFeatureExtractor` is one."""

    sampling_rate: int
    hop_length: int
    feature_size: int
    feature_extraction_version: int

    def load_audio(self, source: Any) -> np.ndarray:
        """Decode a clip: (samples,), float32 at `sampling_rate`."""

    def extract(self, waveforms: Sequence[np.ndarray], device: str | None = None) -> dict[str, torch.Tensor]:
        """Return `input_features`, (clips, frames, feature_size), and `attention_mask`, (clips, frames)."""

    def to_dict(self) -> dict[str, Any]:
        """Return every setting that the features depend on."""


@dataclass(frozen=True)
class FoldTask:
    """One fit: a fold and a seed."""

    rows: datasets.Dataset
    splits: Splits  # features and classes of the training, validation and test clips; see there of their speakers
    labels: list[str]  # emotions in the order of the classes
    seed: int  # seed of everything random
    folder: Path  # for the system's own files while it works; removed when the fold is done
    device: str = "cpu"  # where to compute, such as `"cpu"`


@dataclass(frozen=True)
class FoldOutcome:
    """What a fit gave."""

    validation: np.ndarray
    test: np.ndarray  # likewise for the test clips
    about: dict[str, Any] = field(default_factory=dict)


class System(ABC):
    """A way from clips to scores, compared with others on the same folds."""

    heeds: tuple[str, ...] = ()  # which of the options --set and --encoder it heeds
    variants: int = 0  # of each training clip, to learn from beside it

    def __init__(self, name: str, title: str) -> None:
        self.name, self.title = name, title

    @abstractmethod
    def make_extractor(self) -> ClipFeatures:
        """Make what computes its features; they are cached once for all folds, seeds and systems with the same."""

    @abstractmethod
    def fit(self, task: FoldTask) -> FoldOutcome:
        """Learn from the training clips, choose by the validation clips, score validation and test clips."""

    def check_fold(self, title: str, validation: Sequence[str], test: Sequence[str]) -> None:
        """Refuse a fold whose speakers the system knows already; one that learns from its clips alone knows none."""
        return None

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return everything its results depend on, for JSON: a finished fold with other settings is not its own."""
