"""What the scores of a model without each of its heads say: importance, agreement, change of UA."""

import csv
import io
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from speech_emotion.evaluation.intervals import (
    mean_over_speakers,
    numbered,
    speaker_bootstrap_difference,
    speaker_counts,
    with_interval,
)
from speech_emotion.evaluation.metrics import grouped_counts, ua

from .head_dropping import HeadScores
from .rank_agreement import Agreement, rank_agreement, shuffled_profile, sorted_profile

# Of fewer speakers, resampling them says nothing of others.
LEAST_SPEAKERS = 5


@dataclass(frozen=True)
class HeadStudy:
    """What was found of one model."""

    model: str  # name of the model's folder
    names: list[str]  # name of each head
    ids: list[str]  # id of each test clip
    speakers: list[str]  # speaker of each
    labels: list[str]  # true emotion of each
    importance: np.ndarray  # fall of the true class's log-probability without the head, (clips, heads), in nats
    mean_importance: np.ndarray
    ua: float  # UA with all heads, in [0, 1]
    ua_change: np.ndarray  # UA without the head less UA with all, likewise, (3, heads)
    clips: Agreement  # agreement of the clips on the order of the heads
    speakers_agreement: Agreement | None  # agreement of the speakers' mean importances; `None` for one speaker
    profile: np.ndarray  # mean importance over the clips, falling, (heads,)
    chance_profile: np.ndarray  # the same with heads shuffled within clips, (heads,)

    def facts(self) -> dict[str, Any]:
        """Return the figures, for JSON."""
        heads = [
            {
                "head": name,
                "importance": _estimate(self.mean_importance[:, number]),
                "ua_change": _estimate(self.ua_change[:, number]),
            }
            for number, name in enumerate(self.names)
        ]
        return {
            "model": self.model,
            "clips": len(self.ids),
            "speakers": sorted(set(self.speakers)),
            "ua": self.ua,
            "heads": heads,
            "agreement_of_clips": asdict(self.clips),
            "agreement_of_speakers": None if self.speakers_agreement is None else asdict(self.speakers_agreement),
            "profile": self.profile.tolist(),
            "profile_with_shuffled_heads": self.chance_profile.tolist(),
        }


def summarize_heads(
    scores: HeadScores, name: str, ids: list[str], speakers: list[str], labels: list[str], seed: int = 0
) -> HeadStudy:
    """Turn scores without heads into importances, agreement and changes of UA."""
    if len(scores.names) < 2:
        raise ValueError(f"{name} has one head; that heads are unequal can only be asked of several.")
    importance = scores.importance  # (clips, heads)
    numbers, people = numbered(list(speakers))
    by_speaker = np.stack([importance[numbers == number].mean(axis=0) for number in range(len(people))])
    several = len(people) >= LEAST_SPEAKERS

    def counts(log_probabilities: np.ndarray) -> np.ndarray:
        predictions = log_probabilities.argmax(axis=-1)
        return grouped_counts(numbers, scores.truth, predictions, len(people), len(labels))

    full = counts(scores.full)
    resampled = mean_over_speakers(by_speaker, speaker_counts(len(people), seed=seed))  # (resamples, heads)
    changes = []
    for dropped in scores.dropped:
        without = counts(dropped)
        if several:
            change = speaker_bootstrap_difference(without, full, seed=seed)
            changes.append([change.value, change.low, change.high])
        else:
            changes.append([float(ua(without.sum(axis=0)) - ua(full.sum(axis=0))), np.nan, np.nan])
    mean_importance = with_interval(by_speaker.mean(axis=0), resampled)
    if not several:  # two speakers' interval would go from the one to the other, and one speaker's have no width
        mean_importance[1:] = np.nan
    return HeadStudy(
        model=name,
        names=scores.names,
        ids=list(ids),
        speakers=list(speakers),
        labels=[labels[label] for label in scores.truth],
        importance=importance,
        mean_importance=mean_importance,
        ua=float(ua(full.sum(axis=0))),
        ua_change=np.array(changes).T,
        clips=rank_agreement(importance, seed=seed),
        speakers_agreement=rank_agreement(by_speaker, seed=seed) if len(people) > 1 else None,
        profile=sorted_profile(importance),
        chance_profile=shuffled_profile(importance, seed=seed),
    )


def importance_table(studies: list[HeadStudy]) -> str:
    """Write the importance of every head for every clip as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "id", "speaker", "label", "head", "importance"])
    for study in studies:
        for clip, speaker, label, row in zip(study.ids, study.speakers, study.labels, study.importance, strict=True):
            writer.writerows(
                [study.model, clip, speaker, label, head, f"{value:.6f}"]
                for head, value in zip(study.names, row, strict=True)
            )
    return text.getvalue()


def _estimate(values: np.ndarray) -> dict[str, float | None]:
    return {
        key: None if np.isnan(value) else float(value)
        for key, value in zip(("value", "low", "high"), values, strict=True)
    }


__all__ = ["HeadStudy", "importance_table", "summarize_heads"]
