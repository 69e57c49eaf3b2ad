"""Systems by name, and the control of each: the same training on labels that have nothing to do with the sound."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from speech_emotion.evaluation.significance import permute_labels
from speech_emotion.training.splits import ClipSplit

from .system import ClipFeatures, FoldOutcome, FoldTask, System
from .system_names import CONTROL, CONTROL_TITLE, FUNCTIONALS_SVM, GRAMMAR, MODEL_NAMES, PROBES


def get_system(name: str, overrides: Mapping[str, Any] | None = None, encoder: str | None = None) -> System:
    """Make a system of the library, or its control; `overrides` and `encoder` are those of a `Plan`."""
    base = name.removesuffix(CONTROL)
    if base in FUNCTIONALS_SVM:
        from .functionals_svm import SYSTEMS, FunctionalsSVM

        system: System = FunctionalsSVM(base, *SYSTEMS[base])
    elif base in PROBES:
        from .linear_probe import LinearProbe

        system = LinearProbe(base, PROBES[base], overrides, encoder)
    elif base in MODEL_NAMES:
        from .neural_system import NeuralSystem

        system = NeuralSystem(MODEL_NAMES[base], overrides, encoder)
    else:
        raise ValueError(f"There is no system {name!r}. Known ones: {GRAMMAR}.")
    return system if base == name else PermutedSystem(system)


class PermutedSystem(System):
    """A system that learns and chooses by permuted labels, and so must fall to chance on the true ones of the test."""

    def __init__(self, system: System) -> None:
        super().__init__(system.name + CONTROL, system.title + CONTROL_TITLE)
        self.system, self.heeds = system, system.heeds

    @property
    def variants(self) -> int:
        """How many variants the system learns from."""
        return self.system.variants

    def make_extractor(self) -> ClipFeatures:
        """Make the system's own extractor."""
        return self.system.make_extractor()

    def fit(self, task: FoldTask) -> FoldOutcome:
        """Fit the system on permuted labels; what it tells of its validation is by permuted labels too."""
        # Folds share most of their speakers: with one permutation for all they would learn the same accident, and
        # their mean would come no closer to chance than one of them.
        seed = [task.seed, zlib.crc32("\n".join(sorted(set(task.splits.test.speakers))).encode())]
        train, validation = (_permuted(part, seed) for part in (task.splits.train, task.splits.validation))
        return self.system.fit(replace(task, splits=replace(task.splits, train=train, validation=validation)))

    def check_fold(self, title: str, validation: Sequence[str], test: Sequence[str]) -> None:
        """Refuse what the system itself refuses."""
        self.system.check_fold(title, validation, test)

    def settings(self) -> dict[str, Any]:
        """Return the system's settings, within those of a control."""
        return {"kind": "label-permutation", "anew_for": "each seed and fold", "system": self.system.settings()}


def _permuted(clips: ClipSplit, seed: Sequence[int]) -> ClipSplit:
    labels = permute_labels(clips.labels, clips.speakers, seed)
    return ClipSplit(clips.features, clips.positions, clips.ids, clips.speakers, labels, clips.variants)
