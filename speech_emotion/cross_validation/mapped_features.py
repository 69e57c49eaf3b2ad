"""Cached features read without copies: the cache's file, mapped into memory and shared by all workers."""

from itertools import pairwise
from typing import Any, Self

import datasets
import numpy as np


class MappedFeatures:
    """Features of a corpus as `make_splits` and `ClipSplit` read them, each clip a view into the mapped cache.

    >>> columns = {"id": ["a", "b"], "input_features": [[1.0, 2.0], [3.0]], "num_frames": [2, 1]}
    >>> types = {"id": "string", "num_frames": "int64"}
    >>> types = {name: datasets.Value(kind) for name, kind in types.items()}
    >>> types |= {"input_features": datasets.LargeList(datasets.Value("float32")), "recording": types["id"]}
    >>> table = datasets.Dataset.from_dict(columns | {"recording": ["1f", None]}, datasets.Features(types))
    >>> mapped = MappedFeatures(table)
    >>> mapped[1]["input_features"].tolist(), mapped["num_frames"].tolist(), mapped["id"]
    ([3.0], [2, 1], ['a', 'b'])
    """

    def __init__(self, features: datasets.Dataset) -> None:
        plain = features.with_format(None)
        if plain._indices is not None:  # a selection: its rows are not those of the file
            plain = plain.flatten_indices()
        self._columns: dict[str, Any] = {
            "id": plain["id"][:],
            "num_frames": np.array(plain["num_frames"][:]),
            "recording": plain["recording"][:],
        }
        self._clips: list[np.ndarray] = []
        for chunk in plain.data.column("input_features").chunks:
            values = chunk.values.to_numpy(zero_copy_only=True)  # of all clips of the chunk, one after another
            bounds = chunk.offsets.to_numpy()
            self._clips += [values[start:end] for start, end in pairwise(bounds)]

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, key: int | str) -> Any:
        return self._columns[key] if isinstance(key, str) else {"input_features": self._clips[key]}

    def with_format(self, kind: str | None = None) -> Self:
        """Return itself: the columns are plain values already."""
        return self


__all__ = ["MappedFeatures"]
