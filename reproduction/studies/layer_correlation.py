"""How alike are a layer's activations of two clips that differ in one thing: emotion, take or speaker.

The slides look at the activations of one sentence in five emotions and find layers 1, 2 and 5 least correlated "across
the rows"; for 1 and 2 they blame speaker and gender. To tell causes apart, three kinds of pairs are correlated here,
which are alike in everything but one:

- two emotions: one speaker, sentence, intensity and number of the repetition;
- two repetitions: one speaker, sentence, intensity and emotion. What differs is chance, timing above all;
- two speakers: one sentence, intensity, emotion and number of the repetition.

How much emotion matters to a layer is then how much less two emotions correlate than two repetitions do, and likewise
for speakers; a low correlation alone says little. Pearson's r is also taken after the mean of each unit over all clips
and frames is removed: units differ in their level whatever is said, and that alone makes any two clips correlate.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dataset_scripts.ravdess import SPEECH
from speech_emotion.evaluation.intervals import (
    mean_over_pairs,
    mean_over_speakers,
    numbered,
    speaker_counts,
    with_interval,
)

CONDITIONS = ("two emotions", "two repetitions", "two speakers")
EFFECTS = {"emotion": "two emotions", "speaker": "two speakers"}


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
    """Read from the names of RAVDESS's files what each clip is of.

    >>> row = {"file": "Actor_12/03-01-05-02-01-01-12.wav", "speaker": "Actor_12", "sentence": "01"}
    >>> ravdess_takes([row | {"label": "anger"}])[0].intensity
    '02'
    """
    takes = []
    for row in rows:
        name = SPEECH.fullmatch(Path(row["file"]).stem)
        if name is None:
            raise ValueError(f"{row['file']} is not named as RAVDESS's clips are, by which takes are told apart.")
        place = (row["speaker"], row["sentence"], row["label"])
        takes.append(Take(*place, name["intensity"], name["repetition"]))
    return takes


def pearson_matrix(activations: np.ndarray) -> np.ndarray:
    """Correlate every two clips.

    >>> pearson_matrix(np.array([[0.0, 1.0, 2.0], [0.0, 2.0, 4.0], [3.0, 2.0, 1.0]])).round(6).tolist()
    [[1.0, 1.0, -1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]]
    """
    centered = activations - activations.mean(axis=1, keepdims=True, dtype=np.float64)
    norm = np.linalg.norm(centered, axis=1, keepdims=True)
    unit = centered / np.where(norm > 0, norm, np.nan)
    return unit @ unit.T


def pair_masks(takes: Sequence[Take]) -> dict[str, np.ndarray]:
    """Find the pairs of each kind.

    >>> take = Take("a", "01", "fear", "01", "01")
    >>> pair_masks([take, take._replace(emotion="calm")])["two emotions"].tolist()
    [[False, True], [True, False]]
    """
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


__all__ = [
    "CONDITIONS",
    "LayerCorrelation",
    "Take",
    "pair_masks",
    "pearson_matrix",
    "ravdess_takes",
    "summarize_correlations",
]
