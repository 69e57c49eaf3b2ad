"""Batches: which clips meet in one, and how they are padded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import BatchSampler, Sampler

# Batches whose clips are sorted by length together. Few, so that which clips meet in a batch stays random.
BATCHES_PER_GROUP = 8
IGNORED = -100  # what pads labels


class LengthGroupedSampler(Sampler[int]):
    """Yields clip indices so that consecutive clips, batch by batch, have like lengths.

    Of each clip comes by chance itself or one of its variants, which `ClipSplit` numbers beyond the clips.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, variants: int = 0) -> None:
        if not len(lengths) or batch_size < 1:
            raise ValueError(f"Cannot order {len(lengths)} clips in batches of {batch_size}: both must be at least 1.")
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.variants = variants
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self.seed, self.epoch])
        shuffled = generator.permutation(len(self.lengths))
        group = self.batch_size * BATCHES_PER_GROUP
        batches = []
        for start in range(0, len(shuffled), group):
            members = shuffled[start : start + group]
            members = members[np.argsort(-self.lengths[members], kind="stable")]
            batches += [members[i : i + self.batch_size] for i in range(0, len(members), self.batch_size)]
        full = [batch for batch in batches if len(batch) == self.batch_size]
        order = [full[i] for i in generator.permutation(len(full))]
        order += [batch for batch in batches if len(batch) < self.batch_size]
        indices = np.concatenate(order)
        if self.variants:
            indices += len(self.lengths) * generator.integers(self.variants + 1, size=len(indices))
        yield from indices.tolist()


class NoLoneItem(BatchSampler):
    """Batches of an order, of which a single item that is left over joins the last."""

    def __iter__(self) -> Iterator[list[int]]:
        batches = list(super().__iter__())
        if len(batches) > 1 and len(batches[-1]) == 1:
            batches[-2:] = [batches[-2] + batches[-1]]
        yield from batches

    def __len__(self) -> int:
        return super().__len__() - (len(self.sampler) > self.batch_size and len(self.sampler) % self.batch_size == 1)


@dataclass(frozen=True)
class FeatureCollator:
    """Pads cached features to the longest clip of the batch, and labels that are sequences to the longest of them.

    Labels that are not whole numbers are shares or values, as many for each clip.
    """

    feature_size: int  # features per frame

    def __call__(self, clips: Sequence[Mapping[str, object]]) -> dict[str, torch.Tensor]:
        """Join clips."""
        labels = [torch.from_numpy(_numbers(clip["labels"])) for clip in clips]
        if labels[0].is_floating_point():
            joined = torch.stack(labels)  # (batch, targets)
        elif labels[0].ndim:
            joined = torch.nn.utils.rnn.pad_sequence(
                labels, batch_first=True, padding_value=IGNORED
            )  # (batch, longest)
        else:
            joined = torch.stack(labels)  # (batch,)
        masks = [torch.as_tensor(clip["class_mask"]) for clip in clips if "class_mask" in clip]
        allowed = {"class_mask": torch.stack(masks)} if masks else {}  # (batch, labels)
        return {**pad_features(clips, self.feature_size), "labels": joined, **allowed}


def _numbers(labels: object) -> np.ndarray:
    """Read classes or letters as int64, and shares or values as float32."""
    numbers = np.asarray(labels)
    return numbers.astype(np.float32 if numbers.size and numbers.dtype.kind == "f" else np.int64)


def pad_features(clips: Sequence[Mapping[str, object]], feature_size: int) -> dict[str, torch.Tensor]:
    """Join the features of clips."""
    features = [
        torch.from_numpy(np.array(clip["input_features"])).view(-1, feature_size)  # (frames, features)
        for clip in clips
    ]
    padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)  # (batch, frames, features)
    lengths = torch.tensor([len(frames) for frames in features])
    mask = (torch.arange(padded.shape[1]) < lengths[:, None]).long()  # (batch, frames)
    return {"input_features": padded, "attention_mask": mask}
