"""Training: from a corpus to a model that can be loaded, shared and trusted."""

from .arguments import DataArguments, ModelArguments, SERTrainingArguments, parse_arguments
from .emotion_task import EmotionTask
from .run import TrainingResult, run_training
from .task import TrainingTask
from .trainer import SERTrainer

__all__ = [
    "DataArguments",
    "EmotionTask",
    "ModelArguments",
    "SERTrainer",
    "SERTrainingArguments",
    "TrainingResult",
    "TrainingTask",
    "parse_arguments",
    "run_training",
]
