"""How a model does on one split, as a whole and clip by clip."""

from typing import Any

import torch

from speech_emotion.evaluation import classification_metrics, confusion_counts

from .card import SplitReport
from .clip_split import ClipSplit


def report_split(
    name: str, clips: ClipSplit, logits: torch.Tensor, labels: list[str]
) -> tuple[SplitReport, list[dict[str, Any]]]:
    """Measure a split."""
    probabilities = logits.double().softmax(dim=-1).numpy()  # (clips, classes)
    predicted = probabilities.argmax(axis=1)
    report = SplitReport(
        clips=len(clips),
        speakers=speakers_of(clips),
        metrics=classification_metrics(clips.labels, predicted, len(labels)),
        confusion=confusion_counts(clips.labels, predicted, len(labels)).tolist(),
    )
    scores = [
        {
            "id": clip,
            "split": name,
            "speaker": speaker,
            "label": labels[label],
            "prediction": labels[guess],
            "scores": dict(zip(labels, row.tolist(), strict=True)),
        }
        for clip, speaker, label, guess, row in zip(
            clips.ids, clips.speakers, clips.labels, predicted, probabilities, strict=True
        )
    ]
    return report, scores


def speakers_of(clips: ClipSplit) -> list[str]:
    """Return the speakers of a split, sorted."""
    return sorted(set(clips.speakers))


__all__ = ["report_split", "speakers_of"]
