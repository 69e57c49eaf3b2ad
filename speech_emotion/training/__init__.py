"""Training: from a corpus to a model that can be loaded, shared and trusted. Names are loaded when they are used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .arguments import DataArguments, ModelArguments
    from .command_line import parse_arguments
    from .emotion_task import EmotionTask
    from .final_task import FinalTask
    from .run import run_training
    from .task import TrainingResult, TrainingTask
    from .trainer import TaskTrainer
    from .training_arguments import SERTrainingArguments

_PLACES = {
    "DataArguments": "arguments",
    "EmotionTask": "emotion_task",
    "FinalTask": "final_task",
    "ModelArguments": "arguments",
    "SERTrainingArguments": "training_arguments",
    "TaskTrainer": "trainer",
    "TrainingResult": "task",
    "TrainingTask": "task",
    "parse_arguments": "command_line",
    "run_training": "run",
}

__all__ = [
    "DataArguments",
    "EmotionTask",
    "FinalTask",
    "ModelArguments",
    "SERTrainingArguments",
    "TaskTrainer",
    "TrainingResult",
    "TrainingTask",
    "parse_arguments",
    "run_training",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
