"""Where a model comes from: corpus, settings and versions, without a path or a token."""

import platform
from importlib.metadata import PackageNotFoundError, version

import datasets
from transformers import SchedulerType
from transformers.training_args import OptimizerNames

from .arguments import SERTrainingArguments

# What hardly anybody changes, but results depend on.
FURTHER_SETTINGS = ("adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "metric_for_best_model")
LIBRARIES = ("modeling-ser", "transformers", "torch", "datasets", "accelerate")


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a training depends on."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:  # this one, run from a checkout that was never installed
            versions[library] = "checkout"
    return versions


def corpus_title(rows: datasets.Dataset) -> str:
    """Return a corpus's title: the first sentence of its description."""
    return rows.info.description.split(". ")[0]


def training_settings(training: SERTrainingArguments) -> dict[str, object]:
    """Return the settings that tell one training from another."""
    names = (
        "num_train_epochs",
        "max_steps",
        "per_device_train_batch_size",
        "world_size",
        "gradient_accumulation_steps",
        "learning_rate",
        "weight_decay",
        "warmup_steps",
        "early_stopping_patience",
        "seed",
        "bf16",
        "fp16",
    )
    schedule = SchedulerType(training.lr_scheduler_type).value
    return {name: getattr(training, name) for name in names} | {"lr_scheduler_type": schedule}


def further_settings(training: SERTrainingArguments) -> dict[str, object]:
    """Return what hardly anybody changes, but results depend on."""
    names = ("load_best_model_at_end", "data_seed", *FURTHER_SETTINGS)
    return {name: getattr(training, name) for name in names} | {"optim": OptimizerNames(training.optim).value}
