"""What a neural system is trained with inside a cross-validation: the arguments of `train.py`, but for its files."""

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import fields
from pathlib import Path
from typing import Any

from speech_emotion.training.arguments import ModelArguments, TrainingDefaults
from speech_emotion.training.command_line import given_options
from speech_emotion.training.run_record import FURTHER_SETTINGS, training_settings
from speech_emotion.training.training_arguments import SERTrainingArguments

from .system_names import SAID_BY_NAME

# What the cross-validation itself decides.
DECIDED = (
    "data_seed", "ddp_backend", "eval_strategy", "hub_model_id", "logging_strategy",
    "output_dir", "overwrite_output_dir", "preset", "push_to_hub", "report_to", "resume_from_checkpoint",
    "save_strategy", "seed", "use_cpu",
)  # fmt: skip


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """Read settings such as `hidden_size=64`, each a field of `ModelArguments` or `SERTrainingArguments`.

    >>> parse_overrides(["hidden_size=64", "learning_rate=3e-4"])
    {'hidden_size': 64, 'learning_rate': 0.0003}
    """
    given = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not value:
            raise ValueError(f"{word!r} is no setting; write for example hidden_size=64.")
        given[name] = value
    check_overrides(given)
    line = [part for name, value in given.items() for part in (f"--{name}", value)]
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
            raise ValueError(
                f"There is no setting {name!r}; `train.py --help` lists the settings of model and training."
            )


def model_arguments(overrides: Mapping[str, Any], **own: Any) -> ModelArguments:
    """Return the arguments of the model."""
    names = {item.name for item in fields(ModelArguments)}
    return ModelArguments(**own | {name: value for name, value in overrides.items() if name in names})


def training_arguments(
    overrides: Mapping[str, Any], seed: int = 0, folder: str | Path = "unused", device: str = "cpu"
) -> SERTrainingArguments:
    """Return the arguments of a training, by default `train.py`'s."""
    names = {item.name for item in fields(SERTrainingArguments)} - {item.name for item in fields(ModelArguments)}
    arguments = SERTrainingArguments(
        **{
            **{name: value for name, value in overrides.items() if name in names},
            "output_dir": str(folder),
            "seed": seed,
            "use_cpu": device == "cpu",
        }
    )
    batch, rest = divmod(arguments.per_device_train_batch_size, arguments.world_size)
    if rest:
        raise ValueError(
            f"Batches of {arguments.per_device_train_batch_size} clips cannot be shared out among "
            f"{arguments.world_size} processes; set per_device_train_batch_size to a multiple."
        )
    arguments.per_device_train_batch_size = batch
    return arguments


def training_record(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a training's results depend on, apart from its seed."""
    arguments = training_arguments(overrides)
    record = training_settings(arguments) | {name: getattr(arguments, name) for name in FURTHER_SETTINGS}
    processes = record.pop("world_size")
    record["per_device_train_batch_size"] *= processes
    if processes > 1:  # which fill up an epoch's last batch
        record["processes"] = processes
    record.pop("seed")
    others = {name: value for name, value in overrides.items() if hasattr(arguments, name) and name not in record}
    return record | others
