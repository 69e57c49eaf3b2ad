import itertools
from collections import Counter
from typing import Any

import pytest

from dataset_scripts import Fold, check_classes, check_disjoint, speaker_folds
from dataset_scripts.fold_balance import balanced_groups
from dataset_scripts.fold_checks import clips_by_id

Row = dict[str, Any]


def corpus(
    speakers: str | list[str], labels: tuple[str, ...] = ("anger", "fear"), clips: int = 2, **columns: Any
) -> list[Row]:
    return [
        {"id": f"{speaker}-{label}-{i}", "speaker": speaker, "label": label, **columns}
        for speaker, label, i in itertools.product(speakers, labels, range(clips))
    ]


def in_sessions(sessions: dict[str | None, Any]) -> list[Row]:
    """Clips of each session's speakers; whoever is in two has clips in both."""
    rows = [row | {"session": session} for session, speakers in sessions.items() for row in corpus(speakers, clips=1)]
    return [row | {"id": f"{row['id']}-{row['session']}"} for row in rows]


def members(ids: tuple[str, ...]) -> set[str]:
    return {clip_id.split("-")[0] for clip_id in ids}


def groups_of(rows: list[Row], k: int, seed: int = 0) -> list[list[str]]:
    return balanced_groups(clips_by_id(rows).values(), k, seed)


def test_leave_one_speaker_out() -> None:
    rows = corpus(["m10", "m2", "m1", "m3"])
    folds = speaker_folds(rows)
    assert [members(fold.test) for fold in folds] == [{"m1"}, {"m2"}, {"m3"}, {"m10"}]
    assert [members(fold.validation) for fold in folds] == [{"m2"}, {"m3"}, {"m10"}, {"m1"}]
    assert [fold.name for fold in folds] == [f"leave-one-speaker-out-{name}" for name in ("m1", "m2", "m3", "m10")]
    assert sorted(itertools.chain(*(fold.test for fold in folds))) == sorted(row["id"] for row in rows)
    for fold in folds:
        assert sorted(fold.train + fold.validation + fold.test) == sorted(row["id"] for row in rows)


def test_leave_one_session_out() -> None:
    rows = in_sessions({f"Ses0{n}": [f"Ses0{n}_F", f"Ses0{n}_M"] for n in (1, 2, 3)})
    first, _, last = speaker_folds(rows, "leave-one-session-out")
    assert members(first.test) == members(last.validation) == {"Ses01_F", "Ses01_M"}
    assert members(first.validation) == {"Ses02_F", "Ses02_M"}
    assert last.name == "leave-one-session-out-Ses03"


def test_numbered_and_balanced_speakers_make_consecutive_blocks() -> None:
    rows = [row for n in range(1, 25) for row in corpus([f"A{n:02}"], clips=20, sex="fm"[n % 2])]
    blocks = [[f"A{4 * g + n:02}" for n in (1, 2, 3, 4)] for g in range(6)]
    assert groups_of(rows, 6, seed=3) == blocks
    assert groups_of(rows[1:], 6) == blocks  # a missing clip changes nothing


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_uneven_speakers_are_balanced_by_class_and_sex(seed: int) -> None:
    # In order of name all women come first, and half of the speakers hardly have anger: blocks would be lopsided.
    rows = []
    for number in range(12):
        for label, clips in (("anger", 2 if number % 2 else 12), ("fear", 8)):
            rows += corpus([f"s{number:02}"], (label,), clips, sex="f" if number < 6 else "m")
    row_of = {row["id"]: row for row in rows}
    for fold in speaker_folds(rows, "k-fold", k=3, seed=seed):
        sexes = {row_of[i]["speaker"]: row_of[i]["sex"] for i in fold.test}
        assert Counter(sexes.values()) == {"f": 2, "m": 2}
        assert Counter(row_of[i]["label"] for i in fold.test) == {"anger": 28, "fear": 32}


def test_exchanges_mend_what_greedy_placing_leaves() -> None:
    sizes = {"a": 7, "b": 7, "c": 6, "d": 6, "e": 5, "f": 5, "g": 6, "h": 6, "i": 6}
    rows = [row for speaker, clips in sizes.items() for row in corpus([speaker], ("fear",), clips)]
    assert [sum(sizes[speaker] for speaker in group) for group in groups_of(rows, 3)] == [18, 18, 18]


def test_no_group_stays_empty_though_speakers_share_neither_class_nor_sex() -> None:
    parts = (("a", ("anger", "fear"), "f"), ("b", ("calm", "other"), "m"), ("c", ("boredom", "sadness"), None))
    rows = [row for name, labels, sex in parts for row in corpus([name], labels, sex=sex)]
    assert groups_of(rows, 3) == [["a"], ["b"], ["c"]]


def test_k_folds_are_deterministic_whatever_the_order_of_rows() -> None:
    rows = [row for i in range(11) for row in corpus([f"s{i}"], clips=1 + i % 4, sex="fm"[i % 3 == 0])]
    assert [members(f.test) for f in speaker_folds(rows, "k-fold", k=4, seed=5)] == [
        members(f.test) for f in speaker_folds(rows[::-1], "k-fold", k=4, seed=5)
    ]


SESSIONS, K_FOLD = {"scheme": "leave-one-session-out"}, {"scheme": "k-fold"}
BAD = {
    "two speakers": (corpus("ab"), {}, r"at least 3 groups .* there are 2: a; b"),
    "unknown scheme": (corpus("abc"), {"scheme": "random"}, "no scheme 'random'. Known schemes: leave-one"),
    "no k": (corpus("abc"), K_FOLD, r"needs the number of folds: --num_folds"),
    "k without k-fold": (corpus("abc"), {"k": 3}, r"\(--num_folds, or k: 3\)"),
    "k of 2": (corpus("abc"), {**K_FOLD, "k": 2}, "k of at least 3 .* got k=2"),
    "k too large": (corpus("abc"), {**K_FOLD, "k": 4}, "number of speakers, here 3; got k=4"),
    "no session": (corpus("abc"), SESSIONS, "needs the session of every clip"),
    "no rows": ([], {}, "no rows"),
    "no speaker": ([*corpus("abc"), {"id": "x", "speaker": None, "label": "fear"}], {}, "speaker of .* 'x'"),
    "no label": ([*corpus("abc"), {"id": "x", "speaker": "a", "label": None}], {}, "label of clip 'x'"),
    "no id": ([{"id": None, "speaker": "a", "label": "fear"}], {}, "id of row 0 is unknown"),
    "no column": ([{"id": "x", "label": "fear"}], {}, "no column 'speaker'"),
    "double id": (corpus("abca"), {}, "id 'a-anger-0' occurs more than once"),
    "class of one speaker": ([*corpus("abc"), *corpus("a", ("joy",))], {}, "joy .* in no training clip"),
    "in two sessions": (in_sessions({s: "a" for s in "123"}), SESSIONS, "'a' is in the sessions '1' and '2'"),
    "days of one speaker": (in_sessions({"a1": "a", "a2": "a", "b": "b"}), SESSIONS, "sessions 'a1' and 'a2'"),
    "alone in a session": (in_sessions({"1": "ab", "2": "c"}), {}, "c is alone in a session, others are not"),
    "unknown session": (in_sessions({"1": "ab", None: "cd"}), {}, "session of 'c-anger-0-None' is unknown"),
    "all linked": (in_sessions({"1": "ab", "2": "bc"}), {}, "The sessions link all speakers"),
    "spelled in two ways": (corpus(["Anna", "Bob", "anna "]), {}, "speaker 'anna ', alias 'Anna', is in"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_allows_no_folds_is_told(case: str) -> None:
    rows, arguments, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        speaker_folds(rows, **arguments)


def test_half_of_the_speakers_in_one_class_is_the_limit() -> None:
    both = corpus("abc", clips=1)
    single = [*corpus("d", ("anger",), 1), *corpus("ef", ("fear",), 1)]
    assert len(speaker_folds(both + single)) == 6
    with pytest.raises(ValueError, match=r"confounded: 4 of 7 speakers .*\(d: anger; e: fear; f: fear; …\)"):
        speaker_folds([*both, *single, *corpus("g", ("fear",), 1)])
    assert len(speaker_folds(corpus("abc", ("fear",)))) == 3  # one class is not confounded


ROWS = corpus("abc", ("fear",))
A, B, C = (tuple(f"{s}-fear-{i}" for i in (0, 1)) for s in "abc")
PAIRS = in_sessions({"1": "ab", "2": "cd"})
ONE = {speaker: tuple(row["id"] for row in PAIRS if row["speaker"] == speaker) for speaker in "abcd"}
NAMED = corpus(["Zo\u00eb", "Zoe\u0308", "Ann  Lee", "ann lee", "Bo"], ("fear",), 1)
WORTHLESS = {
    "no test": (ROWS, Fold(A, B, (), "x"), "Fold 'x': the split test is empty"),
    "no training": (ROWS, Fold((), B, C), "train is empty"),
    "unknown clip": (ROWS, Fold(A, B, (*C, "d-fear-0")), "'d-fear-0' of test is not in the corpus"),
    "clip twice": (ROWS, Fold((*A, A[0]), B, C), "'a-fear-0' is twice in train"),
    "clip in two splits": (ROWS, Fold(A, B, (*C, A[0])), "'a-fear-0' is in train and in test"),
    "tested speaker": (ROWS, Fold(A[:1], B, (*C, A[1])), "speaker 'a' is in train and in test, .* clip 'a-fear-1'"),
    "validating speaker": (ROWS, Fold(A[:1], (*B, A[1]), C), "speaker 'a' is in train and in validation"),
    "id of two speakers": ([*ROWS, ROWS[0] | {"speaker": "z"}], Fold(A, B, C), "'a-fear-0' occurs more than once"),
    "session": (PAIRS, Fold(ONE["a"], ONE["c"], ONE["b"]), r"the session '1' is in train, .* and in test"),
    "accent": (NAMED, Fold(("Zo\u00eb-fear-0",), ("Bo-fear-0",), ("Zoe\u0308-fear-0",)), "alias"),
    "spaces": (NAMED, Fold(("Ann  Lee-fear-0",), ("Bo-fear-0",), ("ann lee-fear-0",)), "alias"),
}  # fmt: skip


@pytest.mark.parametrize("case", WORTHLESS)
def test_leaks_are_found(case: str) -> None:
    rows, fold, message = WORTHLESS[case]
    with pytest.raises(ValueError, match=message):
        check_disjoint(fold, rows)


def test_what_is_no_leak() -> None:
    check_disjoint(Fold(A[:1], B, C), ROWS)  # a fold may use part of the corpus
    check_disjoint(Fold(ONE["c"] + ONE["d"], ONE["a"], ONE["b"]), PAIRS)


def test_folds_that_share_speakers_share_no_clip_though() -> None:
    fold = Fold(A[:1], B, (*C, A[1]))
    check_disjoint(fold, ROWS, shares_speakers=True)
    check_disjoint(Fold(ONE["a"], ONE["c"], ONE["b"]), PAIRS, shares_speakers=True)
    for case in ("no test", "unknown clip", "clip twice", "clip in two splits"):
        rows, fold, message = WORTHLESS[case]
        with pytest.raises(ValueError, match=message):
            check_disjoint(fold, rows, shares_speakers=True)


def test_classes_must_be_trained() -> None:
    rows = [row | {"label": "joy"} if row["speaker"] == "c" else row for row in ROWS]
    with pytest.raises(ValueError, match=r"Fold 'y': joy occur\(s\) in test but in no training clip"):
        check_classes(Fold(A, B, C, "y"), rows)


def test_all_who_share_a_session_validate() -> None:
    folds = speaker_folds(in_sessions({"1": "abc", "2": "de"}))
    assert [(members(fold.test), members(fold.validation), members(fold.train)) for fold in folds] == [
        ({"a"}, {"b", "c"}, {"d", "e"}),
        ({"b"}, {"a", "c"}, {"d", "e"}),
        ({"c"}, {"a", "b"}, {"d", "e"}),
        ({"d"}, {"e"}, {"a", "b", "c"}),
        ({"e"}, {"d"}, {"a", "b", "c"}),
    ]


@pytest.mark.parametrize("sessions", [{"1": "a", "2": "b", "3": "c"}, {"a1": "a", "a2": "a", "b1": "b", "c1": "c"}])
def test_sessions_of_one_speaker_are_like_none(sessions: dict[str | None, str]) -> None:
    assert members(speaker_folds(in_sessions(sessions))[0].validation) == {"b"}


def test_whoever_is_linked_by_sessions_is_kept_together() -> None:
    rows = in_sessions({"1": "ab", "2": "bc", "3": "de", "4": "fg", "5": "hi"})
    first = speaker_folds(rows)[0]
    assert (members(first.test), members(first.validation)) == ({"a"}, {"b", "c"})
    folds = speaker_folds(rows, "k-fold", k=4)
    assert sorted("".join(sorted(members(fold.test))) for fold in folds) == ["abc", "de", "fg", "hi"]
    assert sorted(clip for fold in folds for clip in fold.test) == sorted(row["id"] for row in rows)
    with pytest.raises(ValueError, match="number of groups of speakers who share no session, here 4; got k=5"):
        speaker_folds(rows, "k-fold", k=5)


@pytest.mark.parametrize(
    ("scheme", "k"), [("leave-one-session-out", None), ("leave-one-speaker-out", None), ("k-fold", 3)]
)
def test_a_session_in_two_spellings_is_one(scheme: Any, k: int | None) -> None:
    rows = in_sessions({"Studio 1": "a", "studio  1": "b", "S2": "c", "s2": "d", "S3": "e", "s3 ": "f"})
    for fold in speaker_folds(rows, scheme, k):
        others = {one for pair in ("ab", "cd", "ef") for one in pair if set(pair) & members(fold.test)}
        assert not others & members(fold.train)
    ids = {row["speaker"]: row["id"] for row in rows}
    with pytest.raises(ValueError, match="the session 'Studio 1' is in train"):
        check_disjoint(Fold((ids["a"],), (ids["c"],), (ids["b"],)), rows)
