"""Names of systems, with their titles: a model, a way of meeting imbalance, a recipe; and controls of them."""

from collections.abc import Mapping
from dataclasses import dataclass

# Streams that a model reads, how it fuses them, and its title.
MODELS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "model-1": (("mel",), "frame", "Model-1 (acoustic)"),
    "model-2": (("deepspeech",), "frame", "Model-2 (linguistic)"),
    "model-3": (("mel", "deepspeech"), "frame", "Model-3 (fusion)"),
    "model-3-late": (("mel", "deepspeech"), "late", "Model-3 (late fusion)"),
}
# What may follow a model's name: first a way of meeting imbalance, then a preset of `train.py`; and what they add to
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
}
FUNCTIONALS_SVM = {
    "opensmile-compare-svm": "openSMILE ComParE 2016 + SVM",
    "opensmile-egemaps-svm": "openSMILE eGeMAPS + SVM",
}
CONTROL, CONTROL_TITLE = "-permuted", ", labels permuted (control)"
# What may be said, in words for a command's help and for errors.
GRAMMAR = (
    f"{', '.join(MODELS)}, each with one of {', '.join(suffix for suffix, _ in IMBALANCE.values() if suffix)}, and "
    f"then one of {', '.join(suffix for suffix, _ in PRESETS.values() if suffix)}; {', '.join(FUNCTIONALS_SVM)}; any "
    f"of them with {CONTROL}, a control that learns nothing"
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

    def __str__(self) -> str:
        return self.model + IMBALANCE[self.imbalance][0] + PRESETS[self.preset][0]

    @property
    def title(self) -> str:
        """What it is called in tables."""
        return MODELS[self.model][2] + IMBALANCE[self.imbalance][1] + PRESETS[self.preset][1]


MODEL_NAMES: dict[str, ModelName] = {
    str(name): name
    for name in (ModelName(model, way, preset) for model in MODELS for preset in PRESETS for way in IMBALANCE)
}
# All systems of the library but their controls.
SYSTEM_TITLES: dict[str, str] = {name: parts.title for name, parts in MODEL_NAMES.items()} | FUNCTIONALS_SVM


def system_title(name: str, titles: Mapping[str, str] = SYSTEM_TITLES) -> str:
    """Return what a system is called in tables; of an unknown one its name."""
    base = name.removesuffix(CONTROL)
    return titles[base] + CONTROL_TITLE * (base != name) if base in titles else name
