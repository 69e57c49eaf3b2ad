"""Clips of unequal length → one padded batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class FeatureCollator:
    """Pads cached features to the longest clip of the batch.

    >>> clips = [{"input_features": np.ones(size, "float32"), "labels": label} for size, label in ((6, 1), (4, 0))]
    >>> batch = FeatureCollator(feature_size=2)(clips)
    >>> batch["input_features"].shape, batch["attention_mask"].tolist()
    (torch.Size([2, 3, 2]), [[1, 1, 1], [1, 1, 0]])
    """

    feature_size: int  # features per frame

    def __call__(self, clips: Sequence[Mapping[str, object]]) -> dict[str, torch.Tensor]:
        """Join clips."""
        labels = torch.tensor([int(clip["labels"]) for clip in clips])
        return {**pad_features(clips, self.feature_size), "labels": labels}


def pad_features(clips: Sequence[Mapping[str, object]], feature_size: int) -> dict[str, torch.Tensor]:
    """Join the features of clips.

    >>> pad_features([{"input_features": np.ones(4, "float32")}], feature_size=2)["attention_mask"]
    tensor([[1, 1]])
    """
    features = [
        torch.from_numpy(np.array(clip["input_features"])).view(-1, feature_size)  # (frames, features)
        for clip in clips
    ]
    padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)  # (batch, frames, features)
    lengths = torch.tensor([len(frames) for frames in features])
    mask = (torch.arange(padded.shape[1]) < lengths[:, None]).long()  # (batch, frames)
    return {"input_features": padded, "attention_mask": mask}


__all__ = ["FeatureCollator", "pad_features"]
