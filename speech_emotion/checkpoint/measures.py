"""What is said of the model that comes along: how well it does on whom it has not heard, and on what is no speech."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from speech_emotion.evaluation.calibration import expected_calibration_error, fit_temperature
from speech_emotion.evaluation.metrics import confusion_counts, ua, wa

from .joint_clips import EMOTIONS, LABELS, JointSplit
from .joint_training import likeliest
from .no_speech import NO_SPEECH

# The four that most corpora have; figures for these are comparable between corpora.
FOUR = tuple(LABELS.index(label) for label in ("anger", "happiness", "neutral", "sadness"))
SEXES = {"f": "women", "m": "men"}


def figures_of(truth: np.ndarray, guesses: np.ndarray) -> dict[str, float]:
    """Compute WA and UA of classes that have clips."""
    counts = confusion_counts(truth, guesses, len(LABELS))
    return {"wa": float(wa(counts)), "ua": float(ua(counts))}


def mean_and_deviation(runs: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Average figures over seeds, each a pair of mean and standard deviation."""
    deviation = {"ddof": 1} if len(runs) > 1 else {}
    return {
        name: [float(np.mean(values)), float(np.std(values, **deviation))]
        for name in runs[0]
        for values in [[run[name] for run in runs]]
    }


def of_speech(clips: JointSplit, logits: Sequence[np.ndarray], temperature: float) -> dict[str, Any]:
    """Measure one corpus's clips of speakers who were not heard; `logits` by seed.

    Scores are taken as a user gets them, over all labels; the figures of four emotions compare these four alone.
    """
    truth = np.asarray(clips.labels)
    four = np.isin(truth, FOUR)
    runs = []
    for one in logits:
        guesses, scores = one.argmax(axis=1), softmax(one, axis=1)
        run = figures_of(truth, guesses)
        run |= {f"{name}_four": value for name, value in figures_of(truth[four], likeliest(one[four], FOUR)).items()}
        run["no_speech"] = float((guesses == LABELS.index(NO_SPEECH)).mean())
        run["ece_before"] = expected_calibration_error(truth, scores)
        run["ece_after"] = expected_calibration_error(truth, softmax(one / temperature, axis=1))
        for sex, name in SEXES.items():
            here = clips.sexes == sex
            if here.any():
                run[f"ua_{name}"] = figures_of(truth[here], guesses[here])["ua"]
        runs.append(run)
    return {
        "clips": len(truth),
        "speakers": len(set(clips.speakers)),
        "emotions": [label for index, label in enumerate(EMOTIONS) if index in truth],
        **mean_and_deviation(runs),
    }


def of_sounds(clips: JointSplit, logits: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Measure how often sounds without speech are told as such, kind by kind."""
    kinds = np.array([speaker.partition("/")[2] for speaker in clips.speakers])
    told = [one.argmax(axis=1) == LABELS.index(NO_SPEECH) for one in logits]
    return [
        {"kind": kind, "clips": int((kinds == kind).sum())}
        | mean_and_deviation([{"no_speech": float(one[kinds == kind].mean())} for one in told])
        for kind in dict.fromkeys(kinds.tolist())
    ]


def common_temperature(scored: Sequence[tuple[JointSplit, Sequence[np.ndarray]]]) -> float:
    """Fit one temperature to clips of corpora that the models had not heard; each corpus counts alike.

    Whoever uses the model does so on recordings unlike the training's: calibrated on speakers of the same corpora, it
    would be too sure of itself there.
    """
    # Weights by repetition: every corpus as many clips as the largest.
    most = max(len(clips) for clips, _ in scored)
    truth, logits = [], []
    for clips, found in scored:
        for one in found:
            chosen = np.resize(np.arange(len(clips)), most)
            truth.append(np.asarray(clips.labels)[chosen])
            logits.append(one[chosen])
    return fit_temperature(np.concatenate(truth), softmax(np.concatenate(logits), axis=1))
