import itertools
from typing import Any

import pytest

from dataset_scripts import Fold, check_disjoint, speaker_folds

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
        ({"1": ("a", "b"), "2": ("b", "c")}, "The sessions link all speakers"),
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


def unique(rows: list[Row]) -> list[Row]:
    return [row | {"id": f"{row['id']}-{row['session']}"} for row in rows]


def test_whoever_is_linked_by_sessions_is_kept_together() -> None:
    rows = unique(rows_of({"1": ("a", "b"), "2": ("b", "c"), "3": ("d", "e"), "4": ("f", "g"), "5": ("h", "i")}))
    (first, *_) = speaker_folds(rows)
    assert (members(first.test), members(first.validation)) == ({"a"}, {"b", "c"})
    folds = speaker_folds(rows, "k-fold", k=4)
    tested = [members(fold.test) for fold in folds]
    assert sorted(map(sorted, tested)) == [["a", "b", "c"], ["d", "e"], ["f", "g"], ["h", "i"]]
    assert sorted(clip for fold in folds for clip in fold.test) == sorted(row["id"] for row in rows)
    with pytest.raises(ValueError, match="number of groups of speakers who share no session, here 4; got k=5"):
        speaker_folds(rows, "k-fold", k=5)


def test_days_of_one_speaker_each_are_like_no_sessions() -> None:
    rows = unique(rows_of({"a1": ("a",), "a2": ("a",), "b1": ("b",), "c1": ("c",)}))
    assert members(speaker_folds(rows)[0].validation) == {"b"}
    with pytest.raises(ValueError, match="speaker 'a' is in the sessions 'a1' and 'a2'"):
        speaker_folds(rows, "leave-one-session-out")


def test_a_fold_whose_training_shares_a_session_with_the_test_is_refused() -> None:
    rows = rows_of({"1": ("a", "b"), "2": ("c", "d")})
    ids = {name: tuple(row["id"] for row in rows if row["speaker"] == name) for name in "abcd"}
    check_disjoint(Fold(ids["c"] + ids["d"], ids["a"], ids["b"]), rows)
    with pytest.raises(ValueError, match=r"the session '1' is in train, .* and in test"):
        check_disjoint(Fold(ids["a"], ids["c"], ids["b"]), rows)


def test_two_spellings_of_a_speakers_name_are_one_speaker() -> None:
    rows = rows_of({None: ("Zo\u00eb", "Zoe\u0308", "Ann  Lee", "ann lee", "Bo")})
    ids = {row["speaker"]: row["id"] for row in rows}
    for one, other in (("Zo\u00eb", "Zoe\u0308"), ("Ann  Lee", "ann lee")):
        with pytest.raises(ValueError, match="alias"):
            check_disjoint(Fold((ids[one],), (ids["Bo"],), (ids[other],)), rows)


@pytest.mark.parametrize(
    ("scheme", "k"), [("leave-one-session-out", None), ("leave-one-speaker-out", None), ("k-fold", 3)]
)
def test_a_session_in_two_spellings_is_one(scheme: Any, k: int | None) -> None:
    spellings = ("Studio 1", "studio  1", "S2", "s2", "S3", "s3 ")
    rows = rows_of({session: (speaker,) for session, speaker in zip(spellings, "abcdef", strict=True)})
    partners = {frozenset("ab"), frozenset("cd"), frozenset("ef")}
    folds = speaker_folds(rows, scheme, k)
    for fold in folds:
        others = {one for pair in partners for one in pair if pair & members(fold.test)}
        assert not others & members(fold.train)
    loose = Fold(("a-anger",), ("c-anger",), ("b-anger",))
    with pytest.raises(ValueError, match="the session 'Studio 1' is in train"):
        check_disjoint(loose, rows)
