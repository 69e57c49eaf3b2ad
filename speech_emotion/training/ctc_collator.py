"""Clips and transcripts of unequal length → one padded batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .collator import pad_features

IGNORED = -100


@dataclass(frozen=True)
class CTCCollator:
    """Pads cached features to the longest clip of the batch, and transcripts to the longest transcript.

    >>> clips = [{"input_features": np.ones(n, "float32"), "labels": [1] * n} for n in (4, 2)]
    >>> CTCCollator(feature_size=1)(clips)["labels"]
    tensor([[   1,    1,    1,    1],
            [   1,    1, -100, -100]])
    """

    feature_size: int  # features per frame

    def __call__(self, clips: Sequence[Mapping[str, object]]) -> dict[str, torch.Tensor]:
        """Join clips."""
        labels = torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(np.asarray(clip["labels"], dtype=np.int64)) for clip in clips],
            batch_first=True,
            padding_value=IGNORED,
        )  # (batch, longest)
        return {**pad_features(clips, self.feature_size), "labels": labels}


__all__ = ["IGNORED", "CTCCollator"]
