"""The arguments that Trainer takes, with this project's defaults."""

from dataclasses import dataclass
from typing import ClassVar

from transformers import TrainingArguments

from .arguments import CTCTrainingDefaults, TrainingDefaults


@dataclass
class SERTrainingArguments(TrainingDefaults, TrainingArguments):
    """`transformers.TrainingArguments` with this project's defaults."""

    # Whether only some of very many epochs are evaluated, saved and printed. No option of its own: `parse_arguments`
    # sets it where nothing is chosen by epochs and the command line does not say when.
    sparse: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check what this class adds, and let transformers check the rest."""
        if self.early_stopping_patience < 0:
            raise ValueError(f"early_stopping_patience must be 0 or more, not {self.early_stopping_patience}.")
        if isinstance(self.resume_from_checkpoint, str) and self.resume_from_checkpoint.lower() in ("true", "false"):
            self.resume_from_checkpoint = self.resume_from_checkpoint.lower() == "true"
        TrainingArguments.__post_init__(self)


@dataclass
class CTCTrainingArguments(CTCTrainingDefaults, SERTrainingArguments):
    """`transformers.TrainingArguments` with the defaults of a DeepSpeech training."""
