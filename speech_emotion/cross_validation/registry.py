"""Compared systems by name. What a system needs is imported when it is asked for."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from speech_emotion.cross_validation.titles import CONTROL, SHUFFLED, system_title

from .system import System

# Name → "module:attribute", the attribute a class or function that takes the name of the system and returns it.
COMPARED: dict[str, str] = {
    "opensmile-compare-svm": "systems_classical:make_system",
    "opensmile-egemaps-svm": "systems_classical:make_system",
    "satt-2017": "systems_compared_satt:make_system",
    "yenigalla-2018-spectrogram": "systems_compared_yenigalla:make_system",
    "yenigalla-2018-phonemes": "systems_compared_yenigalla:make_system",
    "yenigalla-2018-combined": "systems_compared_yenigalla:make_system",
    "lee-2015": "systems_compared_lee:make_system",
    "lakomkin-2017": "systems_compared_lakomkin:make_system",
}
# Those of COMPARED whose maker takes an encoder, too, as the paper's models do.
WITH_ENCODER = ("lakomkin-2017",)
# Which extra of the distribution brings a package that is not there.
EXTRAS = {"opensmile": "bench", "matplotlib": "plots", "tflite": "convert"}

MODELS: dict[str, tuple[tuple[str, ...], str]] = {  # streams, fusion
    "model-1": (("mel",), "frame"),
    "model-2": (("deepspeech",), "frame"),
    "model-3": (("mel", "deepspeech"), "frame"),
    "model-3-late": (("mel", "deepspeech"), "late"),
}
# What may follow a model's name: a way of meeting imbalance, as `NeuralSystem` knows them, and then a preset.
IMBALANCE_SUFFIXES = {
    "none": "",
    **{way: f"-{way}" for way in ("class-weights", "oversampling", "focal", "ensemble")},
    "averaging": "-average",
}
# Models whose DeepSpeech may be shuffled, as a control: see `ShuffledEncoderSystem`.
SHUFFLABLE = ("model-2", "model-3")
PRESET_SUFFIXES = {"": "", "best": "-best", "functionals": "-functionals"}


def list_systems() -> list[str]:
    """Return the names of all systems: each model, with each way of meeting imbalance and preset, and the compared.

    >>> [name for name in list_systems() if name.startswith("model-2")][:3]
    ['model-2', 'model-2-class-weights', 'model-2-oversampling']
    """
    return [*_neural_names(), *(f"{name}-{SHUFFLED}" for name in SHUFFLABLE), *COMPARED]


def get_system(
    name: str, overrides: Mapping[str, Any] | None = None, encoder: str | None = None, preset: str | None = None
) -> System:
    """Make a system."""
    base = name.removesuffix(f"-{CONTROL}")
    if base != name and base in list_systems():
        from .permuted_system import PermutedSystem

        return PermutedSystem(get_system(base, overrides, encoder, preset))
    if name in COMPARED:
        module, _, attribute = COMPARED[name].partition(":")
        try:
            make = getattr(importlib.import_module(f"{__package__}.{module}"), attribute)
            return make(name, encoder) if encoder is not None and name in WITH_ENCODER else make(name)
        except ModuleNotFoundError as error:
            raise _explained(error, name) from error
    base = name.removesuffix(f"-{SHUFFLED}")
    if base != name and base in SHUFFLABLE:
        from reproduction.shuffled_encoder import ShuffledEncoderSystem

        streams, fusion = MODELS[base]
        own = _preset(preset or "", streams, "none") | dict(overrides or {})
        return ShuffledEncoderSystem(base, system_title(base), streams, fusion, "none", own, encoder)
    if name not in _neural_names():
        raise ValueError(f"There is no system {name!r}. Known ones: {', '.join(list_systems())}.")
    from .neural_system import NeuralSystem

    base, imbalance, suffix = _neural_names()[name]
    streams, fusion = MODELS[base]
    return NeuralSystem(
        name,
        system_title(name),
        streams,
        fusion,
        imbalance,
        _preset(suffix if preset is None else preset, streams, imbalance) | dict(overrides or {}),
        encoder,
    )


def _neural_names() -> dict[str, tuple[str, str, str]]:
    """Each name of the paper's models → model, way of meeting imbalance, preset."""
    return {
        base + way + suffix: (base, imbalance, preset)
        for base in MODELS
        for preset, suffix in PRESET_SUFFIXES.items()
        for imbalance, way in IMBALANCE_SUFFIXES.items()
    }


def _preset(name: str, streams: Sequence[str], imbalance: str) -> dict[str, Any]:
    """Values by field of a preset; none for the defaults."""
    from speech_emotion.training.arguments import preset_settings

    settings = preset_settings(name, streams) if name else {}
    if imbalance == "focal":  # which knows no smoothed target
        settings.pop("label_smoothing", None)
    return settings


def _explained(error: ModuleNotFoundError, name: str) -> ModuleNotFoundError:
    missing = str(error.name)
    package = missing.partition(".")[0]
    if missing.startswith(f"{__package__}."):
        message = f"The system {name} is not part of this installation ({missing})."
    elif package in EXTRAS:
        message = f"The system {name} needs the package {package}: pip install 'modeling-ser[{EXTRAS[package]}]'."
    else:
        message = f"The system {name} needs the package {package}, which is not installed."
    return ModuleNotFoundError(message, name=missing)


__all__ = ["COMPARED", "WITH_ENCODER", "get_system", "list_systems"]
