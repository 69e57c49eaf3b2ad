"""All scores of a system as one long table, a row per fold and clip; every table and figure is a groupby of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from .score_store import CLIP_COLUMNS, SCORE_PREFIX, FoldScores

UNKNOWN = "unknown"  # the group of the clips of which a speaker or sex is not known
OUTDATED = "Remove the files of the outdated one and compute it again."


def score_table(folds: Sequence[FoldScores]) -> pd.DataFrame:
    """Join the clips of folds that have the same emotions, in their order.

    Columns: corpus, system, seed, fold; id, split, speaker, sex, sentence; label and prediction, which are categories
    in the order of the classes; and a `score_<emotion>` of each class.

    >>> clips = {name: ["a"] for name in CLIP_COLUMNS}
    >>> table = score_table([FoldScores("c", "s", 0, 2, ["a", "b"], clips, [[0.25, 0.75]])])
    >>> print(*table.loc[0, ["seed", "fold", "label", "prediction", "score_b"]])
    0 2 a b 0.75
    """
    labels = folds[0].labels
    if any(fold.labels != labels for fold in folds):
        raise ValueError(
            f"{folds[0].corpus}, {folds[0].system}: the folds have different emotions. Remove the outdated files."
        )
    sizes = [len(fold.scores) for fold in folds]
    keys = {name: [getattr(fold, name) for fold in folds] for name in ("corpus", "system", "seed", "fold")}
    columns: dict[str, Any] = {name: np.repeat(values, sizes) for name, values in keys.items()}
    columns |= {name: [value for fold in folds for value in fold.clips[name]] for name in CLIP_COLUMNS}
    scores = np.concatenate([fold.scores for fold in folds])  # (rows, classes), float16
    columns["label"] = pd.Categorical(columns["label"], categories=labels)
    columns["prediction"] = pd.Categorical.from_codes(scores.argmax(axis=1), categories=labels)
    return pd.DataFrame(columns | {SCORE_PREFIX + label: scores[:, place] for place, label in enumerate(labels)})


def truth_and_scores(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the true class, (rows,), and the scores, (rows, classes), of rows of a table."""
    names = [SCORE_PREFIX + label for label in rows["label"].cat.categories]
    return rows["label"].cat.codes.to_numpy(np.int64), rows[names].to_numpy()


@dataclass(frozen=True)
class PooledClips:
    """Test clips of every fold, scored by the models of each seed: a view of their rows."""

    table: pd.DataFrame  # rows of a score table, sorted by seed, then by clip; every seed has the same clips

    @cached_property
    def labels(self) -> list[str]:
        """Emotions in the order of the classes."""
        return self.table["label"].cat.categories.tolist()

    @cached_property
    def seeds(self) -> list[int]:
        """Seeds, (seeds,)."""
        return self.table["seed"].unique().tolist()

    @cached_property
    def ids(self) -> list[str]:
        """Name of each clip, (clips,), sorted."""
        return self._of_clips("id")

    @cached_property
    def speakers(self) -> list[str | None]:
        """Speaker of each clip, (clips,); `None` where unknown."""
        return self._of_clips("speaker")

    @cached_property
    def truth(self) -> np.ndarray:
        """True class of each clip, (clips,)."""
        return truth_and_scores(self.table)[0].reshape(len(self.seeds), -1)[0]

    @cached_property
    def scores(self) -> np.ndarray:
        """Probability of each emotion, (seeds, clips, classes)."""
        return truth_and_scores(self.table)[1].reshape(len(self.seeds), -1, len(self.labels))

    @cached_property
    def predictions(self) -> np.ndarray:
        """Class with the highest score, (seeds, clips); of equal ones the first."""
        return self.table["prediction"].cat.codes.to_numpy(np.int64).reshape(len(self.seeds), -1)

    def counts(self, column: str | None = None) -> np.ndarray:
        """Count true and predicted classes of each seed: (seeds, classes, classes).

        With a column such as "speaker", of each of its values, sorted: (seeds, values, classes, classes).
        """
        by = ["seed"] if column is None else ["seed", column]
        table = self.table if column is None else self.table.fillna({column: UNKNOWN})
        counts = table.groupby([*by, "label", "prediction"], observed=False).size().to_numpy()
        shape = (len(self.seeds), *([] if column is None else [-1]), len(self.labels), len(self.labels))
        return counts.reshape(shape)

    def sizes(self, column: str) -> dict[Any, int]:
        """Count the clips of each value of a column, sorted as `counts` has them."""
        first = self.table[self.table["seed"] == self.seeds[0]]
        return first.fillna({column: UNKNOWN}).groupby(column).size().to_dict()

    def speaker_seed_counts(self) -> tuple[list[str], np.ndarray]:
        """Return the speakers, sorted, and the counts of each seed, (seeds, speakers, classes, classes)."""
        nameless = next((clip for clip, name in zip(self.ids, self.speakers, strict=True) if name is None), None)
        if nameless is not None:
            raise ValueError(f"Clip {nameless} has no speaker, so nothing can be counted by speaker.")
        return list(self.sizes("speaker")), self.counts("speaker")

    def _of_clips(self, column: str) -> list[Any]:
        values = self.table.loc[self.table["seed"] == self.seeds[0], column]
        return values.astype(object).where(values.notna(), None).tolist()


def pool_clips(tests: pd.DataFrame) -> PooledClips:
    """Pool the test clips of the folds of some seeds, which must be the same with each."""
    where = "{corpus}, {system}".format(**tests.iloc[0]) if len(tests) else "the folds"
    if tests.empty:
        raise ValueError(f"{where}: no fold has test clips.")
    twice = tests["id"][tests.duplicated(["seed", "id"])]
    if len(twice):
        raise ValueError(f"{where}: clip {twice.iloc[0]} is tested more than once, so the folds cannot be pooled.")
    table = tests.sort_values(["seed", "id"], ignore_index=True)
    facts = [rows[["id", "speaker", "label"]].reset_index(drop=True) for _, rows in table.groupby("seed")]
    for seed, other in zip(table["seed"].unique()[1:], facts[1:], strict=True):
        if not other.equals(facts[0]):
            raise ValueError(
                f"{where}: seeds {table['seed'][0]} and {seed} were tested on different clips, speakers or labels. "
                f"{OUTDATED}"
            )
    return PooledClips(table)
