"""Names of systems: a model, its encoder, a way of meeting imbalance, a recipe; probes; and controls of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Streams that a model reads, how it fuses them, and its title.
MODELS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "model-1": (("mel",), "frame", "Model-1 (acoustic)"),
    "model-2": (("deepspeech",), "frame", "Model-2 (linguistic)"),
    "model-3": (("mel", "deepspeech"), "frame", "Model-3 (fusion)"),
    "model-3-late": (("mel", "deepspeech"), "late", "Model-3 (late fusion)"),
}


@dataclass(frozen=True)
class NamedEncoder:
    """An encoder that a system's name says."""

    weights: str  # as `--encoder` takes it
    layers: tuple[int, ...]  # which of its layers are read
    title: str
    preset: str  # of train.py, where a name says none; "" for the defaults


# What may follow the name of a model that reads an encoder. Where none is said, it is `--encoder`, or the small
# DeepSpeech that comes along.
ENCODERS: dict[str, NamedEncoder] = {
    "whisper": NamedEncoder("whisper-base", (2, 3, 4, 5), "Whisper base", "layers"),
    "armspeech": NamedEncoder("armspeech", (5,), "full-size DeepSpeech", ""),
}
# Name of a probe → the encoder whose layers it reads, "" for `--encoder`.
PROBES: dict[str, str] = {"deepspeech-probe": "", **{f"{encoder}-probe": encoder for encoder in ENCODERS}}
# What may follow then: first a way of meeting imbalance, then a preset of `train.py`; and what they add to
# its title.
IMBALANCE: dict[str, tuple[str, str]] = {
    "none": ("", ""),
    "class-weights": ("-class-weights", ", class weights"),
    "oversampling": ("-oversampling", ", oversampling"),
    "focal": ("-focal", ", focal loss"),
    "ensemble": ("-ensemble", ", downsampling + ensembling"),
    "averaging": ("-average", ", average of 3 networks"),
}
PRESETS: dict[str, tuple[str, str]] = {
    "": ("", ""),
    "best": ("-best", ", best recipe"),
    "functionals": ("-functionals", ", recipe with functionals"),
    "recommended": ("-recommended", ", recommended recipe"),
}
FUNCTIONALS_SVM = {
    "opensmile-compare-svm": "openSMILE ComParE 2016 + SVM",
    "opensmile-egemaps-svm": "openSMILE eGeMAPS + SVM",
}
CONTROL, CONTROL_TITLE = "-permuted", ", labels permuted (control)"
# What may be said, in words for a command's help and for errors.
GRAMMAR = (
    f"{', '.join(MODELS)}, all but the first with one of {', '.join(f'-{encoder}' for encoder in ENCODERS)}, then one "
    f"of {', '.join(suffix for suffix, _ in IMBALANCE.values() if suffix)}, and then one of "
    f"{', '.join(suffix for suffix, _ in PRESETS.values() if suffix)}; {', '.join(PROBES)}; "
    f"{', '.join(FUNCTIONALS_SVM)}; any of them with {CONTROL}, a control that learns nothing"
)
# Setting of a model → the system to choose instead: another value would be another system under the same name.
SAID_BY_NAME = {
    "class_weights": "model-1-class-weights",
    "fusion": "model-3-late",
    "loss": "model-1-focal",
    "streams": "model-1, model-2 or model-3",
}


@dataclass(frozen=True)
class ModelName:
    """What the name of one of the paper's models says."""

    model: str  # one of MODELS
    imbalance: str = "none"  # one of IMBALANCE
    preset: str = ""  # one of PRESETS
    encoder: str = ""  # one of ENCODERS, or none

    def __str__(self) -> str:
        encoder = f"-{self.encoder}" if self.encoder else ""
        return self.model + encoder + IMBALANCE[self.imbalance][0] + PRESETS[self.preset][0]

    @property
    def title(self) -> str:
        """What it is called in tables."""
        encoder = f", {ENCODERS[self.encoder].title}" if self.encoder else ""
        return MODELS[self.model][2] + encoder + IMBALANCE[self.imbalance][1] + PRESETS[self.preset][1]


MODEL_NAMES: dict[str, ModelName] = {
    str(name): name
    for name in (
        ModelName(model, way, preset, encoder)
        for encoder in ("", *ENCODERS)
        for model, (streams, _, _) in MODELS.items()
        if not encoder or "deepspeech" in streams
        for preset in PRESETS
        for way in IMBALANCE
    )
}
# All systems of the library but their controls.
SYSTEM_TITLES: dict[str, str] = {
    **{name: parts.title for name, parts in MODEL_NAMES.items()},
    **{name: f"{ENCODERS[said].title if said else 'DeepSpeech'}, linear probe" for name, said in PROBES.items()},
    **FUNCTIONALS_SVM,
}


def encoder_arguments(encoder: str, streams: Sequence[str], place: str | None = None) -> dict[str, Any]:
    """Return the arguments of `train.py` for streams with one of ENCODERS, or with another one, `--encoder`.

    >>> encoder_arguments("whisper", ("mel", "deepspeech"))["streams"]
    ['mel', 'encoder']
    """
    if not encoder or "deepspeech" not in streams:
        return {"streams": list(streams), "encoder": place if "deepspeech" in streams else None}
    named = ENCODERS[encoder]
    read = ["encoder" if stream == "deepspeech" else stream for stream in streams]
    return {"streams": read, "encoder": named.weights, "encoder_layer": list(named.layers)}


def system_title(name: str, titles: Mapping[str, str] = SYSTEM_TITLES) -> str:
    """Return what a system is called in tables; of an unknown one its name."""
    base = name.removesuffix(CONTROL)
    return titles[base] + CONTROL_TITLE * (base != name) if base in titles else name
