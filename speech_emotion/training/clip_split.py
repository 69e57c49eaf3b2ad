"""One split of a corpus, as Trainer reads it: features from the cache, classes from memory."""

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
from torch.utils.data import Dataset


class ClipSplit(Dataset):
    """Clips of one split; the features stay in the cache on disk, shared by all folds.

    >>> cache = datasets.Dataset.from_dict({"input_features": [[1.0, 2.0], [3.0]], "num_frames": [2, 1]})
    >>> clips = ClipSplit(cache.with_format("numpy"), [1], ["a"], ["m1"], [0])
    >>> clips[0]["input_features"].tolist(), clips[0]["labels"]
    ([3.0], 0)
    """

    def __init__(
        self,
        features: datasets.Dataset,
        positions: Sequence[int],
        ids: Sequence[str],
        speakers: Sequence[str],
        labels: Sequence[int | Sequence[int]],
    ) -> None:
        if not len(positions) == len(ids) == len(speakers) == len(labels):
            raise ValueError(
                f"{len(positions)} positions, {len(ids)} ids, {len(speakers)} speakers, {len(labels)} labels."
            )
        self.features = features
        self.positions = np.asarray(positions, dtype=np.int64)
        self.ids, self.speakers, self.labels = list(ids), list(speakers), list(labels)
        self.num_frames = np.asarray(features["num_frames"][:])[self.positions]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Read several clips at once: `input_features`, (frames × feature_size,), and `labels`."""
        rows = [self.features[int(self.positions[index])]["input_features"] for index in indices]
        return [
            {"input_features": row, "labels": self.labels[index]} for row, index in zip(rows, indices, strict=True)
        ]


__all__ = ["ClipSplit"]
