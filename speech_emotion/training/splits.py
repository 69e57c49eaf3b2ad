"""From a corpus and arguments to three sets of clips with features and class indices."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch
from torch.utils.data import Dataset

from dataset_scripts import Fold, check_classes, check_disjoint, load_fold, speaker_folds
from dataset_scripts.folds import unsafe_folds
from dataset_scripts.names import as_in_corpus
from feature_extraction.safe_text import printable
from modeling_ser.feature_statistics import FEWEST_CLIPS, FeatureStatistics, normalization, shrunk

from .arguments import DataArguments
from .run_record import corpus_title

UNKNOWN = "unknown"  # who speaks where nobody knows


class ClipSplit(Dataset):
    """Clips of one split; the features stay in the cache on disk, shared by all folds."""

    def __init__(
        self,
        features: datasets.Dataset,
        positions: Sequence[int],
        ids: Sequence[str],
        speakers: Sequence[str],
        labels: Sequence[int | Sequence[int]],
        variants: Sequence[datasets.Dataset] = (),
        targets: Sequence[Sequence[float]] | None = None,
    ) -> None:
        if not len(positions) == len(ids) == len(speakers) == len(labels):
            raise ValueError(
                f"{len(positions)} positions, {len(ids)} ids, {len(speakers)} speakers, {len(labels)} labels."
            )
        self.features, self.variants = features, tuple(variants)
        self.positions = np.asarray(positions, dtype=np.int64)
        self.ids, self.speakers, self.labels = list(ids), list(speakers), list(labels)
        # What is learned: each clip's label, or numbers in its place, such as the shares of the raters for each label.
        self.targets = self.labels if targets is None else list(targets)
        self.num_frames = np.asarray(features["num_frames"][:])[self.positions]
        # What each speaker's features are multiplied by, and what is added then; see `normalize_speakers`.
        self.by_speaker: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read a clip: `input_features`, (frames × feature_size,), and `labels`, its target.

        Clip i is also number i + k n, as its k-th variant, where n is the number of clips.
        """
        variant, index = divmod(index, len(self))
        cached = (self.features, *self.variants)[variant]
        features = cached[int(self.positions[index])]["input_features"]
        if self.by_speaker:
            scale, shift = self.by_speaker[self.speakers[index]]
            frames = np.asarray(features, dtype=np.float32).reshape(-1, len(scale))  # (frames, features)
            features = (frames * scale + shift).reshape(-1)
        return {"input_features": features, "labels": self.targets[index]}

    def normalize_speakers(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        """Bring every speaker's features to one mean and deviation, (features,), by statistics of their own clips.

        A model that is normalized by that mean and deviation then reads what it reads after `SERPipeline.adapt` to all
        of the speaker's clips here. No label is looked at.
        """
        gathered: dict[str, FeatureStatistics] = {}
        for speaker, one in zip(self.speakers, self.statistics(len(mean)), strict=True):
            gathered.setdefault(speaker, FeatureStatistics(len(mean))).join(one)
        clips = Counter(self.speakers)
        self.by_speaker = {}
        for speaker, statistics in gathered.items():
            if clips[speaker] < FEWEST_CLIPS:
                raise ValueError(
                    f"The speaker {speaker!r} has {clips[speaker]} clips, too few to normalize by: {FEWEST_CLIPS} are "
                    "needed. Leave the speaker out, or leave out --by_speaker."
                )
            own_mean, own_std = shrunk(*statistics.mean_and_std(), mean, std, clips[speaker])
            scale = std / own_std
            self.by_speaker[speaker] = scale.numpy(), (mean - own_mean * scale).numpy()

    def statistics(self, feature_size: int) -> Iterator[FeatureStatistics]:
        """Yield the statistics of each clip's features; a cache that keeps them takes them once for all folds."""
        kept = getattr(self.features, "statistics", None)
        for position in self.positions.tolist():
            yield (
                kept(position, feature_size)
                if kept
                else one_clip(self.features[position]["input_features"], feature_size)
            )


@dataclass(frozen=True)
class Splits:
    """Clips to train on, to choose by and to test on; their speakers are disjoint, unless `make_splits` was told."""

    train: ClipSplit  # clips to learn from
    validation: ClipSplit  # clips to choose the epoch by
    test: ClipSplit  # clips to report figures on

    def items(self) -> list[tuple[str, ClipSplit]]:
        """Return name and clips of each split."""
        return [("train", self.train), ("validation", self.validation), ("test", self.test)]


def keep_labels(rows: datasets.Dataset, labels: Sequence[str] | None) -> tuple[datasets.Dataset, list[str]]:
    """Keep the clips of some emotions."""
    if None in rows.unique("label"):
        raise ValueError(f"{corpus_title(rows)} has clips without an emotion; take a corpus of emotions.")
    column = np.array(rows["label"])
    present = sorted(set(column.tolist()))
    wanted = as_in_corpus(labels, present) if labels else present
    if len(set(wanted)) != len(wanted) or len(wanted) < 2:
        raise ValueError(
            f"At least two different labels are needed, each once; these are {', '.join(map(printable, wanted))}."
        )
    if wanted == present:
        return rows, wanted
    return rows.select(np.flatnonzero(np.isin(column, wanted))), wanted


def name_unknown_speakers(rows: datasets.Dataset) -> datasets.Dataset:
    """Call speakers that nobody knows so, all alike."""
    speakers = rows["speaker"][:]
    if None not in speakers:
        return rows
    named = [UNKNOWN if speaker is None else speaker for speaker in speakers]
    return rows.remove_columns("speaker").add_column("speaker", named)


def choose_fold(
    rows: datasets.Dataset, args: DataArguments, recordings: Mapping[str, str | None] | None = None
) -> Fold:
    """Make or read the fold that the arguments name, and check it; `recordings` as of `unsafe_folds`."""
    if args.folds_file is not None:
        return load_fold(args.folds_file, rows, shares_speakers=args.unsafe_split)
    if args.unsafe_split:
        folds = unsafe_folds(rows, args.num_folds, recordings)
    else:
        folds = speaker_folds(rows, scheme=args.scheme, k=args.num_folds)
    if not 0 <= args.fold < len(folds):
        scheme = "--unsafe_split" if args.unsafe_split else args.scheme
        raise ValueError(f"There is no fold {args.fold}: {scheme} gives {len(folds)}, counted from 0.")
    return folds[args.fold]


def make_splits(
    rows: datasets.Dataset,
    features: datasets.Dataset,
    fold: Fold,
    labels: Sequence[str],
    variants: Sequence[datasets.Dataset] = (),
    *,
    shares_speakers: bool = False,
    tested: bool = True,
    targets: Mapping[str, Sequence[float]] | None = None,
) -> Splits:
    """Join clips, features and classes, split by split; only clips to learn from have variants.

    `shares_speakers` as of `check_disjoint`; `tested` is false for a fold in which everybody trains; `targets`, by id,
    are learned in place of labels and of the raters' shares.
    """
    if tested:  # checked when folds are made, and again here, where they are used
        check_disjoint(fold, rows, shares_speakers=shares_speakers)
    usable = {str(clip): index for index, clip in enumerate(features["id"][:])}
    clips = dict(zip(rows["id"], zip(rows["speaker"], rows["label"], strict=True), strict=True))
    classes = {label: index for index, label in enumerate(labels)}
    targets = shares_of_votes(rows, classes) if targets is None else targets
    if any(list(variant["id"][:]) != list(features["id"][:]) for variant in variants):
        raise ValueError("The variants are not of the same clips as the features; empty the cache of features.")

    def split(name: str, ids: Sequence[str]) -> ClipSplit:
        ids = [clip for clip in ids if clip in usable]
        if not ids and (tested or name == "train"):
            raise ValueError(f"Fold {fold.name!r}: the split {name} has no usable clip left.")
        return ClipSplit(
            features,
            [usable[clip] for clip in ids],
            ids,
            [clips[clip][0] for clip in ids],
            [classes[clips[clip][1]] for clip in ids],
            variants if name == "train" else (),
            targets and [targets[clip] for clip in ids],
        )

    recordings = features.with_format(None)["recording"][:]
    check_recordings(
        {
            name: [(clip, recordings[usable[clip]]) for clip in ids if clip in usable]
            for name, ids in fold.splits.items()
        },
        fold.name,
    )
    splits = Splits(**{name: split(name, ids) for name, ids in fold.splits.items()})
    left = [
        {"id": clip, "speaker": speaker, "label": label} for clip, (speaker, label) in clips.items() if clip in usable
    ]
    check_classes(Fold(**{name: tuple(part.ids) for name, part in splits.items()}, name=fold.name), left)
    return splits


def shares_of_votes(rows: datasets.Dataset, classes: Mapping[str, int]) -> dict[str, list[float]] | None:
    """Return what share of its raters gave each class to a clip, by its id; `None` where a corpus tells no votes.

    Votes for what is no class are left out; a clip without votes has its label's whole.
    """
    if "votes" not in rows.column_names or not any(rows["votes"][:]):
        return None
    shares = {}
    for clip, label, votes in zip(rows["id"], rows["label"], rows["votes"], strict=True):
        counts = [0.0] * len(classes)
        for vote in votes or [{"label": label, "votes": 1.0}]:
            if vote["label"] in classes:
                counts[classes[vote["label"]]] += vote["votes"]
        if not min(counts) >= 0 or not 0 < sum(counts) < np.inf:
            raise ValueError(f"The votes of the clip {clip!r} are {printable(votes)}, which are no numbers of raters.")
        shares[clip] = [count / sum(counts) for count in counts]
    return shares


def check_recordings(splits: Mapping[str, Iterable[tuple[str, str | None]]], fold: str = "") -> None:
    """Assert that no recording is in two splits, under whatever id, speaker or encoding it may be there.

    >>> check_recordings({"train": [("a", "1f")], "test": [("b", "1f")]})
    Traceback (most recent call last):
    ...
    ValueError: Fold '': the clips 'a' of train and 'b' of test are the same recording...
    """
    first: dict[str, tuple[str, str]] = {}
    for split, clips in splits.items():
        for clip, recording in clips:
            if recording is None:
                continue
            other, other_split = first.setdefault(recording, (clip, split))
            if other_split != split:
                raise ValueError(
                    f"Fold {fold!r}: the clips {other!r} of {other_split} and {clip!r} of {split} are the same "
                    "recording. Remove one of them, or correct its speaker."
                )


def balanced_weights(labels: Sequence[int], num_labels: int) -> list[float]:
    """Weigh classes inversely to their size: w_y = N / (K n_y), whose mean over the clips is 1."""
    counts = Counter(int(label) for label in labels)
    missing = [index for index in range(num_labels) if not counts[index]]
    if missing:
        raise ValueError(f"Class {missing[0]} has no training clip to weigh it by.")
    return [len(labels) / (num_labels * counts[index]) for index in range(num_labels)]


def feature_statistics(clips: Iterable[np.ndarray], feature_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimate the mean and standard deviation of each feature over all frames."""
    return normalization(one_clip(clip, feature_size) for clip in clips)[:2]


def one_clip(clip: np.ndarray, feature_size: int) -> FeatureStatistics:
    """Take the statistics of a clip's features, (frames × feature_size,)."""
    statistics = FeatureStatistics(feature_size)
    statistics.add(clip)
    return statistics
