"""UAR of groups of clips: each speaker, each sex."""

from collections.abc import Sequence

import numpy as np

from speech_emotion.evaluation.metrics import grouped_counts, ua

from .pooled_clips import PooledClips
from .seed_metrics import MeanSD, mean_sd

UNKNOWN = "unknown"


def uar_by_group(clips: PooledClips, groups: Sequence[str | None]) -> dict[str, MeanSD]:
    """Compute the UAR of each group of clips, over the classes that the group has."""
    if len(groups) != len(clips.ids):
        raise ValueError(f"There are {len(clips.ids)} clips, but groups of {len(groups)}.")
    names, numbers = np.unique([UNKNOWN if group is None else group for group in groups], return_inverse=True)
    by_seed = np.stack(
        [
            ua(grouped_counts(numbers, clips.truth, predictions, len(names), len(clips.labels)))
            for predictions in clips.predictions
        ]
    )  # (seeds, groups)
    return {str(name): mean_sd(by_seed[:, number]) for number, name in enumerate(names)}


def clips_by_group(groups: Sequence[str | None]) -> dict[str, int]:
    """Count the clips of each group, ordered by its name, as `uar_by_group` groups them."""
    names, times = np.unique([UNKNOWN if group is None else group for group in groups], return_counts=True)
    return {str(name): int(number) for name, number in zip(names, times, strict=True)}


__all__ = ["clips_by_group", "uar_by_group"]
