import itertools
from typing import Any

import pytest

from dataset_scripts import speaker_folds

Row = dict[str, Any]


def rows_of(sessions: dict[str | None, tuple[str, ...]]) -> list[Row]:
    return [
        {"id": f"{speaker}-{label}", "speaker": speaker, "label": label, "session": session}
        for session, speakers in sessions.items()
        for speaker, label in itertools.product(speakers, ("anger", "fear"))
    ]


def members(ids: tuple[str, ...]) -> set[str]:
    return {clip_id.split("-")[0] for clip_id in ids}


def test_all_who_share_a_session_validate() -> None:
    folds = speaker_folds(rows_of({"1": ("a", "b", "c"), "2": ("d", "e")}))
    assert [(members(fold.test), members(fold.validation), members(fold.train)) for fold in folds] == [
        ({"a"}, {"b", "c"}, {"d", "e"}),
        ({"b"}, {"a", "c"}, {"d", "e"}),
        ({"c"}, {"a", "b"}, {"d", "e"}),
        ({"d"}, {"e"}, {"a", "b", "c"}),
        ({"e"}, {"d"}, {"a", "b", "c"}),
    ]


def test_sessions_of_one_speaker_are_like_none() -> None:
    folds = speaker_folds(rows_of({"1": ("a",), "2": ("b",), "3": ("c",)}))
    assert members(folds[0].validation) == {"b"}


@pytest.mark.parametrize(
    ("sessions", "message"),
    [
        ({"1": ("a", "b"), "2": ("c",)}, "c is alone in a session, others are not"),
        ({"1": ("a", "b"), None: ("c", "d")}, "session of 'c-anger' is unknown, those of other clips are known"),
        ({"1": ("a", "b"), "2": ("b", "c")}, "speaker 'b' is in the sessions '1' and '2'"),
    ],
)
def test_sessions_that_allow_no_leave_one_speaker_out(
    sessions: dict[str | None, tuple[str, ...]], message: str
) -> None:
    rows = {row["id"] + str(row["session"]): row for row in rows_of(sessions)}
    unique = [row | {"id": clip_id} for clip_id, row in rows.items()]
    with pytest.raises(ValueError, match=message.replace("'c-anger'", "'c-angerNone'")):
        speaker_folds(unique)


def test_half_of_the_speakers_in_one_class_is_the_limit() -> None:
    both = rows_of({None: ("a", "b", "c")})
    single = [{"id": f"{s}-{e}", "speaker": s, "label": e} for s, e in (("d", "anger"), ("e", "fear"), ("f", "fear"))]
    assert len(speaker_folds(both + single)) == 6
    with pytest.raises(ValueError, match=r"confounded: 4 of 7 speakers .*\(d: anger; e: fear; f: fear; …\)"):
        speaker_folds([*both, *single, {"id": "g-fear", "speaker": "g", "label": "fear"}])


def test_a_corpus_of_one_class_is_not_confounded() -> None:
    rows = [{"id": s, "speaker": s, "label": "fear"} for s in "abc"]
    assert len(speaker_folds(rows)) == 3
