"""How results were computed: the commands, the settings, and how long that took."""

import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from speech_emotion.cross_validation.score_table import SystemScores
from speech_emotion.cross_validation.titles import CONTROL
from speech_emotion.pretrained import SMALL_DEEPSPEECH

# Of a DeepSpeech, where nothing else is asked for.
USUAL_LAYER = 5


def commands(systems: Sequence[SystemScores]) -> list[str]:
    """Return the commands that compute the scores of some systems."""
    by_condition: dict[tuple[str, tuple[str, ...], tuple[int, ...]], list[str]] = {}
    for system in systems:
        place = system.corpus, tuple(_settings_words(system)), tuple(system.planned_seeds)
        by_condition.setdefault(place, []).append(system.system)
    conditions_of: dict[tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]], list[str]] = {}
    for (condition, settings, seeds), names in by_condition.items():
        conditions_of.setdefault((tuple(names), settings, seeds), []).append(condition)
    lines = []
    for (names, settings, seeds), conditions in conditions_of.items():
        place = ["--data_dir", "my_recordings"] if "recordings" in conditions else []
        options = {"--corpora": conditions, "--systems": names, "--seeds": map(str, seeds)}
        words = [word for option, values in options.items() for word in (option, *values)]
        words += place + _threads(systems)
        lines.append(shlex.join(["python", "cross_validate.py", *words, *settings]))
    return lines


def settings_text(systems: Sequence[SystemScores]) -> str:
    """Say which settings of the paper's models are not those that their names stand for."""
    titles_of: dict[str, list[str]] = {}
    usual_of: dict[str, str] = {}
    for system in systems:
        words = _settings_words(system)
        if words:
            titles = titles_of.setdefault(shlex.join(words), [])
            titles += [system.title] * (system.title not in titles)
            usual_of.setdefault(shlex.join(words), _usual_words(system.system, words))
    return " ".join(
        f"Trained with `{words}`{usual_of[words]}: {'; '.join(titles)}." for words, titles in titles_of.items()
    )


def encoders_note(systems: Sequence[SystemScores]) -> str:
    """Say through which networks Models 2 and 3 hear words."""
    abouts = [part.about for system in systems for part in system.parts.values()]
    names = sorted({name for about in abouts for name in (about.get("encoders") or {}).values()})
    if not names:
        return ""
    if names == [SMALL_DEEPSPEECH]:
        return (
            "Models 2 and 3 hear through the small DeepSpeech of this library, which learned from 2.3 hours of "
            "English, not the paper's."
        )
    return f"Models 2 and 3 hear through {' or '.join(names)}."


def hours_text(systems: Sequence[SystemScores]) -> str:
    """Say how long the computing of some systems took."""
    parts = [part for system in systems for part in system.parts.values()]
    seconds = [part.about.get("seconds") for part in parts]
    if None in seconds:
        return "How long that took was not noted for every fold."
    threads = sorted({part.about["threads"] for part in parts if "threads" in part.about})
    on = f", each on {' or '.join(map(str, threads))} thread{'s' * (threads != [1])}" if threads else ""
    return f"Computing these {len(parts)} folds took {sum(seconds) / 3600:.1f} hours one after another{on}."


def overrides(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, str]:
    """Find what has to be said so that a system is trained as a fold was.

    >>> there = {"model": {"hidden_size": 64}, "training": {"max_steps": 800}}
    >>> overrides(there, {"model": {"hidden_size": 128, "dropout": 0.3}, "training": {"max_steps": -1}})
    {'hidden_size': '64', 'dropout': '0', 'max_steps': '800'}
    """
    found = {}
    for part in ("model", "training"):
        there, here = settings[part], usual[part]
        for name in dict.fromkeys([*here, *there]):
            value = there.get(name, "none" if isinstance(here.get(name), str) else 0)
            if value == here.get(name) or name == "processes":
                continue
            if isinstance(value, list | tuple) and len(value) == 1:
                (value,) = value
            if not isinstance(value, list | tuple):
                short = f"{value:g}" if isinstance(value, float) else str(value)
                found[name] = short if short == str(value) or float(short) == value else str(value)
    return found


def _threads(systems: Sequence[SystemScores]) -> list[str]:
    """The option that gives every fold as many threads as these had: others would round, and end, elsewhere."""
    numbers = {part.about.get("threads") for system in systems for part in system.parts.values()}
    return ["--threads", str(*numbers)] if len(numbers) == 1 and None not in numbers else []


def _settings_words(system: SystemScores) -> list[str]:
    """The words of the command that say how the system was trained, beyond its name."""
    about = next(iter(system.parts.values())).about
    settings, name = about.get("settings", {}).get("system"), system.system
    if isinstance(settings, Mapping) and settings.get("kind") == "label-permutation":  # a control, and what it is of
        settings, name = settings["system"], name.removesuffix(f"-{CONTROL}")
    if not isinstance(settings, Mapping):
        return []
    if settings.get("kind") != "neural":  # of others' systems one takes an encoder
        start = settings.get("recognizer", {}).get("weights", SMALL_DEEPSPEECH)
        return [] if start == SMALL_DEEPSPEECH else ["--encoder", start]
    usual = _usual_settings(name)
    given = overrides(settings, usual) if usual is not None else {}
    encoders = {}
    if "starts_from" in about:  # a model that brings its features with it
        given["model_name_or_path"] = about["starts_from"]
    else:
        encoders = about.get("encoders") or {}
        given |= _features_words(about["settings"].get("features") or {}, encoders)
    words = ["--set", *(f"{name}={value}" for name, value in given.items())] if given else []
    return words + [word for name in encoders.values() if name != SMALL_DEEPSPEECH for word in ("--encoder", name)]


def _features_words(features: Mapping[str, Any], encoders: Mapping[str, str]) -> dict[str, str]:
    """Find what `--set` has to say of features: their window, and the layer of an encoder."""
    from speech_emotion.training.arguments import ModelArguments

    said = {}
    if features.get("win_length", ModelArguments.win_length) != ModelArguments.win_length:
        said["win_length"] = str(features["win_length"])
    for stream, entry in (features.get("encoders") or {}).items():
        # Which layer is the usual one depends on the kind of network: of the small DeepSpeech it is known.
        if encoders.get(stream) != SMALL_DEEPSPEECH or entry["layer"] != USUAL_LAYER:
            said["encoder_layer"] = str(entry["layer"])
    return said


def _usual_words(name: str, words: Sequence[str]) -> str:
    """What is trained with where nothing is said, for the settings that are."""
    usual = _usual_settings(name.removesuffix(f"-{CONTROL}"))
    if usual is None:
        return ""
    known = {**usual["training"], **usual["model"]}
    names = [word.partition("=")[0] for word in words if "=" in word]
    told = [f"{name}={known[name]:g}" for name in names if isinstance(known.get(name), int | float)]
    return f", instead of `{' '.join(told)}`" if told else ""


@cache
def _usual_settings(name: str) -> Mapping[str, Any] | None:
    """What a system of that name is trained with if nothing else is said; `None` if there is no such system."""
    from speech_emotion.cross_validation.registry import get_system, list_systems

    return get_system(name).settings() if name in list_systems() else None


__all__ = ["USUAL_LAYER", "commands", "encoders_note", "hours_text", "overrides", "settings_text"]
