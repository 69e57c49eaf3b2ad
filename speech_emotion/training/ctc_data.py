"""Transcribed clips: whose they are, what was said in letters, and splits of them as Trainer reads them."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import datasets
import numpy as np
from transformers import PreTrainedTokenizerBase

from dataset_scripts import Fold, check_disjoint, load_fold
from dataset_scripts.names import natural_order

from .arguments import CTCDataArguments
from .splits import ClipSplit

logger = logging.getLogger(__name__)

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
    """Choose speakers who stand for all: of each age group its share, of each sex its share of that, of all ages."""
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


def normalize_transcript(text: str) -> str:
    """Write a transcript as DeepSpeech's alphabet does: in lower case, single spaces between words."""
    return " ".join(text.lower().split())


def encode_transcript(text: str, vocabulary: dict[str, int], clip: str) -> list[int]:
    """Look up the letters of a transcript."""
    if not text:
        raise ValueError(f"The clip {clip!r} has no transcript; leave it out.")
    unknown = sorted(set(text) - vocabulary.keys())
    if unknown:
        raise ValueError(
            f"The transcript of the clip {clip!r}, {text!r}, has {', '.join(map(repr, unknown))}, which the alphabet "
            "has not. Spell it out, or leave the clip out."
        )
    return [vocabulary[letter] for letter in text]


def fewest_frames(labels: list[int]) -> int:
    """Count the frames that CTC needs for a transcript: one for each letter, and a blank within each double letter.

    >>> fewest_frames([3, 1, 12, 12])
    5
    """
    return len(labels) + sum(one == other for one, other in pairwise(labels))


def decode_greedily(labels: Iterable[np.ndarray], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Turn the best label of every frame into text: repetitions merged, blanks removed, as the pipeline does."""
    return [tokenizer.decode(row[row >= 0].tolist()) for row in labels]


class TranscribedSplit(ClipSplit):
    """Clips of one split with their transcripts; the features stay in the cache on disk."""

    def __init__(
        self,
        features: datasets.Dataset,
        positions: Sequence[int],
        clips: Sequence[Mapping[str, Any]],
        labels: Sequence[Sequence[int]],
    ) -> None:
        super().__init__(
            features, positions, [clip["id"] for clip in clips], [clip["speaker"] for clip in clips], labels
        )
        self.transcripts = [clip["transcript"] for clip in clips]
        self.groups = [age_group(clip["age"]) for clip in clips]


def make_transcribed_split(
    name: str,
    rows: datasets.Dataset,
    features: datasets.Dataset,
    vocabulary: dict[str, int],
    skip_bad: bool = False,
) -> TranscribedSplit:
    """Join clips, transcripts and features."""
    if "transcript" not in rows.column_names:
        raise ValueError("The corpus has no transcripts (no column 'transcript'), which recognition is learned from.")
    known = [column for column in ("id", "speaker", "age", "transcript") if column in rows.column_names]
    usable = {str(clip): index for index, clip in enumerate(features["id"][:])}
    num_frames = np.asarray(features["num_frames"][:])
    kept = []
    for row in rows.select_columns(known):
        position = usable.get(row["id"])
        if position is None:
            continue
        clip = {"age": None} | row | {"transcript": normalize_transcript(row["transcript"] or "")}
        try:
            labels = encode_transcript(clip["transcript"], vocabulary, clip["id"])
            if num_frames[position] < fewest_frames(labels):
                raise ValueError(
                    f"The clip {clip['id']!r} has {num_frames[position]} frames, too few for its transcript "
                    f"{clip['transcript']!r}. Correct one of them, or leave the clip out."
                )
        except ValueError as error:
            if not skip_bad:
                raise
            logger.warning("Skipped: %s", error)
            continue
        kept.append((position, clip, labels))
    if not kept:
        raise ValueError(f"The split {name} has no usable clip left.")
    kept.sort(key=lambda entry: num_frames[entry[0]])
    positions, clips, labels = zip(*kept, strict=True)
    return TranscribedSplit(features, positions, clips, labels)
