"""What is measured of a layer: how alike it makes two clips, and how well emotions can be read from it.

The slides look at the activations of one sentence in five emotions and find layers 1, 2 and 5 least correlated "across
the rows"; for 1 and 2 they blame speaker and gender. To tell causes apart, four kinds of pairs are correlated here,
which are alike in everything but one:

- two emotions: one speaker, sentence, intensity and number of the repetition;
- two repetitions: one speaker, sentence, intensity and emotion. What differs is chance, timing above all;
- two speakers: one sentence, intensity, emotion and number of the repetition;
- two sentences: one speaker, intensity, emotion and number of the repetition.

How much emotion matters to a layer is then how much less two emotions correlate than two repetitions do, and likewise
for speakers and sentences; a low correlation alone says little. Pearson's r is also taken after the mean of each unit
over all clips and frames is removed: units differ in their level whatever is said, and that alone makes any two clips
correlate.

The linear probe is a logistic regression on mean and standard deviation over time of a layer's activations, of the
emotion or of which sentence it is. Its loss is convex, so that no seed matters: one fit is all fits. It is no
substitute for Model-2 on each layer, which sees the order of frames; it tells how linearly the layer holds emotion and
words.
"""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from dataset_scripts import Fold
from dataset_scripts.ravdess import RAVDESS
from speech_emotion.evaluation import classification_metrics
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
# Kinds of pairs, and the one thing that the two clips of a pair differ in.
CONDITIONS = {
    "two emotions": "emotion",
    "two repetitions": "repetition",
    "two speakers": "speaker",
    "two sentences": "sentence",
}
# Inverse strengths of the L2 penalty that the probe chooses from.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


class Take(NamedTuple):
    """What a clip of RAVDESS is of."""

    speaker: str
    sentence: str
    emotion: str
    intensity: str
    repetition: str


def ravdess_takes(rows: Iterable[Mapping[str, Any]]) -> list[Take]:
    """Read from the names of RAVDESS's files what each clip is of."""
    takes = []
    for row in rows:
        name = Path(row["file"]).stem
        if not re.fullmatch(RAVDESS.pattern, name):
            raise ValueError(f"{row['file']} is not named as RAVDESS's clips are, by which takes are told apart.")
        _, _, _, intensity, _, repetition, _ = name.split("-")
        takes.append(Take(row["speaker"], row["sentence"], row["label"], intensity, repetition))
    return takes


def pair_masks(takes: Sequence[Take]) -> dict[str, np.ndarray]:
    """Find the pairs of each kind: for each of `CONDITIONS` a mask, (clips, clips)."""
    columns = np.array(takes)  # (clips, fields)
    differ = columns[:, None] != columns  # (clips, clips, fields)
    in_one = differ.sum(axis=-1) == 1
    return {name: in_one & differ[..., Take._fields.index(field)] for name, field in CONDITIONS.items()}


def summarize_correlations(correlations: np.ndarray, takes: Sequence[Take]) -> dict[str, np.ndarray]:
    """Average correlations over pairs, then over speakers: estimates with ends of their 95% intervals, (3,) each.

    An effect is how much less pairs that differ in the emotion, speaker or sentence correlate than two repetitions.
    """
    numbers, speakers = numbered([take.speaker for take in takes])
    if len(speakers) < 2:
        raise ValueError(f"The study compares speakers; there is only {', '.join(speakers)}.")
    counts = np.concatenate([np.ones((1, len(speakers)), dtype=np.int64), speaker_counts(len(speakers))])
    member = np.equal.outer(np.arange(len(speakers)), numbers).astype(np.float64)  # (speakers, clips)
    means: dict[str, np.ndarray] = {}  # of all speakers as they are, then of each resample: (1 + resamples,)
    for name, mask in pair_masks(takes).items():
        pairs = member @ mask @ member.T  # (speakers, speakers)
        total = member @ np.where(mask, correlations, 0.0) @ member.T
        within = name != "two speakers"
        needed = np.eye(len(speakers), dtype=bool) == within
        lonely = sorted({speakers[row] for row in np.argwhere((pairs == 0) & needed)[:, 0]})
        if lonely:
            raise ValueError(f"There are no pairs of {name} for {', '.join(lonely)}; leave these speakers out.")
        by_pair = total / np.where(pairs > 0, pairs, 1)  # (speakers, speakers)
        means[name] = mean_over_speakers(by_pair.diagonal(), counts) if within else mean_over_pairs(by_pair, counts)
    found = {f"r, {name}": values for name, values in means.items()}
    for name in ("two emotions", "two speakers", "two sentences"):
        found[f"effect of the {CONDITIONS[name]}"] = means["two repetitions"] - means[name]
    return {name: with_interval(values[0], values[1:]) for name, values in found.items()}


def resample_frames(frames: np.ndarray, count: int = FRAMES) -> np.ndarray:
    """Bring a clip to a number of frames: linear between neighbors, first on first and last on last."""
    places = np.linspace(0, len(frames) - 1, count)  # (count,), in frames
    left = np.minimum(places.astype(int), max(0, len(frames) - 2))
    right = np.minimum(left + 1, len(frames) - 1)
    share = (places - left)[:, None]
    return ((1 - share) * frames[left] + share * frames[right]).astype(np.float32)


def logistic_probe(
    values: np.ndarray, truth: np.ndarray, train: np.ndarray, validation: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Predict test clips by a logistic regression, its penalty chosen by the UA of the validation speakers."""
    scaled = StandardScaler().fit(values[train]).transform(values)
    tried = []
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, class_weight="balanced", max_iter=500)
        with warnings.catch_warnings():
            # With little penalty on separable clips it creeps on; validation decides about what it has reached.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(scaled[train], truth[train])
        guesses = model.predict(scaled[validation])
        tried.append((classification_metrics(truth[validation], guesses, int(truth.max()) + 1)["ua"], model))
    _, best = max(tried, key=itemgetter(0))  # the first, of equal ones
    return best.predict(scaled[test])


def ua_by_layer(
    features: Mapping[str, np.ndarray],
    ids: Sequence[str],
    labels: Sequence[int],
    speakers: Sequence[str],
    folds: Sequence[Fold],
) -> dict[str, Estimate]:
    """Measure the UA that a probe reaches from each layer, on all clips, each of which a fold tests."""
    place = {clip: index for index, clip in enumerate(ids)}
    truth = np.asarray(labels)
    numbers, names = numbered(list(speakers))
    results = {}
    for layer, values in features.items():
        predictions = np.full(len(truth), -1)
        for fold in folds:
            parts = [np.array([place[clip] for clip in part]) for part in (fold.train, fold.validation, fold.test)]
            predictions[parts[-1]] = logistic_probe(values, truth, *parts)
        counts = grouped_counts(numbers, truth, predictions, len(names), int(truth.max()) + 1)
        results[layer] = speaker_bootstrap(counts)
    return results
