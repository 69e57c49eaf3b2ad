"""The cross-validation of a recipe, shown on the card of a model that was trained by it."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from feature_extraction.safe_text import printable
from speech_emotion.evaluation.metrics import ua, wa
from speech_emotion.marked_region import write_region
from speech_emotion.pretrained import SMALL_DEEPSPEECH
from speech_emotion.training.arguments import ModelArguments
from speech_emotion.training.card import RunReport
from speech_emotion.training.run_record import differences, switched_on

from .neural_system import TOLD_ELSEWHERE
from .report import Folders, Report, told
from .report_table import format_cell, mean_sd
from .score_table import SystemScores, condition_settings, find_system, pooled_metrics
from .system_names import MODEL_NAMES, encoder_arguments
from .systems import get_system
from .tables import speaker_interval

REGION = "cross-validation"
ONE_NETWORK = ("none", "class-weights")  # ways of meeting imbalance that train.py has
USUAL_LAYER = 5  # of a DeepSpeech, where nothing else is asked for


def fill_card(
    run: Path, results: Folders, system: str, condition: str | None = None, report: Report | None = None
) -> Path:
    """Show on the card of a trained model how its recipe did in a cross-validation."""
    report = report or Report()
    trained = RunReport.from_dict(json.loads((run / "results.json").read_text(encoding="utf-8")))
    condition = condition or trained.corpus
    systems = report.read(results, condition).get(condition, [])
    found = find_system(systems, system)
    if found is not None and condition_settings(next(iter(found.parts.values()))).get("shares_speakers"):
        raise ValueError(
            f"The folds of {condition} share speakers between training and test: figures of them do not say what to "
            "expect on new speakers. Take another condition."
        )
    if found is None:
        complete = ", ".join(one.system for one in systems if one.seeds) or "none"
        raise ValueError(
            f"{told(results)} has no complete seed of {system} on {condition}; complete there: {complete}."
        )
    if found.labels != trained.labels:
        raise ValueError(
            f"{run} tells {printable(', '.join(trained.labels))} apart, but {condition} "
            f"{printable(', '.join(found.labels))}: these figures are not of the same task."
        )
    changes = list(recipe_differences(trained.arguments, found.about))
    if changes:
        raise ValueError(f"{run} was not trained as {system} was (there) but otherwise (here): {'; '.join(changes)}.")
    pooled = pooled_metrics(found.test)
    text = report.render(
        "card.md.j2",
        condition=report.condition_title(condition),
        figures={name: format_cell(mean_sd(values), "percent") for name, values in pooled.items()},
        intervals={name: format_cell(speaker_interval(found, of), "percent") for name, of in (("wa", wa), ("ua", ua))},
        seeds=len(found.seeds),
        folds=len(found.planned_folds),
        labels=found.labels,
        command=command(found, trained.arguments),
    )
    return write_region(run / "README.md", REGION, text)


def command(system: SystemScores, arguments: Mapping[str, Any]) -> str:
    """Return the command that repeats the cross-validation of a run's recipe, from the run's arguments."""
    usual, there = (
        settings["model"] | settings["training"]
        for settings in (get_system(system.system).settings(), system.about["settings"]["system"])
    )
    names = [name for name in {**usual, **there} if there.get(name) != usual.get(name)]
    if arguments.get("win_length", ModelArguments.win_length) != ModelArguments.win_length:
        names.append("win_length")
    parts = MODEL_NAMES.get(system.system)
    named = encoder_arguments(parts.encoder, ("deepspeech",)) if parts and parts.encoder else {}
    further = ("encoder_layer", "model_name_or_path")
    names += [name for name in further if arguments.get(name) is not None and arguments[name] != named.get(name)]
    words = ["--corpora", system.corpus, "--systems", system.system, "--seeds", *map(str, system.seeds)]
    changed = [f"{name}={_said(arguments[name])}" for name in names if name in arguments]
    words += ["--set", *changed] if changed else []
    words += ["--encoder", arguments["encoder"]] if arguments.get("encoder") and not named else []
    return shlex.join(["python", "cross_validate.py", *words])


def _said(value: object) -> str:
    """Write a value as `--set` takes it."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def recipe_differences(arguments: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    """Say where a run of `train.py` and a fold of a cross-validation were trained differently."""
    settings = about.get("settings", {}).get("system", {})
    if settings.get("kind") != "neural":
        yield "it is not one of the models that train.py trains"
        return
    for name, value in settings.items():
        if name not in ("kind", "model", "training", "starts_from") and value not in ONE_NETWORK:
            yield f"{name} is {json.dumps(value)} there, which train.py does not have"
    run, training = dict(arguments), settings["training"]
    if "world_size" in run:
        run["per_device_train_batch_size"] *= run["world_size"]
    names = {field.name for field in fields(ModelArguments)} - set(TOLD_ELSEWHERE)
    here = switched_on({name: value for name, value in run.items() if name in names})
    here |= {name: run[name] for name in training if name in run}
    there = settings["model"] | {name: value for name, value in training.items() if name in run}
    for side, record in ((here, run), (there, training)):
        side["load_best_model_at_end"] = record.get("load_best_model_at_end", True)  # as it is where nothing is said
    here["model_name_or_path"], there["model_name_or_path"] = run.get("model_name_or_path"), about.get("starts_from")
    yield from differences(there, here)
    if there["model_name_or_path"] is here["model_name_or_path"] is None:
        yield from _feature_differences(run, about)  # else they are those of the model that both began with


def _feature_differences(run: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    features = about.get("settings", {}).get("features") or {}
    names = about.get("encoders") or {}
    yield from differences(names, {stream: run.get("encoder") or SMALL_DEEPSPEECH for stream in names})
    if "win_length" in features and "win_length" in run:
        yield from differences(features["win_length"], run["win_length"], "win_length")
    for stream, entry in (features.get("encoders") or {}).items():
        layer = run.get("encoder_layer")
        if layer is None and names.get(stream) == SMALL_DEEPSPEECH:
            layer = USUAL_LAYER
        if layer is not None:
            yield from differences(entry["layer"], layer, "encoder_layer")
