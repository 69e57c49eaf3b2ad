"""The classical systems: openSMILE functionals into a support vector machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.metrics.pairwise import linear_kernel, rbf_kernel
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from speech_emotion.evaluation import classification_metrics
from speech_emotion.evaluation.calibration import apply_temperature, fit_temperature
from speech_emotion.training.splits import ClipSplit

from .functionals_extractor import FeatureSet, FunctionalsExtractor
from .system import FoldOutcome, FoldTask, System


@dataclass(frozen=True)
class KernelGrid:
    """A kernel and the strengths to try with it."""

    kernel: str
    strengths: tuple[float, ...]


# Of 6373 features and some hundred clips every two classes can be told apart, so that only small C differ. Steps of
# about 3. 88 features need more, and a kernel that bends.
COMPARE_GRIDS = (KernelGrid("linear", (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)),)
EGEMAPS_GRIDS = (
    KernelGrid("linear", (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)),
    KernelGrid("rbf", (1e-1, 3e-1, 1.0, 3.0, 10.0, 30.0, 100.0)),
)
CLASS_WEIGHT = "balanced"


class FunctionalsSVM(System):
    """openSMILE functionals, standardized, into a support vector machine."""

    def __init__(self, name: str, title: str, feature_set: FeatureSet, grids: Sequence[KernelGrid]) -> None:
        super().__init__(name, title)
        self.feature_set, self.grids = feature_set, tuple(grids)

    def make_extractor(self) -> FunctionalsExtractor:
        """Make the extractor of the functionals."""
        return FunctionalsExtractor(self.feature_set)

    def settings(self) -> dict[str, Any]:
        """Return the functionals, the grids and how the choice is made."""
        return {
            "kind": "functionals-svm",
            "feature_set": self.feature_set,
            "grids": [{"kernel": grid.kernel, "strengths": list(grid.strengths)} for grid in self.grids],
            "class_weight": CLASS_WEIGHT,
            "chosen_by": "validation UA",
            "learns_from": "training clips",
            "scores": "softmax of decision values, temperature fitted on validation",
        }

    def fit(self, task: FoldTask) -> FoldOutcome:
        """Choose kernel and C, and score."""
        splits = task.splits
        train, validation, test = (functionals_of(part) for _, part in splits.items())
        scaler = StandardScaler().fit(train)
        train, validation, test = (scaler.transform(part) for part in (train, validation, test))
        truth = np.asarray(splits.validation.labels)

        best: dict[str, Any] | None = None
        curve = []
        for grid in self.grids:
            kernel = kernel_function(grid.kernel, train)
            among, against = kernel(train), kernel(validation)  # (train, train), (validation, train)
            for strength in grid.strengths:
                machine = _machine(strength).fit(among, splits.train.labels)
                values = decision_values(machine, against, len(task.labels))
                ua = classification_metrics(truth, values.argmax(axis=1), len(task.labels))["ua"]
                curve.append({"kernel": grid.kernel, "C": strength, "validation_ua": ua})
                if best is None or ua > best["ua"]:
                    best = {"ua": ua, "machine": machine, "kernel": kernel, "values": values, "chosen": curve[-1]}

        machine = best["machine"]
        temperature = fit_temperature(truth, softmax(best["values"], axis=1))
        scores = [
            apply_temperature(softmax(values, axis=1), temperature)
            for values in (best["values"], decision_values(machine, best["kernel"](test), len(task.labels)))
        ]
        about = {
            **best["chosen"],
            "temperature": temperature,
            "support_vectors": int(machine.n_support_.sum()),
            "curve": curve,
        }
        return FoldOutcome(*scores, about)


def functionals_of(clips: ClipSplit) -> np.ndarray:
    """Join the functionals of a split."""
    rows = np.stack([row["input_features"] for row in clips.__getitems__(range(len(clips)))]).astype(np.float64)
    for clip in np.flatnonzero(~np.isfinite(rows).all(axis=1)):
        count = int((~np.isfinite(rows[clip])).sum())
        raise ValueError(
            f"Clip {clips.ids[clip]!r}: {count} of its {rows.shape[1]} functionals are not finite. openSMILE cannot "
            "describe it: leave it out, or look whether it holds speech."
        )
    return rows


def kernel_function(kernel: str, train: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from standardized clips, (clips, features), to their kernel values, (clips, train).

    >>> kernel_function("linear", np.eye(2))(np.array([[3.0, 4.0]])).tolist()
    [[3.0, 4.0]]
    """
    if kernel == "linear":
        return lambda clips: linear_kernel(clips, train)
    if kernel == "rbf":
        return lambda clips: rbf_kernel(clips, train, gamma=1.0 / train.shape[1])
    raise ValueError(f"There is no kernel {kernel!r}; choose 'linear' or 'rbf'.")


def decision_values(machine: SVC, kernel_values: np.ndarray, num_labels: int) -> np.ndarray:
    """Return a decision value for each class, the highest that of the machine's decision."""
    values = machine.decision_function(kernel_values)
    if values.ndim == 1:  # two classes: one margin, positive for the second
        values = np.stack([-values / 2, values / 2], axis=1)
    result = np.tile(values.min(axis=1, keepdims=True) - 1.0, (1, num_labels))  # (clips, num_labels)
    result[:, machine.classes_] = values
    return result


def opensmile_compare_svm() -> System:
    """Make the machine on ComParE 2016, the baseline of the challenges."""
    title = "ComParE 2016 functionals (6373) + linear SVM"
    return FunctionalsSVM("opensmile-compare-svm", title, "ComParE_2016", COMPARE_GRIDS)


def opensmile_egemaps_svm() -> System:
    """Make the machine on eGeMAPS, linear or RBF as the validation clips say."""
    title = "eGeMAPS functionals (88) + SVM"
    return FunctionalsSVM("opensmile-egemaps-svm", title, "eGeMAPSv02", EGEMAPS_GRIDS)


def make_system(name: str) -> System:
    """Make the system of a name, as the registry asks."""
    return {"opensmile-compare-svm": opensmile_compare_svm, "opensmile-egemaps-svm": opensmile_egemaps_svm}[name]()


def _machine(strength: float) -> SVC:
    return SVC(
        C=strength,
        kernel="precomputed",
        class_weight=CLASS_WEIGHT,
        decision_function_shape="ovr",
        break_ties=True,
        cache_size=500,
    )


__all__ = [
    "FunctionalsSVM",
    "KernelGrid",
    "decision_values",
    "functionals_of",
    "kernel_function",
    "make_system",
    "opensmile_compare_svm",
    "opensmile_egemaps_svm",
]
