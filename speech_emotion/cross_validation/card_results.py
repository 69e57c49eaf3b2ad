"""The cross-validation of a recipe, shown on the card of a model that was trained by it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from reproduction.reading_order import condition_title
from reproduction.recomputing import USUAL_LAYER, commands
from speech_emotion.cross_validation.report_table import format_cell
from speech_emotion.cross_validation.seed_metrics import mean_sd, pooled_metrics
from speech_emotion.cross_validation.summary import speaker_interval
from speech_emotion.cross_validation.system_scores import SystemScores
from speech_emotion.evaluation.metrics import ua, wa
from speech_emotion.evaluation.tables import markdown_table
from speech_emotion.marked_region import write_region
from speech_emotion.pretrained import SMALL_DEEPSPEECH
from speech_emotion.training.arguments import ModelArguments
from speech_emotion.training.card import RunReport

from .fold_results import differences, switched_on
from .neural_system import TOLD_ELSEWHERE
from .report import read_results

REGION = "cross-validation"
ONE_NETWORK = ("none", "class-weights")  # ways of meeting imbalance that train.py has


def fill_card(run: Path, results: Path, system: str, condition: str | None = None) -> Path:
    """Show on the card of a trained model how its recipe did in a cross-validation."""
    fields_of_run = json.loads((run / "results.json").read_text(encoding="utf-8"))
    report = RunReport.from_dict(fields_of_run)
    condition = condition or report.corpus
    systems = read_results(results).get(condition, [])
    found = next((one for one in systems if one.system == system and one.seeds), None)
    if found is None:
        complete = ", ".join(one.system for one in systems if one.seeds) or "none"
        raise ValueError(f"{results} has no complete seed of {system} on {condition}; complete there: {complete}.")
    if found.labels != report.labels:
        raise ValueError(
            f"{run} tells {', '.join(report.labels)} apart, but {condition} {', '.join(found.labels)}: these figures "
            "are not of the same task."
        )
    part = next(iter(found.parts.values()))
    changes = list(recipe_differences(report.arguments, part.about))
    if changes:
        raise ValueError(f"{run} was not trained as {system} was (there) but otherwise (here): {'; '.join(changes)}.")
    return write_region(run / "README.md", REGION, card_section(found))


def card_section(system: SystemScores) -> str:
    """Write the figures of a cross-validation for a card."""
    pooled = pooled_metrics(system.test)
    cells = []
    for name, metric in (("wa", wa), ("ua", ua)):
        interval = speaker_interval(system, metric)
        cells += [format_cell(mean_sd(pooled[name]), "percent"), format_cell(interval, "percent")]
    cells.append(format_cell(mean_sd(pooled["macro_f1"]), "percent"))
    seeds, folds = len(system.seeds), len(system.planned_folds)
    header = ["WA, %", "95 % interval", "UA, %", "95 % interval", "macro F1, %", "seeds", "folds"]
    table = markdown_table(header, [[*cells, seeds, folds]])
    told = (
        f"Not of these weights: of {seeds * folds} others, trained by the same recipe on {folds} folds of "
        f"{condition_title(system.corpus)}, each tested on speakers that it never heard. Test clips of all folds "
        f"pooled, chance UA {100 / len(system.labels):.1f} %; mean{' ± SD' * (seeds > 1)} over seeds, intervals over "
        "speakers. This says better than one fold what to expect on new speakers of the corpus."
    )
    return "\n\n".join(["## Cross-validation of this recipe", table, told, f"```sh\n{commands([system])[0]}\n```"])


def recipe_differences(arguments: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    """Say where a run of `train.py` and a fold of a cross-validation were trained differently."""
    settings = about.get("settings", {}).get("system", {})
    if settings.get("kind") != "neural":
        yield "it is not one of the models that train.py trains"
        return
    if settings["imbalance"] not in ONE_NETWORK:
        yield f"imbalance is {json.dumps(settings['imbalance'])} there, which train.py does not have"
    if "encoder_weights" in settings:
        yield "its encoder's weights are shuffled there, which train.py does not do"
    names = {field.name for field in fields(ModelArguments)} - set(TOLD_ELSEWHERE)
    model = switched_on({name: value for name, value in arguments.items() if name in names})
    yield from differences(settings["model"], model)
    run = dict(arguments)
    if "world_size" in run:
        run["per_device_train_batch_size"] *= run["world_size"]
    shared = {name: run[name] for name in settings["training"] if name in run and name != "load_best_model_at_end"}
    yield from differences({name: settings["training"][name] for name in shared}, shared)
    # The best epoch is kept by default, in both.
    kept = [record.get("load_best_model_at_end", True) for record in (settings["training"], run)]
    yield from differences(kept[0], kept[1], "load_best_model_at_end")
    starts = about.get("starts_from"), run.get("model_name_or_path")
    yield from differences(*starts, "model_name_or_path")
    if starts == (None, None):  # else the features are those of the model that both began with
        yield from _feature_differences(run, about)


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


__all__ = ["card_section", "fill_card", "recipe_differences"]
