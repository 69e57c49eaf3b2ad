"""What a run was made with, and of whom: one record, by which another run is told to be the same or not.

`run.json` (whose clips and features a run is of) and `stages.json` (the settings it was trained with, one after the
other) lie in every checkpoint, `results.json` beside the finished model; all without a path or a token.
"""

import hashlib
import json
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_scripts.names import name_key
from feature_extraction.safe_text import printable
from speech_emotion.pretrained.hub_models import check_hub

if TYPE_CHECKING:
    import datasets
    from transformers import SequenceFeatureExtractor

    from .training_arguments import SERTrainingArguments

RUN_FILE, STAGES_FILE, RESULTS_FILE = "run.json", "stages.json", "results.json"
LIBRARIES = ("modeling-ser", "transformers", "torch", "datasets", "accelerate")
# Of transformers' arguments, what tells one training from another,
TRAINING_SETTINGS = (
    "num_train_epochs", "max_steps", "per_device_train_batch_size", "world_size", "gradient_accumulation_steps",
    "learning_rate", "weight_decay", "warmup_steps", "early_stopping_patience", "seed", "bf16", "fp16",
    "lr_scheduler_type",
)  # fmt: skip
# and what hardly anybody changes, but results depend on.
FURTHER_SETTINGS = ("adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "metric_for_best_model")
# What a checkpoint brings back whatever is asked for, so that a change of it would be claimed and not be made.
RESTORED_SETTINGS = ("learning_rate", "weight_decay", "early_stopping_patience")
# What resuming needs: without what `--save_only_model` leaves out, another training would go on.
NEEDED = {
    RUN_FILE: "which says whom its run was trained with",
    "optimizer.pt": "the optimizer's state",
    "scheduler.pt": "the schedule's state",
}

# By title of a corpus, who taught a model (`train`) and who chose its epoch (`validation`).
Heard = Mapping[str, Mapping[str, Sequence[str]]]


# Settings -----------------------------------------------------------------------------------------------------------


def switched_on(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is off, so that a switch added later does not make other settings of what was computed before.

    >>> switched_on({"dropout": 0.3, "tempo": 0.0, "class_weights": "none", "revision": None})
    {'dropout': 0.3}
    """
    return {name: value for name, value in settings.items() if value and value != "none"}


def differences(found: object, asked: object, name: str = "") -> Iterator[str]:
    """Say in words where two settings differ; what is missing is as `None`.

    >>> list(differences({"model": {"dropout": 0.1}}, {"model": {"dropout": 0.3}}))
    ['model.dropout is 0.1 there and 0.3 here']
    """
    if isinstance(found, Mapping) and isinstance(asked, Mapping):
        for key in dict.fromkeys([*found, *asked]):
            yield from differences(found.get(key), asked.get(key), f"{name}.{key}" if name else str(key))
    elif found != asked:
        yield f"{name or 'the settings'} is {json.dumps(found)} there and {json.dumps(asked)} here"


def training_settings(training: "SERTrainingArguments", *further: str) -> dict[str, Any]:
    """Return the settings that tell one training from another, and further ones, as JSON gives them back."""
    return as_stored({name: getattr(training, name) for name in (*TRAINING_SETTINGS, *further)})


def as_stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they are read back from a file."""
    return json.loads(json.dumps(dict(settings)))


def public_name(name: str | None) -> str | None:
    """Name a folder without what lies above it, which is nobody's business; other names are kept.

    >>> public_name("you/polish-emotions")
    'you/polish-emotions'
    """
    return Path(name).resolve().name if name is not None and Path(name).is_dir() else name


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a training depends on."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:  # this one, run from a checkout that was never installed
            versions[library] = "checkout"
    return versions


def corpus_title(rows: "datasets.Dataset") -> str:
    """Return a corpus's title: the first sentence of its description."""
    return rows.info.description.split(". ")[0]


# Resumption ---------------------------------------------------------------------------------------------------------


def clips_identity(
    clips: Sequence[Sequence[Any]], speakers: Sequence[str], recordings: Sequence[str | None]
) -> dict[str, Any]:
    """Describe a split so that another can be told from it."""
    return {
        "speakers": sorted(set(speakers)),
        "clips": _digest([list(clip) for clip in clips]),
        "recordings": _digest(list(recordings)),
    }


def features_identity(extractor: "SequenceFeatureExtractor") -> str:
    """Return a digest of all that an extractor's features depend on."""
    version, settings = extractor_state(extractor)
    # Where an encoder lies says nothing of what it computes: its digest does.
    encoders = {
        name: [entry[key] for key in ("layer", "digest", "context") if key in entry] if "digest" in entry else entry
        for name, entry in (settings.get("encoders") or {}).items()
    }
    state = json.dumps([version, settings | {"encoders": encoders}], sort_keys=True, default=str)
    return hashlib.sha256(state.encode()).hexdigest()


def extractor_state(extractor: "SequenceFeatureExtractor") -> list[Any]:
    """List all that an extractor's features depend on: version and settings, but not where its code was saved."""
    settings = {name: value for name, value in extractor.to_dict().items() if name != "auto_map"}
    return [extractor.feature_extraction_version, settings]


def check_same_run(checkpoint: Path, identity: Mapping[str, Any]) -> None:
    """Refuse to resume a run of something else, or one whose state is not there."""
    for file, what in NEEDED.items():
        if not (checkpoint / file).is_file():
            raise FileNotFoundError(f"{checkpoint} cannot be resumed: {file}, {what}, is missing.")
    asked = as_stored(identity)
    found = json.loads((checkpoint / RUN_FILE).read_text(encoding="utf-8"))
    found = {name: found.get(name) for name in asked}
    for name, split in asked.items():
        if isinstance(split, dict) and "speakers" in split and isinstance(found[name], dict):
            # Of a split what both tell of: recordings were not noted from the beginning.
            asked[name] = {part: value for part, value in split.items() if part in found[name]}
    changes = [re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1", change) for change in differences(found, asked)]
    if changes:
        # Of what is stored exactly, samples are the same everywhere.
        decoded = any(".recordings " in change for change in changes)
        lossy = " (or Opus, Vorbis or MP3 was decoded a little otherwise by another machine)" if decoded else ""
        raise ValueError(
            f"{checkpoint} is of another run: {'; '.join(changes)}{lossy}. Resume it with the arguments that it began "
            "with, or start anew: --overwrite_output_dir true, or another --output_dir."
        )


def stages_so_far(checkpoint: Path | None, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List what a run was, and from here on is, trained with."""
    stages, epoch = [], 0.0
    if checkpoint is not None:
        epoch = float(json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["epoch"])
        if (checkpoint / STAGES_FILE).is_file():
            stages = json.loads((checkpoint / STAGES_FILE).read_text(encoding="utf-8"))
    if not stages or stages[-1]["settings"] != as_stored(settings):
        stages.append({"epoch": epoch, "settings": as_stored(settings)})
    return stages


def stage_changes(stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """List what changed from stage to stage, for cards."""
    return [
        {
            "epoch": after["epoch"],
            "changes": [
                (name, before["settings"].get(name), value)
                for name, value in after["settings"].items()
                if before["settings"].get(name) != value
            ],
        }
        for before, after in pairwise(stages)
    ]


# Speakers that a model has heard ------------------------------------------------------------------------------------


def heard_speakers(model: str | None, revision: str | None = None) -> Heard | None:
    """Read whom a model, and what it was itself fine-tuned from, was trained and validated on; `None`: nobody knows.

    >>> heard_speakers(None)
    {}
    """
    if model is None:
        return {}
    from transformers.utils import cached_file

    check_hub(model)
    path = cached_file(model, RESULTS_FILE, revision=revision, _raise_exceptions_for_missing_entries=False)
    if path is None:
        return None
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
        before = report.get("heard_before", {})
        if "heard_before" not in report and report["arguments"].get("model_name_or_path"):
            before = None  # fine-tuned before this was noted
        return None if before is None else heard_after(before, report)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{model}: its {RESULTS_FILE} is damaged ({error!r}); fetch it anew or remove it.") from error


def heard_after(before: Heard, report: Mapping[str, Any]) -> Heard:
    """Add the speakers of a training to those heard before it.

    >>> heard_after({}, {"title": "EmoDB", "train": {"speakers": ["03"]}, "validation": {"speakers": ["08"]}})
    {'EmoDB': {'train': ['03'], 'validation': ['08']}}
    """
    known = before.get(report["title"], {})
    added = {part: sorted({*report[part]["speakers"], *known.get(part, ())}) for part in ("train", "validation")}
    return {**before, report["title"]: added}


def check_unheard(heard: Heard | None, title: str, validation: Sequence[str], test: Sequence[str], model: str) -> None:
    """Refuse to validate a model on speakers who taught it, and to test it on those or on who chose its epoch.

    >>> heard = {"EmoDB": {"train": ["03", "09"], "validation": ["08"]}}
    >>> check_unheard(heard, "EmoDB", validation=["08"], test=["03"], model="you/emotions")
    Traceback (most recent call last):
    ...
    ValueError: you/emotions was trained with speaker(s) 03 of EmoDB, who are to test it here: ...
    """
    of_corpus = (heard or {}).get(title, {})
    taught, chose = (set(map(name_key, of_corpus.get(part, ()))) for part in ("train", "validation"))
    for what, speakers, heard_ones in (("validate", validation, taught), ("test", test, taught | chose)):
        known = sorted(speaker for speaker in set(speakers) if name_key(speaker) in heard_ones)
        if known:
            who = ", ".join(map(printable, known))
            raise ValueError(
                f"{model} was trained with speaker(s) {who} of {title}, who are to {what} it here: the figures "
                "would be worthless. Take the fold that it was trained with (its --fold, or its fold.jsonl by "
                "--folds_file), another corpus, or another model to start from; if others have the same name, change "
                "it."
            )


def _digest(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
