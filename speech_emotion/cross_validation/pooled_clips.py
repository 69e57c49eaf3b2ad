"""The test clips of all folds as one set, once per seed."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speech_emotion.evaluation.metrics import grouped_counts

from .score_store import FoldScores


@dataclass(frozen=True)
class PooledClips:
    """Test clips of every fold, in the order of their ids, scored by the models of each seed."""

    labels: list[str]  # emotions in the order of the classes
    seeds: list[int]  # Seeds, (seeds,)
    ids: list[str]  # name of each clip, (clips,), sorted
    speakers: list[str | None]  # speaker of each clip, (clips,); `None` where unknown
    sexes: list[str | None]  # `"f"`, `"m"` or `None`, (clips,)
    truth: np.ndarray  # true class of each clip, (clips,)
    folds: np.ndarray  # fold in which each clip was tested, (seeds, clips)
    scores: np.ndarray  # probability of each emotion, (seeds, clips, classes)

    @property
    def predictions(self) -> np.ndarray:
        """Class with the highest score, (seeds, clips); of equal ones the first."""
        return self.scores.argmax(axis=-1)

    def seed_counts(self) -> np.ndarray:
        """Return a confusion matrix per seed, (seeds, classes, classes)."""
        seed_numbers = np.repeat(np.arange(len(self.seeds)), len(self.ids))
        truth = np.tile(self.truth, len(self.seeds))
        return grouped_counts(seed_numbers, truth, self.predictions.ravel(), len(self.seeds), len(self.labels))

    def speaker_counts(self) -> tuple[list[str], np.ndarray]:
        """Count true and predicted classes of each speaker, summed over the seeds."""
        counts = self.speaker_seed_counts()
        return counts[0], counts[1].sum(axis=0)

    def speaker_seed_counts(self) -> tuple[list[str], np.ndarray]:
        """Return the speakers, sorted, and the counts of each seed, (seeds, speakers, classes, classes)."""
        nameless = next((clip for clip, name in zip(self.ids, self.speakers, strict=True) if name is None), None)
        if nameless is not None:
            raise ValueError(f"Clip {nameless} has no speaker, so nothing can be counted by speaker.")
        names, numbers = np.unique(np.array(self.speakers, dtype=object), return_inverse=True)
        counts = [
            grouped_counts(numbers, self.truth, predictions, len(names), len(self.labels))
            for predictions in self.predictions
        ]
        return names.tolist(), np.stack(counts)


def pool_folds(seeds: Sequence[Sequence[FoldScores]]) -> PooledClips:
    """Pool the test clips of the folds of each seed."""
    pooled = [_pool_one_seed(folds) for folds in seeds]
    first = pooled[0]
    for other in pooled[1:]:
        if other.ids != first.ids or other.speakers != first.speakers or (other.truth != first.truth).any():
            entry = seeds[0][0]
            raise ValueError(
                f"{entry.corpus}, {entry.system}: seeds {first.seeds[0]} and {other.seeds[0]} were tested on "
                "different clips, speakers or labels. Remove the files of the outdated one and compute it again."
            )
    return PooledClips(
        first.labels,
        [one.seeds[0] for one in pooled],
        first.ids,
        first.speakers,
        first.sexes,
        first.truth,
        np.concatenate([one.folds for one in pooled]),
        np.concatenate([one.scores for one in pooled]),
    )


def _pool_one_seed(folds: Sequence[FoldScores]) -> PooledClips:
    where = f"{folds[0].corpus}, {folds[0].system}, seed {folds[0].seed}"
    if any(fold.labels != folds[0].labels for fold in folds):
        raise ValueError(f"{where}: the folds have different emotions. Remove the outdated files.")
    tests = [fold.select("test") for fold in folds]
    ids = [clip for test in tests for clip in test.clips["id"]]
    if not ids:
        raise ValueError(f"{where}: no fold has test clips.")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    in_order = [ids[index] for index in order]
    twice = next((one for one, other in itertools.pairwise(in_order) if one == other), None)
    if twice is not None:
        raise ValueError(f"{where}: clip {twice} is tested more than once, so the folds cannot be pooled.")

    def column(name: str) -> list[str | None]:
        values = [value for test in tests for value in test.clips[name]]
        return [values[index] for index in order]

    fold_numbers = np.concatenate([np.full(len(test.scores), test.fold) for test in tests])
    return PooledClips(
        folds[0].labels,
        [folds[0].seed],
        in_order,
        column("speaker"),
        column("sex"),
        np.concatenate([test.truth for test in tests])[order],
        fold_numbers[order][None],  # (1, clips)
        np.concatenate([test.scores for test in tests])[order][None],  # (1, clips, classes)
    )


__all__ = ["PooledClips", "pool_folds"]
