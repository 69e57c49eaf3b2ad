"""The corpora under SER_DATA_DIR: a clip more or less than published would be warned of, and warnings are errors."""

import os
from collections import Counter
from pathlib import Path

import datasets
import pytest

from dataset_scripts import audit_corpus, check_audio_disjoint, load_corpus, make_builder, speaker_folds

pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.skipif("SER_DATA_DIR" not in os.environ, reason="SER_DATA_DIR is not set: no real corpora"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def load(name: str, cache: Path, config: str | None = None) -> datasets.Dataset:
    if not Path(os.environ["SER_DATA_DIR"], name).is_dir():
        pytest.skip(f"there is no {name} in SER_DATA_DIR")
    return load_corpus(name, config=config, cache_dir=cache)


def people(rows: datasets.Dataset) -> Counter[str]:
    pairs = set(zip(rows["speaker"], rows["sex"], strict=True))
    assert len(pairs) == len(set(rows["speaker"]))  # nobody is of two sexes
    return Counter(sex for _, sex in pairs)


def test_emodb(cache: Path) -> None:
    rows = load("emodb", cache)
    assert people(rows) == {"f": 5, "m": 5}
    assert len(set(rows["transcript"])) == 10
    folds = speaker_folds(rows)
    assert len(folds) == 10
    assert sum(len(fold.test) for fold in folds) == 535
    check_audio_disjoint(folds[0], rows)
    assert audit_corpus(make_builder("emodb", cache_dir=cache)) == []


def test_ased(cache: Path) -> None:
    rows = load("ased", cache)
    assert people(rows) == {"f": 25, "m": 40}
    labels_of = rows.to_pandas().groupby("sentence")["label"]
    assert labels_of.nunique().to_dict() == dict.fromkeys(labels_of.groups, 1) | {"01": 5, "02": 5}
    assert len(labels_of) == 27 and labels_of.size()[["01", "02"]].sum() == 624
    folds = speaker_folds(rows, "k-fold", k=5)
    assert [len(fold.test) for fold in folds] == pytest.approx([495] * 5, abs=25)


def test_ravdess(cache: Path) -> None:
    rows = load("ravdess", cache)
    assert Counter(Counter(rows["speaker"]).values()) == {60: 24}
    assert people(rows) == {"f": 12, "m": 12}
    assert 2.9 < min(rows["duration"]) < max(rows["duration"]) < 5.3
    speaker_of = dict(zip(rows["id"], rows["speaker"], strict=True))
    for group, fold in enumerate(speaker_folds(rows, "k-fold", k=6)):
        assert {speaker_of[i] for i in fold.test} == {f"Actor_{4 * group + n:02}" for n in (1, 2, 3, 4)}


def test_nemo(cache: Path) -> None:
    rows = load("nemo", cache)
    assert len(rows) == 4481 and people(rows) == {"f": 4, "m": 5}
    assert len(set(rows["transcript"])) == 90
    emotions_of = rows.to_pandas().groupby("sentence")["label"].nunique()
    assert set(emotions_of) == {6} and len(emotions_of) == 90  # words tell nothing
    folds = speaker_folds(rows)
    assert len(folds) == 9 and sum(len(fold.test) for fold in folds) == 4481
    speaker_of = dict(zip(rows["id"], rows["speaker"], strict=True))
    for fold in speaker_folds(rows, "k-fold", k=3):
        assert {len({speaker_of[clip] for clip in part}) for part in fold.splits.values()} == {3}


@pytest.mark.parametrize(
    ("config", "clips", "speakers"), [("all", 5000, 250), ("train", 2500, 125), ("test", 2500, 125)]
)
def test_speechocean762(cache: Path, config: str, clips: int, speakers: int) -> None:
    rows = load("speechocean762", cache, config)
    assert (len(rows), len(set(rows["speaker"]))) == (clips, speakers)
    assert set(rows["split"]) == ({"train", "test"} if config == "all" else {config})
    assert people(rows).total() == speakers
    letters = set("".join(rows["transcript"]))
    assert letters <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")
    assert all(5 <= age <= 80 for age in rows["age"])
