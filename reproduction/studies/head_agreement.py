"""Whether heads are unequal, and the same ones matter to other people: over all models, by speaker.

One model has few test speakers, and heads of two models have no common identity. Both questions are therefore asked
within each model, between its test speakers, and the answers are averaged over models (folds and seeds). Speakers are
what is resampled: a speaker's clips, and what the models of other seeds make of the same clips, stay together.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from speech_emotion.evaluation.intervals import mean_over_speakers, numbered, speaker_counts, with_interval

from .head_findings import HeadStudy
from .rank_agreement import unit_ranks


@dataclass(frozen=True)
class HeadAgreement:
    """What the models say together."""

    models: int  # number of models with at least 2 test speakers
    speakers: int  # number of their test speakers
    lead: tuple[float, float, float]
    correlation: tuple[float, float, float]

    def facts(self) -> dict[str, Any]:
        """Return the figures, for JSON."""
        return asdict(self)


def pool_heads(studies: Sequence[HeadStudy], seed: int = 0) -> HeadAgreement | None:
    """Ask all models together.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval).
    """
    studies = [study for study in studies if len(set(study.speakers)) > 1]
    if not studies:
        return None
    _, people = numbered([speaker for study in studies for speaker in study.speakers])
    place = {speaker: number for number, speaker in enumerate(people)}
    sums, pairs = np.zeros((2, len(people), len(people)))
    leads: list[list[float]] = [[] for _ in people]
    for study in studies:
        numbers, here = numbered(study.speakers)
        columns = [place[speaker] for speaker in here]
        member = np.eye(len(here))[numbers]  # (clips, speakers)
        units = unit_ranks(study.importance)  # (clips, heads)
        totals = member.T @ units  # (speakers, heads)
        clips = member.T @ (units != 0).any(axis=1)  # (speakers,)
        sums[np.ix_(columns, columns)] += totals @ totals.T
        pairs[np.ix_(columns, columns)] += np.outer(clips, clips)
        means = (member / member.sum(axis=0)).T @ study.importance  # (speakers, heads)
        for column, lead in zip(columns, _leads(means), strict=True):
            leads[column].append(lead)
    for matrix in (sums, pairs):
        np.fill_diagonal(matrix, 0)
    counts = speaker_counts(len(people), seed=seed)  # (resamples, speakers)

    def correlation(weights: np.ndarray) -> np.ndarray:
        of_pairs = ((weights @ pairs) * weights).sum(axis=1)
        return ((weights @ sums) * weights).sum(axis=1) / np.where(of_pairs > 0, of_pairs, np.nan)

    by_speaker = np.array([np.mean(values) for values in leads])
    lead = with_interval(by_speaker.mean(), mean_over_speakers(by_speaker, counts))
    whole = correlation(np.ones((1, len(people))))[0]
    return HeadAgreement(
        models=len(studies),
        speakers=len(people),
        lead=_triple(lead),
        correlation=_triple(with_interval(whole, correlation(counts.astype(np.float64)))),
    )


def _leads(means: np.ndarray) -> np.ndarray:
    """For each speaker, how far the head that leads for the others is above the mean of the rest: (speakers,)."""
    others = means.sum(axis=0) - means  # (speakers, heads); its argmax is that of the mean
    chosen = np.take_along_axis(means, others.argmax(axis=1)[:, None], axis=1)[:, 0]
    rest = (means.sum(axis=1) - chosen) / (means.shape[1] - 1)
    return chosen - rest


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    value, low, high = map(float, values)
    return value, low, high


__all__ = ["HeadAgreement", "pool_heads"]
