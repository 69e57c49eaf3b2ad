"""Which speakers of a transcribed corpus train, which choose, which are tested."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import datasets

from dataset_scripts import Fold, check_disjoint, load_fold
from dataset_scripts.names import natural_order

from .ctc_arguments import CTCDataArguments

CHILD, ADULT, ANY_AGE = "children", "adults", "all ages"
ADULT_AGE = 16
# What folds are made of; the audio stays on disk.
COLUMNS = ("id", "speaker", "label", "sex", "age", "session", "split")
# Folds are files about labels; speech without emotions has none.
NO_LABEL = "none"


def age_group(age: int | None) -> str:
    """Name the group that a speaker's figures belong to.

    >>> age_group(6), age_group(16), age_group(None)
    ('children', 'adults', 'all ages')
    """
    if age is None:
        return ANY_AGE
    return CHILD if age < ADULT_AGE else ADULT


def speaker_rows(rows: datasets.Dataset) -> list[dict[str, Any]]:
    """Read what is known of each clip's speaker."""
    known = rows.select_columns([name for name in COLUMNS if name in rows.column_names])
    return [dict.fromkeys(COLUMNS) | row | {"label": row.get("label") or NO_LABEL} for row in known]


def choose_speakers(rows: Sequence[Mapping[str, Any]], number: int) -> list[str]:
    """Choose speakers who stand for all: of each age group its share, of each sex its share of that, of all ages.

    >>> people = [("a", "f", 8), ("b", "f", 9), ("c", "f", 9), ("d", "m", 30), ("e", "m", 31), ("f", "m", 40)]
    >>> choose_speakers([dict(zip(("speaker", "sex", "age"), person)) for person in people], 2)
    ['b', 'e']
    """
    about: dict[str, tuple[str | None, int | None]] = {}
    for row in rows:
        this = row["sex"], row["age"]
        if about.setdefault(row["speaker"], this) != this:
            raise ValueError(f"The speaker {row['speaker']!r} has two sexes or ages: {about[row['speaker']]}, {this}.")
    if not 1 <= number < len(about):
        raise ValueError(
            f"Cannot take {number} of {len(about)} training speakers to validate; take at least 1, not all."
        )
    groups: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for speaker, (sex, age) in sorted(about.items(), key=lambda item: (item[1][1] or 0, natural_order(item[0]))):
        groups[age_group(age)][str(sex)].append(speaker)
    sizes = {group: sum(map(len, sexes.values())) for group, sexes in groups.items()}
    chosen = []
    for group, of_group in shares(number, sizes).items():
        of_sexes = shares(of_group, {sex: len(members) for sex, members in groups[group].items()})
        for sex, count in of_sexes.items():
            members = groups[group][sex]  # from the youngest to the oldest, so that equal steps meet all ages
            chosen += [members[int((place + 0.5) * len(members) / count)] for place in range(count)]
    return sorted(chosen, key=natural_order)


def shares(number: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """Divide places in proportion, rounding by largest remainders.

    >>> shares(3, {"f": 10, "m": 20}), shares(1, {"f": 1, "m": 1})
    ({'f': 1, 'm': 2}, {'f': 1, 'm': 0})
    """
    quotas = {part: number * size / sum(sizes.values()) for part, size in sizes.items()}
    places = {part: int(quota) for part, quota in quotas.items()}
    by_remainder = sorted(quotas, key=lambda part: (places[part] - quotas[part], part))
    for part in by_remainder[: number - sum(places.values())]:
        places[part] += 1
    return places


def choose_transcribed_fold(rows: datasets.Dataset, args: CTCDataArguments) -> Fold:
    """Divide a corpus: by a file of folds, or by its official halves and some of the training speakers."""
    clips = speaker_rows(rows)
    if args.folds_file is not None:
        return load_fold(args.folds_file, clips)
    halves = {clip["split"] for clip in clips}
    if halves != {"train", "test"}:
        raise ValueError(
            f"{args.corpus} is not published in a training and a test half; say who trains, validates and is tested "
            "by --folds_file, a file of JSON lines with id, speaker, label and split."
        )
    validating = set(choose_speakers([clip for clip in clips if clip["split"] == "train"], args.validation_speakers))
    splits: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for clip in clips:
        chooses = clip["split"] == "train" and clip["speaker"] in validating
        splits["validation" if chooses else clip["split"]].append(clip["id"])
    fold = Fold(**{name: tuple(ids) for name, ids in splits.items()}, name="official")
    check_disjoint(fold, clips)
    return fold


__all__ = ["age_group", "choose_speakers", "choose_transcribed_fold", "shares", "speaker_rows"]
