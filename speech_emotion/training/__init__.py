"""Training: from a corpus to a model that can be loaded, shared and trusted."""

from .arguments import DataArguments, ModelArguments, SERTrainingArguments, parse_arguments
from .run import TrainingResult, run_training
from .trainer import SERTrainer

__all__ = [
    "DataArguments",
    "ModelArguments",
    "SERTrainer",
    "SERTrainingArguments",
    "TrainingResult",
    "parse_arguments",
    "run_training",
]
