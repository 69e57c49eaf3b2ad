"""Speaker-disjoint folds: who trains, who chooses the checkpoint, who is tested."""

from collections.abc import Iterable, Mapping
from itertools import cycle
from random import Random
from typing import Any

from .fold_checks import SCHEMES, Clips, Fold, Scheme, check_classes, check_confounding, check_disjoint, clips_by_id
from .names import first_few, natural_order


def speaker_folds(
    rows: Iterable[Mapping[str, Any]], scheme: Scheme = "leave-one-speaker-out", k: int | None = None, seed: int = 0
) -> list[Fold]:
    """Make the folds of a cross-validation in which no speaker is in two splits.

    The speakers are divided into groups: of one, of one session's, or, for ``"k-fold"``, into ``k`` groups that are
    alike in size, classes and sexes (``fold_balance`` says how). Fold i tests group i and validates on group i + 1,
    after the last one the first; all others train. So every clip is tested once, and never by a model that was trained
    or chosen on its speaker.

    Where clips have sessions, nobody trains who shares one with a speaker to be tested or to validate: they share its
    dialogues and its recording. ``"leave-one-speaker-out"`` validates on those who share the tested one's, and
    ``"k-fold"`` keeps them in one group.

    Args:
        rows: A ``datasets.Dataset`` or a list of dicts with ``id``, ``speaker`` and ``label``, and ``sex`` and
            ``session`` where known.
        scheme: How to divide the speakers.
        k: Number of groups, at least 3; for ``"k-fold"`` only.
        seed: For ``"k-fold"``: which of equally good divisions is taken.

    Returns:
        Folds in the order of their test groups, each checked by ``check_disjoint`` and ``check_classes``.

    Raises:
        ValueError: If a speaker or session is unknown, there are fewer than 3 groups, sessions link all speakers or,
            where they are to be left out, share one, a class to be tested has no training clip, or most speakers have
            but one class.

    Example:
        >>> rows = [{"id": f"{s}{e}", "speaker": s, "label": e} for s in ("m1", "m2", "m3") for e in ("anger", "fear")]
        >>> fold = speaker_folds(rows)[0]
        >>> fold.name, fold.test, fold.validation
        ('leave-one-speaker-out-m1', ('m1anger', 'm1fear'), ('m2anger', 'm2fear'))
    """
    if scheme not in SCHEMES:
        raise ValueError(f"There is no scheme {scheme!r}. Known schemes: {', '.join(SCHEMES)}")
    if scheme == "k-fold" and k is None:
        raise ValueError("The scheme 'k-fold' needs the number of folds: --num_folds, or k")
    if scheme != "k-fold" and k is not None:
        raise ValueError(f"A number of folds (--num_folds, or k: {k}) is for the scheme 'k-fold', not for {scheme!r}")
    clips = clips_by_id(rows)
    check_confounding(clips.values())
    validations = None
    if scheme == "k-fold":
        names, groups = _k_fold(clips, k, seed)
    elif scheme == "leave-one-session-out":
        names, groups = _by_session(clips)
    else:
        groups = [[speaker] for speaker in _sorted(clip.speaker for clip in clips.values())]
        names = [f"{scheme}-{speaker}" for (speaker,) in groups]
        validations = _partners(clips)
    if len(groups) < 3:
        raise ValueError(
            f"{scheme} needs at least 3 groups of speakers, one to test, one to validate and the rest to train; "
            f"there are {len(groups)}: {'; '.join(map(first_few, groups))}"
        )
    folds = []
    for i, name in enumerate(names):
        test, validation = set(groups[i]), set(groups[(i + 1) % len(groups)])
        if validations:
            validation = validations[groups[i][0]]
        fold = Fold(
            train=tuple(clip.id for clip in clips.values() if clip.speaker not in test | validation),
            validation=tuple(clip.id for clip in clips.values() if clip.speaker in validation),
            test=tuple(clip.id for clip in clips.values() if clip.speaker in test),
            name=name,
        )
        check_disjoint(fold, clips)
        check_classes(fold, clips)
        folds.append(fold)
    return folds


def unsafe_folds(
    rows: Iterable[Mapping[str, Any]], k: int | None = None, recordings: Mapping[str, str | None] | None = None
) -> list[Fold]:
    """Divide clips at random, each class evenly, whoever speaks: where speakers are unknown and that must do.

    Figures are too good, by tens of points perhaps: a voice that was heard in training is known.

    Args:
        rows: As of ``speaker_folds``.
        k: Number of groups, at least 3, 10 by default; fold i tests group i and validates on the next.
        recordings: By id what tells one recording from another; the same recording is in one split only, as
            are parts of one file.

    Returns:
        Folds named ``unsafe-…``.

    Raises:
        ValueError: If there are fewer than 3 groups, or a class to be tested has no training clip.
    """
    clips, k = clips_by_id(rows), 10 if k is None else k
    if k < 3:
        raise ValueError(f"Clips are divided into at least 3 groups (test, validation, training); got k={k}")
    same: dict[tuple[str, str], list[str]] = {}
    classes: dict[str, list[list[str]]] = {}
    for clip in clips.values():
        recording = (recordings or {}).get(clip.id)
        key = ("clip", clip.id) if recording is None else ("recording", recording)
        key = ("file", clip.file) if clip.file is not None else key
        if key not in same:
            same[key] = []
            classes.setdefault(clip.label, []).append(same[key])
        same[key].append(clip.id)
    dice, groups = Random(0), [set() for _ in range(k)]
    dealt = cycle(groups)
    for label in _sorted(classes):
        dice.shuffle(classes[label])
        for alike in classes[label]:
            next(dealt).update(alike)
    folds = []
    for i in range(k):
        test, validation = groups[i], groups[(i + 1) % k]
        fold = Fold(
            train=tuple(clip for clip in clips if clip not in test | validation),
            validation=tuple(clip for clip in clips if clip in validation),
            test=tuple(clip for clip in clips if clip in test),
            name=f"unsafe-{k}-fold-{i}",
        )
        check_disjoint(fold, clips, shares_speakers=True)
        check_classes(fold, clips)
        folds.append(fold)
    return folds


def _k_fold(clips: Clips, k: int, seed: int) -> tuple[list[str], list[list[str]]]:
    from .fold_balance import balanced_groups  # imports numpy

    units = _linked_speakers(clips)
    if not 3 <= k <= len(units):
        linked = any(len(unit) > 1 for unit in units)
        what = "groups of speakers who share no session" if linked else "speakers"
        raise ValueError(
            f"k-fold needs a k of at least 3 (test, validation, training) and at most the number of {what}, "
            f"here {len(units)}; got k={k}"
        )
    unit_of = {speaker: unit for unit in units for speaker in unit}
    # Whoever shares a session is one speaker to the division, of no sex where there are both.
    merged = [
        clip._replace(speaker=unit[0], sex=clip.sex if len(unit) == 1 else None)
        for clip in clips.values()
        for unit in [unit_of[clip.speaker]]
    ]
    groups = balanced_groups(merged, k, seed)
    names = [f"{k}-fold-{i}" for i in range(k)]
    return names, [_sorted(speaker for first in group for speaker in unit_of[first]) for group in groups]


def _linked_speakers(clips: Clips) -> list[list[str]]:
    """Group the speakers who are linked by sessions, be it over others; each alone where clips have no sessions."""
    unknown = next((clip.id for clip in clips.values() if clip.session is None), None)
    if unknown is not None and any(clip.session is not None for clip in clips.values()):
        raise ValueError(
            f"The session of {unknown!r} is unknown, those of other clips are known: whoever shares the tested "
            "speaker's dialogues cannot be kept from training. Give every clip its session, or drop the column"
        )
    group_of = {clip.speaker: {clip.speaker} for clip in clips.values()}
    first_in: dict[str, str] = {}
    for clip in clips.values() if unknown is None else ():
        one, other = group_of[clip.speaker], group_of[first_in.setdefault(clip.session, clip.speaker)]
        if one is not other:
            one |= other
            group_of.update(dict.fromkeys(one, one))
    groups = {id(group): group for group in group_of.values()}
    if len(groups) == 1 and len(group_of) > 1:
        raise ValueError(
            "The sessions link all speakers, so that nobody is left to train. If whoever shares one shares no "
            "dialogues and no recording, drop the column session; the session of parts of files is their file"
        )
    return sorted((_sorted(group) for group in groups.values()), key=lambda group: natural_order(group[0]))


def _by_session(clips: Clips) -> tuple[list[str], list[list[str]]]:
    speakers_of: dict[str, set[str]] = {}
    session_of: dict[str, str] = {}
    for clip in clips.values():
        if clip.session is None:
            raise ValueError(
                f"leave-one-session-out needs the session of every clip, but that of {clip.id!r} is unknown. "
                "For a corpus without sessions take leave-one-speaker-out or k-fold"
            )
        speakers_of.setdefault(clip.session, set()).add(clip.speaker)
        if session_of.setdefault(clip.speaker, clip.session) != clip.session:
            raise ValueError(
                f"The speaker {clip.speaker!r} is in the sessions {session_of[clip.speaker]!r} and {clip.session!r}, "
                "so to leave one session out would not leave its speakers out. Take another scheme"
            )
    sessions = _sorted(speakers_of)
    return [f"leave-one-session-out-{name}" for name in sessions], [_sorted(speakers_of[name]) for name in sessions]


def _partners(clips: Clips) -> dict[str, set[str]] | None:
    """Return the speakers linked to each by sessions; ``None`` where everybody is alone in theirs."""
    partners = {speaker: set(unit) - {speaker} for unit in _linked_speakers(clips) for speaker in unit}
    alone = _sorted(speaker for speaker, others in partners.items() if not others)
    if alone and len(alone) < len(partners):
        raise ValueError(
            f"{first_few(alone)} is alone in a session, others are not, so nobody there can validate. "
            "Take leave-one-session-out or k-fold"
        )
    return None if alone else partners


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(set(names), key=natural_order)
