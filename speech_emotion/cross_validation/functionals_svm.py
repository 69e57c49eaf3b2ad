"""openSMILE functionals of a whole clip, and the support vector machine that reads them."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from scipy.special import softmax
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from feature_extraction.audio_decoding import load_audio
from speech_emotion.evaluation import classification_metrics
from speech_emotion.evaluation.calibration import apply_temperature, fit_temperature
from speech_emotion.training.splits import ClipSplit

from .system import FoldOutcome, FoldTask, System
from .system_names import system_title

# To be raised whenever the same settings and version of openSMILE give other features.
FUNCTIONALS_VERSION = 1
SAMPLING_RATE = 16_000
FUNCTIONALS = {"ComParE_2016": 6373, "eGeMAPSv02": 88}
# The longest frame of both sets is 60 ms, that of the pitch: of less, openSMILE gives NaN.
FEWEST_SAMPLES = 960

FeatureSet = Literal["ComParE_2016", "eGeMAPSv02"]


class FunctionalsExtractor:
    """Extractor of openSMILE functionals: statistics of frame features over the whole clip.

    Source: Eyben et al., "Recent developments in openSMILE", ACM Multimedia 2013; Schuller et al., "The INTERSPEECH
        2016 Computational Paralinguistics Challenge"; Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set",
        IEEE Transactions on Affective Computing 7, 2016.
    """

    sampling_rate = SAMPLING_RATE
    # One vector, however long the clip: the cache, which plans its memory by frames, finds one in every clip.
    hop_length = 24 * 3600 * SAMPLING_RATE
    feature_extraction_version = FUNCTIONALS_VERSION

    def __init__(self, feature_set: FeatureSet = "ComParE_2016") -> None:
        if feature_set not in FUNCTIONALS:
            raise ValueError(f"There is no feature set {feature_set!r}; choose from {', '.join(FUNCTIONALS)}.")
        self.feature_set = feature_set
        self.feature_size = FUNCTIONALS[feature_set]

    def load_audio(self, source: Any) -> np.ndarray:
        """Decode a clip."""
        samples = load_audio(source, self.sampling_rate)
        if len(samples) < FEWEST_SAMPLES:
            raise ValueError(
                f"has {len(samples)} samples at 16 kHz, and openSMILE's functionals need {FEWEST_SAMPLES}, one frame "
                "of 60 ms; leave the clip out."
            )
        return samples

    def extract(self, waveforms: Sequence[np.ndarray], device: str | None = None) -> dict[str, torch.Tensor]:
        """Compute the functionals of clips, one after another."""
        rows = [self._smile(waveform, self.sampling_rate).reshape(1, -1) for waveform in waveforms]
        features = torch.from_numpy(np.stack(rows).astype(np.float32)).to(device or "cpu")  # (clips, 1, feature_size)
        return {"input_features": features, "attention_mask": torch.ones(features.shape[:2], dtype=torch.int64)}

    def to_dict(self) -> dict[str, Any]:
        """Return every setting that the features depend on, the version of openSMILE among them."""
        return {
            "feature_extractor_type": type(self).__name__,
            "feature_set": self.feature_set,
            "feature_level": "functionals",
            "sampling_rate": self.sampling_rate,
            "opensmile": opensmile_version(),
        }

    @cached_property
    def _smile(self) -> Any:
        opensmile_version()  # explains itself where the package is missing
        import opensmile

        return opensmile.Smile(opensmile.FeatureSet[self.feature_set], opensmile.FeatureLevel.Functionals)


def opensmile_version() -> str:
    """Return the version of the installed openSMILE."""
    try:
        return importlib.metadata.version("opensmile")
    except importlib.metadata.PackageNotFoundError as error:
        raise ModuleNotFoundError(
            "openSMILE's functionals need the package opensmile, whose license allows research and private use only: "
            "pip install 'modeling-ser[bench]'.",
            name="opensmile",
        ) from error


# For each kernel the strengths C to try with it. Of 6373 features and some hundred clips every two classes can be told
# apart, so that only small C differ. Steps of about 3. 88 features need more, and a kernel that bends.
COMPARE_GRIDS = {"linear": (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)}
EGEMAPS_GRIDS = {
    "linear": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0),
    "rbf": (1e-1, 3e-1, 1.0, 3.0, 10.0, 30.0, 100.0),
}
SYSTEMS: dict[str, tuple[FeatureSet, Mapping[str, Sequence[float]]]] = {
    "opensmile-compare-svm": ("ComParE_2016", COMPARE_GRIDS),  # the baseline of the challenges
    "opensmile-egemaps-svm": ("eGeMAPSv02", EGEMAPS_GRIDS),
}
CLASS_WEIGHT = "balanced"


class FunctionalsSVM(System):
    """openSMILE functionals, standardized, into a support vector machine."""

    def __init__(self, name: str, feature_set: FeatureSet, grids: Mapping[str, Sequence[float]]) -> None:
        super().__init__(name, system_title(name))
        self.feature_set, self.grids = feature_set, grids

    def make_extractor(self) -> FunctionalsExtractor:
        """Make the extractor of the functionals."""
        return FunctionalsExtractor(self.feature_set)

    def settings(self) -> dict[str, Any]:
        """Return the functionals, the grids and how the choice is made."""
        return {
            "kind": "functionals-svm",
            "feature_set": self.feature_set,
            "grids": [{"kernel": kernel, "strengths": list(tried)} for kernel, tried in self.grids.items()],
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

        curve, found = [], []
        for kernel, strengths in self.grids.items():
            among, against = (kernel_values(kernel, part, train) for part in (train, validation))
            for strength in strengths:
                machine = SVC(
                    C=strength, kernel="precomputed", class_weight=CLASS_WEIGHT, break_ties=True, cache_size=500
                ).fit(among, splits.train.labels)
                values = decision_values(machine, against, len(task.labels))
                ua = classification_metrics(truth, values.argmax(axis=1), len(task.labels))["ua"]
                curve.append({"kernel": kernel, "C": strength, "validation_ua": ua})
                found.append((machine, values))

        best = int(np.argmax([point["validation_ua"] for point in curve]))  # the first of equal ones
        machine, on_validation = found[best]
        on_test = decision_values(machine, kernel_values(curve[best]["kernel"], test, train), len(task.labels))
        temperature = fit_temperature(truth, softmax(on_validation, axis=1), prior_clips=0)  # as what is stored
        scores = (apply_temperature(softmax(of, axis=1), temperature) for of in (on_validation, on_test))
        support = {"temperature": temperature, "support_vectors": int(machine.n_support_.sum())}
        return FoldOutcome(*scores, curve[best] | support | {"curve": curve})


def functionals_of(clips: ClipSplit) -> np.ndarray:
    """Join the functionals of a split."""
    rows = np.stack([clips[index]["input_features"] for index in range(len(clips))]).astype(np.float64)
    for clip in np.flatnonzero(~np.isfinite(rows).all(axis=1)):
        count = int((~np.isfinite(rows[clip])).sum())
        raise ValueError(
            f"Clip {clips.ids[clip]!r}: {count} of its {rows.shape[1]} functionals are not finite. openSMILE cannot "
            "describe it: leave it out, or look whether it holds speech."
        )
    return rows


def kernel_values(kernel: str, clips: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return the kernel of standardized clips, (clips, features), with the training clips: (clips, train)."""
    return pairwise_kernels(clips, train, metric=kernel, filter_params=True, gamma=1.0 / train.shape[1])


def decision_values(machine: SVC, kernel_values: np.ndarray, num_labels: int) -> np.ndarray:
    """Return a decision value for each class, the highest that of the machine's decision."""
    values = machine.decision_function(kernel_values)
    if values.ndim == 1:  # two classes: one margin, positive for the second
        values = np.stack([-values / 2, values / 2], axis=1)
    result = np.tile(values.min(axis=1, keepdims=True) - 1.0, (1, num_labels))  # (clips, num_labels)
    result[:, machine.classes_] = values
    return result
