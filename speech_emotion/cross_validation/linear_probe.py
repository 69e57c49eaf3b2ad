"""A linear probe: how much of emotions lies open in an encoder's layers, without a network of ours."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from feature_extraction import SERFeatureExtractor
from speech_emotion.evaluation import classification_metrics
from speech_emotion.evaluation.calibration import negative_log_likelihood
from speech_emotion.training.arguments import ModelArguments
from speech_emotion.training.building import shared_extractor
from speech_emotion.training.splits import ClipSplit

from .system import FoldOutcome, FoldTask, System
from .system_names import encoder_arguments, system_title

# Of some thousand features and some hundred clips every two classes can be told apart, so that C hardly matters.
STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
CLASS_WEIGHT = "balanced"
MOST_STEPS = 2000


class LinearProbe(System):
    """Mean and standard deviation over time of an encoder's layers, standardized, into a logistic regression."""

    def __init__(
        self, name: str, encoder: str, overrides: Mapping[str, Any] | None = None, place: str | None = None
    ) -> None:
        super().__init__(name, system_title(name))
        own = encoder_arguments(encoder, ("deepspeech",), place)
        taken = {
            key: value for key, value in (overrides or {}).items() if key in ("encoder_layer", "encoder_revision")
        }
        self.heeds = (("--set",) if taken else ()) + (() if encoder else ("--encoder",))
        self.model = ModelArguments(**own | taken)
        self._extractor: SERFeatureExtractor | None = None

    def make_extractor(self) -> SERFeatureExtractor:
        """Make the extractor of Model-2 with the same encoder, once: the features are those of both."""
        if self._extractor is None:
            self._extractor = shared_extractor(self.model)
        return self._extractor

    def settings(self) -> dict[str, Any]:
        """Return the classifier, its strengths and how the choice is made; of the encoder the features tell."""
        return {
            "kind": "linear-probe",
            "statistics": ["mean", "standard deviation"],
            "classifier": "multinomial logistic regression",
            "strengths": list(STRENGTHS),
            "class_weight": CLASS_WEIGHT,
            "chosen_by": "validation negative log-likelihood",
        }

    def fit(self, task: FoldTask) -> FoldOutcome:
        """Choose C, and score."""
        splits, size = task.splits, self.make_extractor().feature_size
        train, validation, test = (clip_statistics(part, size) for _, part in splits.items())
        scaler = StandardScaler().fit(train)
        train, validation, test = (scaler.transform(part) for part in (train, validation, test))
        if len(train) < train.shape[1]:
            # The weights lie in the span of the training clips: along its axes the regression is the same and small.
            axes, _ = np.linalg.qr(train.T)  # (features, clips)
            train, validation, test = (part @ axes for part in (train, validation, test))
        curve, found = [], []
        truth = np.asarray(splits.validation.labels)
        regression = LogisticRegression(class_weight=CLASS_WEIGHT, max_iter=MOST_STEPS, warm_start=True)
        for strength in STRENGTHS:
            regression.set_params(C=strength).fit(train, splits.train.labels)
            scores = tuple(probabilities(regression, part, len(task.labels)) for part in (validation, test))
            ua = classification_metrics(truth, scores[0].argmax(axis=1), len(task.labels))["ua"]
            nll = negative_log_likelihood(truth, scores[0])
            curve.append({"C": strength, "validation_nll": nll, "validation_ua": ua})
            found.append(scores)
        # Not by UA, in which the few clips of a speaker tell hardly any two strengths apart.
        best = int(np.argmin([point["validation_nll"] for point in curve]))
        return FoldOutcome(*found[best], curve[best] | {"curve": curve})


def clip_statistics(clips: ClipSplit, feature_size: int) -> np.ndarray:
    """Join mean and standard deviation over time of each feature: (clips, 2 × feature_size)."""
    return np.stack([one.row() for one in clips.statistics(feature_size)])


def probabilities(regression: LogisticRegression, clips: np.ndarray, num_labels: int) -> np.ndarray:
    """Return the probability of each class, (clips, num_labels), 0 for one without training clips."""
    scores = np.zeros((len(clips), num_labels))
    scores[:, regression.classes_] = regression.predict_proba(clips)
    return scores
