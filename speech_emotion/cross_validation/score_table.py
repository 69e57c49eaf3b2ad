"""All scores of a corpus as long tables, a row per fold and clip; every table and figure is a groupby of them."""

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from speech_emotion.evaluation.metrics import COUNT_METRICS

from .score_store import CLIP_COLUMNS, SCORE_PREFIX, FoldScores
from .system_names import system_title

UNKNOWN = "unknown"  # the group of the clips of which a speaker or sex is not known
OUTDATED = "Remove the files of the outdated one and compute it again."
# Among the settings of a file: digests of its own fold's clips, and what two files of one fold do that differ in it.
OF_ONE_FOLD = {"fold": "divide the clips differently", "audio": "are of different recordings"}


def score_table(folds: Sequence[FoldScores]) -> pd.DataFrame:
    """Join the clips of folds that have the same emotions, in their order.

    Columns: corpus, system, seed, fold; id, split, speaker, sex, sentence; label and prediction, which are categories
    in the order of the classes; and a `score_<emotion>` of each class.
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


def pooled_metrics(clips: PooledClips, column: str | None = None) -> dict[str, np.ndarray]:
    """Compute each metric of each seed over all test clips, (seeds,), or by a column, (seeds, values)."""
    counts = clips.counts(column)
    return {name: metric(counts) for name, metric in COUNT_METRICS.items()}


@dataclass(frozen=True)
class SystemScores:
    """Scores of one system on one corpus."""

    corpus: str  # name of the corpus
    system: str  # name of the system
    title: str  # what it is called in tables
    parts: dict[tuple[int, int], FoldScores]  # the scores of each (seed, fold) that is there
    planned_seeds: list[int]  # seeds that there should be
    planned_folds: list[int]  # folds that each seed should have

    def __post_init__(self) -> None:
        settings = {_common_settings(part) for part in self.parts.values()}
        if len(settings) > 1:
            raise ValueError(
                f"{self.corpus}, {self.system}: its files were made with {len(settings)} different settings, which "
                "are different systems. Run cross_validate.py again, or remove the outdated files."
            )

    @property
    def labels(self) -> list[str]:
        """Emotions in the order of the classes."""
        return next(iter(self.parts.values())).labels

    @property
    def about(self) -> dict[str, Any]:
        """What its first fold says of itself; the settings of all are the same but for the fold's clips."""
        return next(iter(self.parts.values())).about

    @property
    def seeds(self) -> list[int]:
        """Seeds that have every planned fold."""
        return [seed for seed in self.planned_seeds if seed not in self.missing]

    @property
    def missing(self) -> dict[int, list[int]]:
        """For each seed that is not complete, the folds it lacks."""
        lacking = {
            seed: [fold for fold in self.planned_folds if (seed, fold) not in self.parts]
            for seed in self.planned_seeds
        }
        return {seed: folds for seed, folds in lacking.items() if folds}

    @property
    def missing_text(self) -> str:
        """What is missing, such as "seed 0: folds 2; seeds 1-3: folds 0-2"; empty if nothing is."""
        groups = itertools.groupby(self.missing.items(), key=lambda item: item[1])
        return "; ".join(f"seeds {spans([seed for seed, _ in of])}: folds {spans(folds)}" for folds, of in groups)

    @property
    def finished_text(self) -> str:
        """How many of the planned folds are finished, all seeds together, such as "29 of 30"."""
        return f"{len(self.parts)} of {len(self.planned_seeds) * len(self.planned_folds)}"

    @property
    def hours(self) -> float | None:
        """Hours of computing of every file, those of incomplete seeds included; `None` if a file does not say."""
        return hours_of(self.parts.values())

    def folds_of(self, seed: int) -> list[FoldScores]:
        """Return the scores of all folds of a complete seed."""
        return [self.parts[seed, fold] for fold in self.planned_folds]

    @cached_property
    def clips(self) -> pd.DataFrame:
        """Validation and test clips of the complete seeds, as a score table."""
        if not self.seeds:
            raise ValueError(f"{self.corpus}, {self.system}: no seed is complete ({self.missing_text} missing).")
        return score_table([fold for seed in self.seeds for fold in self.folds_of(seed)])

    @cached_property
    def test(self) -> PooledClips:
        """Test clips of the complete seeds."""
        return pool_clips(self.clips[self.clips["split"] == "test"])


def gather_systems(entries: Iterable[FoldScores], title: Callable[[str], str] = system_title) -> list[SystemScores]:
    """Group the scores of one corpus by system; one that has no title may bring its own."""
    entries = list(entries)
    corpora = sorted({entry.corpus for entry in entries})
    if len(corpora) > 1:
        raise ValueError(f"Systems are compared on one corpus; these are scores of {', '.join(corpora)}.")
    seeds = sorted({entry.seed for entry in entries})
    folds = sorted({entry.fold for entry in entries}.union(*(range(_number_of_folds(entry)) for entry in entries)))
    parts: dict[str, dict[tuple[int, int], FoldScores]] = {}
    for entry in entries:
        of_system = parts.setdefault(entry.system, {})
        if (entry.seed, entry.fold) in of_system:
            raise ValueError(f"{entry.corpus}, {entry.system}: seed {entry.seed}, fold {entry.fold} is there twice.")
        of_system[entry.seed, entry.fold] = entry
    _check_same_folds(entries)
    systems = []
    for name in sorted(parts):
        known = title(name)
        own = next(iter(parts[name].values())).about.get("title", name)
        systems.append(SystemScores(corpora[0], name, own if known == name else known, parts[name], seeds, folds))
    complete = [system for system in systems if system.seeds]
    for other in complete[1:]:
        check_same_clips(complete[0], other)
    return systems


def spans(numbers: Sequence[int]) -> str:
    """Write rising numbers, those in a row by their ends.

    >>> spans([3]), spans([0, 2]), spans([0, 3, 4, 5])
    ('3', '0, 2', '0, 3-5')
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def check_same_clips(one: SystemScores, other: SystemScores) -> None:
    """Refuse to compare systems that were tested on different clips."""
    for what, of_one, of_other in (
        ("emotions", one.test.labels, other.test.labels),
        ("clips", one.test.ids, other.test.ids),
        ("speakers", one.test.speakers, other.test.speakers),
        ("labels", one.test.truth.tolist(), other.test.truth.tolist()),
    ):
        if of_one != of_other:
            raise ValueError(
                f"{one.corpus}: {one.system} and {other.system} were tested on different {what}, so they cannot be "
                f"compared. {OUTDATED}"
            )


def find_system(systems: Sequence[SystemScores], name: str) -> SystemScores | None:
    """Return the system of that name if it has a complete seed."""
    return next((system for system in systems if system.system == name and system.seeds), None)


def hours_of(parts: Iterable[FoldScores]) -> float | None:
    """Sum the hours of computing of some folds; `None` if a file does not say."""
    seconds = [part.about.get("seconds") for part in parts]
    return None if None in seconds else sum(seconds) / 3600


def fold_settings(part: FoldScores) -> dict[str, Any]:
    """What the scores of a file depend on, where it tells."""
    return part.about.get("settings") or {}


def condition_settings(part: FoldScores) -> dict[str, Any]:
    """How clips and folds were chosen, where the file tells: `scheme`, `num_folds`, `part`, …."""
    return fold_settings(part).get("condition") or {}


def _check_same_folds(entries: Sequence[FoldScores]) -> None:
    """Refuse files of which one fold number means several divisions of the clips, or several recordings."""
    known: dict[tuple[str, int], tuple[str, FoldScores]] = {}
    for entry, (name, contrast) in itertools.product(entries, OF_ONE_FOLD.items()):
        digest = fold_settings(entry).get(name)
        if digest is None:
            continue
        first, other = known.setdefault((name, entry.fold), (digest, entry))
        if digest != first:
            raise ValueError(
                f"{entry.corpus}: fold {entry.fold} of {other.system}, seed {other.seed}, and of {entry.system}, seed "
                f"{entry.seed}, {contrast}, so they cannot be compared. {OUTDATED}"
            )


def _common_settings(part: FoldScores) -> str:
    """What all folds of a system share: its settings but the entries that tell one fold's clips."""
    settings = {name: value for name, value in fold_settings(part).items() if name not in OF_ONE_FOLD}
    return json.dumps(settings, sort_keys=True)


def _number_of_folds(part: FoldScores) -> int:
    """How many folds the corpus has, if the file tells; else 0."""
    return part.about.get("folds") or condition_settings(part).get("num_folds") or 0
