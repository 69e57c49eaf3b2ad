"""What is measured of a layer: how alike it makes two clips, and how well emotions can be read from it.

The slides look at the activations of one sentence in five emotions and find layers 1, 2 and 5 least correlated "across
the rows"; for 1 and 2 they blame speaker and gender. To tell causes apart, three kinds of pairs are correlated here,
which are alike in everything but one:

- two emotions: one speaker, sentence, intensity and number of the repetition;
- two repetitions: one speaker, sentence, intensity and emotion. What differs is chance, timing above all;
- two speakers: one sentence, intensity, emotion and number of the repetition.

How much emotion matters to a layer is then how much less two emotions correlate than two repetitions do, and likewise
for speakers; a low correlation alone says little. Pearson's r is also taken after the mean of each unit over all clips
and frames is removed: units differ in their level whatever is said, and that alone makes any two clips correlate.

The linear probe is a logistic regression on mean and standard deviation over time of a layer's activations. Its loss
is convex, so that no seed matters: one fit is all fits. It is no substitute for Model-2 on each layer, which sees the
order of frames; it tells how linearly the layer holds emotion.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from dataset_scripts import Fold
from dataset_scripts.ravdess import SPEECH
from speech_emotion.evaluation.intervals import (
    Estimate,
    mean_over_pairs,
    mean_over_speakers,
    numbered,
    speaker_bootstrap,
    speaker_counts,
    with_interval,
)
from speech_emotion.evaluation.metrics import grouped_counts

FRAMES = 50  # that each clip is brought to
CONDITIONS = ("two emotions", "two repetitions", "two speakers")
EFFECTS = {"emotion": "two emotions", "speaker": "two speakers"}
# Inverse strengths of the L2 penalty that the probe chooses from.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

# Training features and classes, validation features and classes, test features -> test classes.
Probe = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Take(NamedTuple):
    """What a clip of RAVDESS is of."""

    speaker: str
    sentence: str
    emotion: str
    intensity: str
    repetition: str


@dataclass(frozen=True)
class LayerCorrelation:
    """What one layer's correlations are, each as estimate and ends of its 95% interval, (3,)."""

    conditions: dict[str, np.ndarray]  # mean Pearson's r of each of `CONDITIONS`
    effects: dict[str, np.ndarray]  # "emotion" and "speaker": r of two repetitions less r of two emotions, or speakers


def ravdess_takes(rows: Iterable[Mapping[str, Any]]) -> list[Take]:
    """Read from the names of RAVDESS's files what each clip is of."""
    takes = []
    for row in rows:
        name = SPEECH.fullmatch(Path(row["file"]).stem)
        if name is None:
            raise ValueError(f"{row['file']} is not named as RAVDESS's clips are, by which takes are told apart.")
        place = (row["speaker"], row["sentence"], row["label"])
        takes.append(Take(*place, name["intensity"], name["repetition"]))
    return takes


def pearson_matrix(activations: np.ndarray) -> np.ndarray:
    """Correlate every two clips: (clips, values) → (clips, clips); NaN for a clip that does not vary."""
    centered = activations - activations.mean(axis=1, keepdims=True, dtype=np.float64)
    norm = np.linalg.norm(centered, axis=1, keepdims=True)
    unit = centered / np.where(norm > 0, norm, np.nan)
    return unit @ unit.T


def pair_masks(takes: Sequence[Take]) -> dict[str, np.ndarray]:
    """Find the pairs of each kind: for each of `CONDITIONS` a mask, (clips, clips)."""
    columns = np.array(takes)  # (clips, fields)
    same = {name: columns[:, None, n] == columns[None, :, n] for n, name in enumerate(Take._fields)}

    def differing_in(field: str) -> np.ndarray:
        others = [mask for name, mask in same.items() if name != field]
        return np.logical_and.reduce(others) & ~same[field]

    fields = ("emotion", "repetition", "speaker")
    return {name: differing_in(field) for name, field in zip(CONDITIONS, fields, strict=True)}


def summarize_correlations(correlations: np.ndarray, takes: Sequence[Take], seed: int = 0) -> LayerCorrelation:
    """Average correlations over pairs, then over speakers, with intervals from resampled speakers."""
    numbers, speakers = numbered([take.speaker for take in takes])
    if len(speakers) < 2:
        raise ValueError(f"The study compares speakers; there is only {', '.join(speakers)}.")
    everyone = np.ones((1, len(speakers)), dtype=np.int64)
    counts = speaker_counts(len(speakers), seed=seed)
    member = np.equal.outer(np.arange(len(speakers)), numbers).astype(np.float64)  # (speakers, clips)
    estimates: dict[str, np.ndarray] = {}
    resampled: dict[str, np.ndarray] = {}
    for name, mask in pair_masks(takes).items():
        pairs = member @ mask @ member.T  # (speakers, speakers)
        total = member @ np.where(mask, correlations, 0.0) @ member.T
        within = name != "two speakers"
        needed = np.eye(len(speakers), dtype=bool) if within else ~np.eye(len(speakers), dtype=bool)
        lonely = sorted({speakers[row] for row in np.argwhere((pairs == 0) & needed)[:, 0]})
        if lonely:
            raise ValueError(f"There are no pairs of {name} for {', '.join(lonely)}; leave these speakers out.")
        means = total / np.where(pairs > 0, pairs, 1)  # (speakers, speakers)
        for kept, drawn in ((estimates, everyone), (resampled, counts)):
            kept[name] = mean_over_speakers(means.diagonal(), drawn) if within else mean_over_pairs(means, drawn)
    return LayerCorrelation(
        conditions={name: with_interval(estimates[name][0], resampled[name]) for name in CONDITIONS},
        effects={
            effect: with_interval(
                (estimates["two repetitions"] - estimates[name])[0], resampled["two repetitions"] - resampled[name]
            )
            for effect, name in EFFECTS.items()
        },
    )


def resample_frames(frames: np.ndarray, count: int = FRAMES) -> np.ndarray:
    """Bring a clip to a number of frames: linear between neighbors, first on first and last on last."""
    places = np.linspace(0, len(frames) - 1, count)  # (count,), in frames
    left = np.minimum(places.astype(int), max(0, len(frames) - 2))
    right = np.minimum(left + 1, len(frames) - 1)
    share = (places - left)[:, None]
    return ((1 - share) * frames[left] + share * frames[right]).astype(np.float32)


def clip_statistics(frames: np.ndarray) -> np.ndarray:
    """Describe a clip by mean and standard deviation over time.

    >>> clip_statistics(np.array([[0.0, 1.0], [2.0, 1.0]])).tolist()
    [1.0, 1.0, 1.0, 0.0]
    """
    return np.concatenate([frames.mean(axis=0), frames.std(axis=0)]).astype(np.float32)


def logistic_probe(
    train: np.ndarray,
    train_labels: np.ndarray,
    validation: np.ndarray,
    validation_labels: np.ndarray,
    test: np.ndarray,
) -> np.ndarray:
    """Predict test clips by a logistic regression, its penalty chosen by the UA of the validation speakers."""
    scaler = StandardScaler().fit(train)
    train, validation, test = scaler.transform(train), scaler.transform(validation), scaler.transform(test)
    best, model = -1.0, None
    for strength in STRENGTHS:
        candidate = LogisticRegression(C=strength, class_weight="balanced", max_iter=500)
        with warnings.catch_warnings():
            # With little penalty on separable clips it creeps on; validation decides about what it has reached.
            warnings.simplefilter("ignore", ConvergenceWarning)
            candidate.fit(train, train_labels)
        ua = balanced_accuracy_score(validation_labels, candidate.predict(validation))
        if ua > best:
            best, model = ua, candidate
    return model.predict(test)


def ua_by_layer(
    features: Mapping[str, np.ndarray],
    ids: Sequence[str],
    labels: Sequence[int],
    speakers: Sequence[str],
    folds: Sequence[Fold],
    probe: Probe = logistic_probe,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Measure the UA that a probe reaches from each layer, on the test clips of all folds together."""
    place = {clip: index for index, clip in enumerate(ids)}
    truth = np.asarray(labels)
    tested = sorted(clip for fold in folds for clip in fold.test)
    if tested != sorted(ids):
        raise ValueError(f"The folds test {len(tested)} clips; each of the {len(ids)} must be tested once.")
    numbers, names = numbered(list(speakers))
    results = {}
    for layer, values in features.items():
        predictions = np.full(len(truth), -1)
        for fold in folds:
            train, validation, test = (
                np.array([place[clip] for clip in part]) for part in (fold.train, fold.validation, fold.test)
            )
            predictions[test] = probe(values[train], truth[train], values[validation], truth[validation], values[test])
        counts = grouped_counts(numbers, truth, predictions, len(names), int(truth.max()) + 1)
        results[layer] = speaker_bootstrap(counts, seed=seed)
    return results
