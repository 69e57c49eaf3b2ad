import itertools
from collections import Counter
from typing import Any

import pytest

from dataset_scripts import Fold, check_classes, check_disjoint, speaker_folds
from dataset_scripts.fold_balance import balanced_groups
from dataset_scripts.fold_checks import clips_by_id

Row = dict[str, Any]


def corpus(
    speakers: list[str], labels: tuple[str, ...] = ("anger", "fear"), clips: int = 2, **columns: Any
) -> list[Row]:
    return [
        {"id": f"{speaker}-{label}-{i}", "speaker": speaker, "label": label, **columns}
        for speaker, label, i in itertools.product(speakers, labels, range(clips))
    ]


def speakers_of(ids: tuple[str, ...]) -> set[str]:
    return {clip_id.split("-")[0] for clip_id in ids}


def test_leave_one_speaker_out() -> None:
    rows = corpus(["m10", "m2", "m1", "m3"])
    folds = speaker_folds(rows)
    assert [speakers_of(fold.test) for fold in folds] == [{"m1"}, {"m2"}, {"m3"}, {"m10"}]
    assert [speakers_of(fold.validation) for fold in folds] == [{"m2"}, {"m3"}, {"m10"}, {"m1"}]
    assert [fold.name for fold in folds] == [f"leave-one-speaker-out-{name}" for name in ("m1", "m2", "m3", "m10")]
    assert sorted(itertools.chain(*(fold.test for fold in folds))) == sorted(row["id"] for row in rows)
    for fold in folds:
        assert sorted(fold.train + fold.validation + fold.test) == sorted(row["id"] for row in rows)


def test_leave_one_session_out() -> None:
    rows = [
        row | {"session": f"Ses0{number}"}
        for number in (1, 2, 3)
        for row in corpus([f"Ses0{number}_F", f"Ses0{number}_M"])
    ]
    first, _, last = speaker_folds(rows, "leave-one-session-out")
    assert speakers_of(first.test) == {"Ses01_F", "Ses01_M"}
    assert speakers_of(first.validation) == {"Ses02_F", "Ses02_M"}
    assert speakers_of(last.validation) == {"Ses01_F", "Ses01_M"}
    assert last.name == "leave-one-session-out-Ses03"


def numbered(count: int) -> list[Row]:
    return [
        row | {"sex": "m" if number % 2 else "f"}
        for number in range(1, count + 1)
        for row in corpus([f"A{number:02}"])
    ]


def test_numbered_and_balanced_speakers_make_consecutive_blocks() -> None:
    groups = balanced_groups(clips_by_id(numbered(24)).values(), 6, seed=3)
    assert groups == [[f"A{4 * g + n:02}" for n in (1, 2, 3, 4)] for g in range(6)]


def test_a_missing_clip_does_not_change_the_blocks() -> None:
    rows = [row for speaker in range(24) for row in corpus([f"A{speaker:02}"], clips=20)]
    groups = balanced_groups(clips_by_id(rows[1:]).values(), 6)
    assert groups[0] == ["A00", "A01", "A02", "A03"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_uneven_speakers_are_balanced_by_class_and_sex(seed: int) -> None:
    # In order of name all women come first, and half of the speakers hardly have anger: blocks would be lopsided.
    rows = []
    for number in range(12):
        for label, clips in (("anger", 2 if number % 2 else 12), ("fear", 8)):
            rows += corpus([f"s{number:02}"], (label,), clips, sex="f" if number < 6 else "m")
    folds = speaker_folds(rows, "k-fold", k=3, seed=seed)
    row_of = {row["id"]: row for row in rows}
    for fold in folds:
        members = {row_of[i]["speaker"]: row_of[i]["sex"] for i in fold.test}
        assert Counter(members.values()) == {"f": 2, "m": 2}
        assert Counter(row_of[i]["label"] for i in fold.test) == {"anger": 28, "fear": 32}


def test_exchanges_mend_what_greedy_placing_leaves() -> None:
    sizes = {"a": 7, "b": 7, "c": 6, "d": 6, "e": 5, "f": 5}
    rows = [row for speaker, clips in sizes.items() for row in corpus([speaker], ("fear",), clips)]
    rows += corpus(["g", "h", "i"], ("fear",), 6)
    groups = balanced_groups(clips_by_id(rows).values(), 3)
    totals = [sum(sizes.get(speaker, 6) for speaker in group) for group in groups]
    assert totals == [18, 18, 18]


def test_no_group_stays_empty_though_speakers_share_neither_class_nor_sex() -> None:
    parts = (("a", ("anger", "fear"), "f"), ("b", ("calm", "other"), "m"), ("c", ("boredom", "sadness"), None))
    clips = clips_by_id(row for name, labels, sex in parts for row in corpus([name], labels, sex=sex)).values()
    assert balanced_groups(clips, 3) == [["a"], ["b"], ["c"]]


def test_k_folds_are_deterministic_whatever_the_order_of_rows() -> None:
    rows = [row for i in range(11) for row in corpus([f"s{i}"], clips=1 + i % 4, sex="fm"[i % 3 == 0])]
    assert [speakers_of(f.test) for f in speaker_folds(rows, "k-fold", k=4, seed=5)] == [
        speakers_of(f.test) for f in speaker_folds(rows[::-1], "k-fold", k=4, seed=5)
    ]


BAD = {
    "two speakers": (corpus(["m1", "m2"]), {}, r"at least 3 groups .* there are 2: m1; m2"),
    "unknown scheme": (corpus(["a", "b", "c"]), {"scheme": "random"}, "no scheme 'random'. Known schemes: leave-one"),
    "no k": (corpus(["a", "b", "c"]), {"scheme": "k-fold"}, r"--num_folds .*, here None, is needed by the scheme"),
    "k without k-fold": (corpus(["a", "b", "c"]), {"k": 3}, "here 3, is needed by .* and by no other"),
    "k of 2": (corpus(["a", "b", "c"]), {"scheme": "k-fold", "k": 2}, "k of at least 3 .* got k=2"),
    "k too large": (corpus(["a", "b", "c"]), {"scheme": "k-fold", "k": 4}, "number of speakers, here 3; got k=4"),
    "no session": (corpus(["a", "b", "c"]), {"scheme": "leave-one-session-out"}, "needs the session of every clip"),
    "no rows": ([], {}, "no rows"),
    "no speaker": ([*corpus(["a", "b", "c"]), {"id": "x", "speaker": None, "label": "fear"}], {}, "speaker of .* 'x'"),
    "no label": ([*corpus(["a", "b", "c"]), {"id": "x", "speaker": "a", "label": None}], {}, "label of clip 'x'"),
    "no id": ([{"id": None, "speaker": "a", "label": "fear"}], {}, "id of row 0 is unknown"),
    "no column": ([{"id": "x", "label": "fear"}], {}, "no column 'speaker'"),
    "double id": (corpus(["a", "b", "c", "a"]), {}, "id 'a-anger-0' occurs more than once"),
    "class of one speaker": ([*corpus(["a", "b", "c"]), *corpus(["a"], ("joy",))], {}, "joy .* in no training clip"),
    "speaker in two sessions": (
        [row | {"session": session} for session in "123" for row in corpus(["a"], (session,))],
        {"scheme": "leave-one-session-out"},
        "'a' is in the sessions '1' and '2'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_allows_no_folds_is_told(case: str) -> None:
    rows, arguments, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        speaker_folds(rows, **arguments)


ROWS = corpus(["a", "b", "c"], ("fear",))
A, B, C = (tuple(f"{s}-fear-{i}" for i in (0, 1)) for s in "abc")


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        (Fold(A, B, (), "x"), "Fold 'x': the split test is empty"),
        (Fold((), B, C), "train is empty"),
        (Fold(A, B, (*C, "d-fear-0")), "'d-fear-0' of test is not in the corpus"),
        (Fold((*A, A[0]), B, C), "'a-fear-0' is twice in train"),
        (Fold(A, B, (*C, A[0])), "'a-fear-0' is in train and in test"),
        (Fold(A[:1], B, (*C, A[1])), "speaker 'a' is in train and in test, there with the clip 'a-fear-1'"),
        (Fold(A[:1], (*B, A[1]), C), "speaker 'a' is in train and in validation"),
    ],
)
def test_leaks_are_found(fold: Fold, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_disjoint(fold, ROWS)


def test_a_fold_may_use_part_of_the_corpus() -> None:
    check_disjoint(Fold(A[:1], B, C), ROWS)


def test_same_recording_under_another_speaker_is_a_matter_of_ids() -> None:
    rows = [*ROWS, {"id": "a-fear-0", "speaker": "z", "label": "fear"}]
    with pytest.raises(ValueError, match="'a-fear-0' occurs more than once"):
        check_disjoint(Fold(A, B, C), rows)


def test_classes_must_be_trained() -> None:
    rows = [row | {"label": "joy"} if row["speaker"] == "c" else row for row in ROWS]
    with pytest.raises(ValueError, match=r"Fold 'y': joy occur\(s\) in test but in no training clip"):
        check_classes(Fold(A, B, C, "y"), rows)
