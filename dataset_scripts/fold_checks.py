"""What a fold is, and what would make its figures worthless: checked wherever one is made, saved or loaded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from .names import first_few, name_key, natural_order

Scheme = Literal["leave-one-speaker-out", "leave-one-session-out", "k-fold"]
SCHEMES = ("leave-one-speaker-out", "leave-one-session-out", "k-fold")
PART = ("start", "end", "channel")
"""Columns that tell which part of its file a clip is: times in s, and a channel from 0."""
MOST_IN_ONE_CLASS = 0.5
"""Share of speakers who may have clips of one class only."""


@dataclass(frozen=True)
class Fold:
    """Clip ids of three splits.

    Args:
        train: Ids of the clips to learn from.
        validation: Ids of the clips to choose the checkpoint with.
        test: Ids of the clips to report figures on.
        name: Name for files and tables.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    name: str = ""

    @property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """Clip ids by the name of their split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


class Clip(NamedTuple):
    """What folds need to know of a row."""

    id: str
    speaker: str
    label: str
    sex: str | None = None
    session: str | None = None
    file: str | None = None  # of which it is a part


Clips = Mapping[str, Clip]
"""Clips by their ids."""
Rows = Iterable[Mapping[str, Any]] | Clips


def clips_by_id(rows: Rows) -> Clips:
    """Read rows without their audio; what was read before is given back."""
    if isinstance(rows, Mapping):
        return rows
    if hasattr(rows, "select_columns"):  # leaves the audio on disk
        wanted = (*Clip._fields, *PART)
        names = rows.column_names or wanted
        rows = rows.select_columns([name for name in wanted if name in names])
    clips: dict[str, Clip] = {}
    sessions: dict[str, str] = {}
    for index, row in enumerate(rows):
        for column in ("id", "speaker", "label"):
            if column not in row:
                raise ValueError(f"The rows have no column {column!r}, without which no folds can be made")
            if row[column] is None or row[column] == "":
                name = f"clip {row['id']!r}" if column != "id" else f"row {index}"
                raise ValueError(
                    f"The {column} of {name} is unknown, so nothing can keep its speaker out of the other splits. "
                    "Give every clip an id, a speaker and a label, or leave it out. Of recordings of your own the "
                    "speaker is a column of the list, a folder (label/speaker/), or found by --speaker_pattern; where "
                    "nobody knows them, a training takes --unsafe_split true, and its figures are too good"
                )
        if row["id"] in clips:
            raise ValueError(f"The clip id {row['id']!r} occurs more than once in the rows. Ids must be unique")
        clip = Clip(*(row.get(field) for field in Clip._fields))
        if all(row.get(column) is None for column in PART):
            clip = clip._replace(file=None)
        if clip.session is not None:  # "Studio 1" and "studio 1" are one
            clip = clip._replace(session=sessions.setdefault(name_key(str(clip.session)), clip.session))
        clips[row["id"]] = clip
    if not clips:
        raise ValueError("There are no rows to make folds of")
    return clips


def check_disjoint(fold: Fold, rows: Rows, *, shares_speakers: bool = False) -> None:
    """Assert that a fold's splits share no clip, no speaker, no session and no file that clips are parts of.

    With ``shares_speakers`` no clip and no file only: for folds that others published, so that one can be compared
    with them.
    """
    clips = clips_by_id(rows)
    split_of_id: dict[str, str] = {}
    split_of_speaker: dict[str, tuple[str, str]] = {}
    for split, ids in fold.splits.items():
        if not ids:
            raise ValueError(f"Fold {fold.name!r}: the split {split} is empty. Every fold needs all three splits")
        for clip_id in ids:
            if clip_id not in clips:
                raise ValueError(
                    f"Fold {fold.name!r}: the clip {clip_id!r} of {split} is not in the corpus. "
                    "Use the fold with the corpus, configuration and labels that it was made for"
                )
            if clip_id in split_of_id:
                first = split_of_id[clip_id]
                where = f"twice in {split}" if first == split else f"in {first} and in {split}"
                raise ValueError(f"Fold {fold.name!r}: the clip {clip_id!r} is {where}. A clip belongs to one split")
            split_of_id[clip_id] = split
            if shares_speakers:
                continue
            speaker = clips[clip_id].speaker
            # "Anna" and "anna " are one woman.
            first, name = split_of_speaker.setdefault(name_key(speaker), (split, speaker))
            if first != split:
                who = f"speaker {speaker!r}" if name == speaker else f"speaker {name!r}, alias {speaker!r},"
                raise ValueError(
                    f"Fold {fold.name!r}: the {who} is in {first} and in {split}, there with the clip "
                    f"{clip_id!r}. Figures on speakers seen in training are worthless: make folds by speaker"
                )
    mend = "whoever shares dialogues and recording with a tested speaker may not train. Make folds by session, or drop"
    shared = {"session": f"{mend} the column", "file": "parts of one file share its recording. Keep them in one split"}
    for what, why in shared.items():
        trained = {getattr(clips[clip_id], what): clip_id for clip_id in fold.train}
        trained.pop(None, None)
        for split in () if shares_speakers and what == "session" else ("validation", "test"):
            for clip_id in fold.splits[split]:
                value = getattr(clips[clip_id], what)
                if value in trained:
                    raise ValueError(
                        f"Fold {fold.name!r}: the {what} {value!r} is in train, there with the clip "
                        f"{trained[value]!r}, and in {split}, with {clip_id!r}: {why}"
                    )


def check_classes(fold: Fold, rows: Rows) -> None:
    """Assert that every class to be validated or tested is also trained."""
    clips = clips_by_id(rows)
    trained = {clips[clip_id].label for clip_id in fold.train}
    for split in ("validation", "test"):
        missing = sorted({clips[clip_id].label for clip_id in fold.splits[split]} - trained, key=natural_order)
        if missing:
            raise ValueError(
                f"Fold {fold.name!r}: {first_few(missing)} occur(s) in {split} but in no training clip, so it cannot "
                "be learned. Leave it out of the labels, or take fewer or other groups"
            )


def check_confounding(clips: Iterable[Clip]) -> None:
    """Refuse clips most of whose speakers have but one class, so that who speaks tells what is felt."""
    classes_of: dict[str, set[str]] = {}
    for clip in clips:
        classes_of.setdefault(clip.speaker, set()).add(clip.label)
    single = sorted((speaker for speaker, labels in classes_of.items() if len(labels) == 1), key=natural_order)
    if len(set().union(*classes_of.values())) < 2 or len(single) <= MOST_IN_ONE_CLASS * len(classes_of):
        return
    examples = first_few((f"{speaker}: {min(classes_of[speaker])}" for speaker in single), "; ")
    raise ValueError(
        f"Speaker and class are confounded: {len(single)} of {len(classes_of)} speakers have clips of one class only "
        f"({examples}). Whoever recognizes voices would seem to recognize emotions, and no split by speaker can tell "
        "the two apart. Take a corpus whose speakers speak in several classes, or leave those speakers out"
    )
