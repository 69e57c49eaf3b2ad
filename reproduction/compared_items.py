"""What the compared networks read: clips, or stretches of clips, as padded batches."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from speech_emotion.training.clip_split import ClipSplit
from speech_emotion.training.collator import pad_features
from speech_emotion.training.normalization import feature_statistics

NO_SYMBOL = -100  # what pads symbols, as transformers pads labels

Statistics = tuple[torch.Tensor, torch.Tensor]


class Items:
    """Clips of a split, or stretches of them, from which batches are made."""

    def __init__(
        self,
        clips: ClipSplit,
        statistics: Statistics | None = None,
        symbols: Sequence[Sequence[int]] | None = None,
        longest: int | None = None,
    ) -> None:
        if statistics is None and symbols is None:
            raise ValueError("A network reads frames, symbols or both.")
        if symbols is not None and longest is not None:
            raise ValueError("Clips with symbols cannot be cut: it is not known where which symbol is spoken.")
        self.clips, self.statistics, self.symbols = clips, statistics, symbols
        # Transcripts are not sorted by length: those of one length are often one text, said over and over, and in a
        # batch of one text batch normalization leaves nothing to learn from. To pad them costs next to nothing.
        frames = clips.num_frames if statistics is not None else np.ones(len(symbols), dtype=np.int64)
        ends = [stretches(int(count), longest) for count in frames]
        self.clip_of_item = np.repeat(np.arange(len(clips)), [len(parts) for parts in ends])
        self._bounds = [bounds for parts in ends for bounds in parts]
        self.lengths = np.array([end - start for start, end in self._bounds])

    def __len__(self) -> int:
        return len(self.clip_of_item)

    @property
    def labels(self) -> np.ndarray:
        """Class of each clip, (clips,)."""
        return np.asarray(self.clips.labels)

    def batch(self, indices: Sequence[int]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Join items."""
        owners = [int(self.clip_of_item[index]) for index in indices]
        inputs: dict[str, torch.Tensor] = {}
        if self.statistics is not None:
            mean, std = self.statistics
            rows = self.clips.__getitems__(owners)
            frames = [
                {"input_features": row["input_features"].reshape(-1, len(mean))[slice(*self._bounds[index])]}
                for row, index in zip(rows, indices, strict=True)
            ]
            inputs = pad_features(frames, len(mean))
            scaled = (inputs["input_features"] - mean) / std  # (batch, frames, feature_size)
            inputs["input_features"] = scaled * inputs["attention_mask"].unsqueeze(-1)
        if self.symbols is not None:
            rows = [torch.tensor(self.symbols[owner], dtype=torch.int64) for owner in owners]
            inputs["symbols"] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=NO_SYMBOL)
        return inputs, torch.from_numpy(self.labels[owners])


def stretches(frames: int, longest: int | None) -> list[tuple[int, int]]:
    """Cut a clip into as few stretches as go.

    >>> stretches(10, 4), stretches(4, 4)
    ([(0, 3), (3, 6), (6, 10)], [(0, 4)])
    """
    count = 1 if longest is None else max(1, -(-frames // longest))
    ends = [frames * part // count for part in range(count + 1)]
    return list(pairwise(ends))


def statistics_of(clips: ClipSplit, feature_size: int) -> Statistics:
    """Estimate mean and deviation of each feature."""
    return feature_statistics((clips[index]["input_features"] for index in range(len(clips))), feature_size)


__all__ = ["NO_SYMBOL", "Items", "Statistics", "statistics_of", "stretches"]
