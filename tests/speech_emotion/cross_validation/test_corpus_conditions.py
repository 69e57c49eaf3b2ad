"""Conditions by name, what a part of a corpus is, and how a fold and its recordings are known."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import datasets
import pytest

from dataset_scripts import Fold
from speech_emotion.cross_validation.condition_data import ConditionData, fold_digest, read_condition
from speech_emotion.cross_validation.corpus_conditions import CorpusCondition, get_condition, make_condition
from tests.synthetic import write_polish

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")


def even_clips(rows: datasets.Dataset, folds: Sequence[Fold]) -> set[str]:
    """A part of a corpus, as a condition selects it: of each speaker's clips of each label every second."""
    assert len(folds) == 5
    return set(sorted(rows["id"][:])[::2])


def test_conditions_by_name() -> None:
    emodb, ravdess, iemocap = (get_condition(name) for name in ("emodb", "ravdess", "iemocap"))
    assert (emodb.scheme, ravdess.scheme, ravdess.num_folds) == ("leave-one-speaker-out", "k-fold", 6)
    assert iemocap.scheme == "leave-one-session-out"
    assert get_condition("savee") == CorpusCondition("savee", "savee")
    assert get_condition("emodb-leave-one-speaker-out") == emodb
    assert get_condition("you/emodb@1f3a").name == "emodb" and get_condition("./ravdess").num_folds == 6
    known = {"half": CorpusCondition("half", "polish", part="even", select=even_clips)}
    assert get_condition("half", known=known) == known["half"]
    assert get_condition("half-7-fold", known=known).num_folds == 7
    by_speaker = get_condition("iemocap-scripted", "leave-one-speaker-out")
    assert (by_speaker.name, by_speaker.config) == ("iemocap-scripted-leave-one-speaker-out", "scripted")
    made = [
        by_speaker,
        make_condition("polish", labels=("fear", "anger")),
        make_condition("iemocap", "improvised-ten"),
        make_condition("iemocap", "all-ten", ("anger", "fear", "other"), "leave-one-speaker-out"),
        make_condition("emodb", "speech", ("anger", "fear"), num_folds=5),
    ]
    assert [get_condition(condition.name) for condition in made] == made  # so a name says all


@pytest.mark.parametrize("name", ["emodbb", "emodb-anger", "iemocap-acted", "emodbb-anger+fear", "ased-common"])
def test_an_unknown_condition_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}'".replace("+", r"\+")):
        get_condition(name)


def test_what_makes_no_condition_is_refused() -> None:
    with pytest.raises(ValueError, match="--num_folds"):
        get_condition("emodb", "k-fold")
    with pytest.raises(ValueError, match="no scheme 'thirds'"):
        CorpusCondition("emodb", "emodb", scheme="thirds")
    with pytest.raises(ValueError, match="a part of a corpus has"):
        CorpusCondition("half", "emodb", part="half")


@pytest.fixture(scope="module")
def whole_and_half(tmp_path_factory: pytest.TempPathFactory) -> list[ConditionData]:
    folder, cache = write_polish(tmp_path_factory.mktemp("polish")), tmp_path_factory.mktemp("cache")
    whole = get_condition("polish")
    half = replace(whole, name="half", part="even", select=even_clips)
    return [read_condition(condition, folder, cache) for condition in (whole, half)]


def test_a_part_is_divided_as_its_corpus_is(whole_and_half: list[ConditionData]) -> None:
    whole, half = whole_and_half
    kept = set(half.rows["id"][:])
    assert len(kept) == len(whole.rows) / 2
    for fold, other in zip(whole.folds, half.folds, strict=True):
        assert fold.name == other.name
        assert [[clip for clip in ids if clip in kept] for ids in fold.splits.values()] == [
            list(ids) for ids in other.splits.values()
        ]
    assert half.corpus._fingerprint == whole.corpus._fingerprint  # features are computed once for both


def test_a_fold_is_known_by_its_clips(whole_and_half: list[ConditionData]) -> None:
    digests = {fold_digest(fold, data) for data in whole_and_half for fold in data.folds}
    assert len(digests) == 10
    one = whole_and_half[0].folds[0]
    same = Fold(one.train[::-1], one.validation, one.test, "another name")
    assert fold_digest(one, whole_and_half[0]) == fold_digest(same, whole_and_half[0])


def test_a_folder_of_corpora_may_be_given(tmp_path: Path) -> None:
    write_polish(tmp_path / "polish")
    assert len(read_condition(get_condition("polish"), tmp_path, tmp_path / "cache").folds) == 5
