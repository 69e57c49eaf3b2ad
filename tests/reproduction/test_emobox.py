"""EmoBox's folds: whole, as it lists them, on their own clips; who shares speakers says so, and nobody else may."""

import itertools
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pytest

from dataset_scripts import Fold, load_corpus
from dataset_scripts.emodb import EmoDB
from reproduction.conditions import get_condition, read_conditions
from reproduction.emobox import emobox_folds, read_emobox, shares_speakers
from reproduction.report import PaperReport, is_emobox, read_references
from speech_emotion.cross_validation.condition_data import read_condition
from speech_emotion.cross_validation.folds_run import cross_validate
from speech_emotion.cross_validation.plan import Plan
from speech_emotion.cross_validation.score_table import condition_settings
from tests.speech_emotion.cross_validation.recomputed import read_figures
from tests.speech_emotion.cross_validation.simulated_scores import all_folds, save_all
from tests.synthetic_corpora import write_emodb

pytestmark = pytest.mark.filterwarnings("ignore:.*published.*:UserWarning", "ignore:.*pin_memory.*:UserWarning")
SIZES = {"emodb": (535, 5), "ravdess": (1440, 6), "ased": (2474, 1), "polish": (450, 5)}  # clips and folds


def emodb_rows() -> datasets.Dataset:
    clips = sorted(itertools.chain(*read_emobox()["corpora"]["emodb"]["tested"]["clips"]))
    return datasets.Dataset.from_dict(
        {
            "id": clips,
            "speaker": [clip[:2] for clip in clips],
            "label": [EmoDB.labels[clip[5]] for clip in clips],
            "sentence": [clip[2:5] for clip in clips],
        }
    )


def ravdess_rows() -> datasets.Dataset:
    names = []
    for actor, emotion, intensity, sentence, take in itertools.product(range(1, 25), range(1, 9), *[(1, 2)] * 3):
        if (emotion, intensity) != (1, 2):  # neutral has no strong intensity
            names.append(f"03-01-{emotion:02}-{intensity:02}-{sentence:02}-{take:02}-{actor:02}")
    speakers = [f"Actor_{name[-2:]}" for name in names]
    columns = {"id": names, "speaker": speakers, "label": [n[6:8] for n in names], "sentence": names}
    return datasets.Dataset.from_dict(columns)


def polish_rows() -> datasets.Dataset:
    words = ("nie", "oddaj", "podaj", "stop", "tak", "trzymaj")
    names = [f"m{s}.{e}_{w}_{n}" for s, e, w, n in itertools.product(range(1, 6), "ans", words, range(1, 6))]
    columns = {"id": names, "speaker": [n[:2] for n in names], "label": [n[3] for n in names], "sentence": names}
    return datasets.Dataset.from_dict(columns)


def real_rows(corpus: str, cache: Path) -> datasets.Dataset:
    if not Path(os.environ.get("SER_DATA_DIR", "nowhere"), corpus).is_dir():
        pytest.skip(f"there is no {corpus} in SER_DATA_DIR")
    return load_corpus(corpus, cache_dir=cache).remove_columns("audio")


MADE: dict[str, Callable[[], datasets.Dataset]] = {"emodb": emodb_rows, "ravdess": ravdess_rows, "polish": polish_rows}
SOURCES = [*((corpus, True) for corpus in MADE), *((corpus, False) for corpus in ("emodb", "ravdess", "ased"))]


@pytest.mark.parametrize(("corpus", "made"), SOURCES)
def test_every_clip_is_in_every_fold_and_a_fifth_of_the_training_validates(
    corpus: str, made: bool, tmp_path: Path
) -> None:
    rows = MADE[corpus]() if made else real_rows(corpus, tmp_path)
    folds = emobox_folds(rows, corpus)  # which compares the folds with a hash of EmoBox's own lists
    assert (len(rows), len(folds)) == SIZES[corpus]
    speaker_of = dict(zip(rows["id"], rows["speaker"], strict=True))
    label_of = dict(zip(rows["id"], rows["label"], strict=True))
    take_of = dict(
        zip(rows["id"], zip(*(rows[name] for name in ("label", "speaker", "sentence")), strict=True), strict=True)
    )
    for fold in folds:
        assert sorted(itertools.chain(*fold.splits.values())) == sorted(rows["id"])
        people = [{speaker_of[clip] for clip in part} for part in fold.splits.values()]
        disjoint = all(one.isdisjoint(two) for one, two in itertools.combinations(people, 2))
        assert disjoint != shares_speakers(corpus)
        learned = len(fold.train) + len(fold.validation)
        # A speaker is the least that can validate: of Polish's four in training one.
        assert len(fold.validation) / learned == pytest.approx(0.25 if corpus == "polish" else 0.2, abs=0.02)
        if not disjoint:
            shares = [Counter(map(label_of.get, part)) for part in (fold.validation, fold.train + fold.validation)]
            assert all(0 <= shares[0][label] - count / 5 < 6 for label, count in shares[1].items())
            takes = [{take_of[clip] for clip in part} for part in (fold.train, fold.validation)]
            assert takes[0].isdisjoint(takes[1])
    tested = Counter(itertools.chain.from_iterable(fold.test for fold in folds))
    assert set(tested.values()) == {1} and len(tested) == (616 if corpus == "ased" else len(rows))


@pytest.mark.parametrize("corpus", MADE)
def test_a_corpus_that_lacks_a_clip_is_not_emoboxs(corpus: str) -> None:
    rows = MADE[corpus]()
    with pytest.raises(ValueError, match=f"of {len(rows)} clips, and here are {len(rows) - 1}"):
        emobox_folds(rows.select(range(1, len(rows))), corpus)


def test_conditions_say_who_shares_speakers() -> None:
    given = {name: one.clips for name, one in read_conditions().items() if is_emobox(name)}
    assert {name: one.shares_speakers for name, one in given.items()} == {
        "emodb-emobox": True, "ravdess-emobox": False, "ased-emobox": True, "polish-emobox": False,
    }  # fmt: skip
    assert not any(one.clips.shares_speakers for name, one in read_conditions().items() if not is_emobox(name))
    with pytest.raises(ValueError, match="given by EmoBox"):
        get_condition("emodb-emobox-5-fold")
    with pytest.raises(ValueError, match="only folds that somebody gave"):
        replace(get_condition("emodb"), shares_speakers=True)


def divide(rows: datasets.Dataset, test: str) -> list[Fold]:
    """Test one sentence, validate speaker 08 on another, train on the rest."""
    ids = rows["id"][:]
    tested = tuple(clip for clip in ids if test in clip)
    validated = tuple(clip for clip in ids if clip.startswith("08a01"))
    return [Fold(tuple(clip for clip in ids if clip not in {*tested, *validated}), validated, tested, "given-1")]


def test_shared_speakers_are_let_through_where_a_condition_says_so_and_told(tmp_path: Path) -> None:
    data_dir = write_emodb(tmp_path / "emodb", texts=("a01", "b02", "a02")).parent
    base = replace(
        get_condition("emodb"), name="shared", scheme=None, given="Somebody", divide=partial(divide, test="b02")
    )
    with pytest.raises(ValueError, match="is in train and in"):
        read_condition(base, data_dir, tmp_path / "cache")
    shared = replace(base, shares_speakers=True)
    plan = Plan(
        (shared,), ("model-1",), (0,), results=tmp_path / "out", data_dir=str(data_dir),
        cache_dir=str(tmp_path / "cache"), overrides={"hidden_size": 8, "dense_size": 8, "num_train_epochs": 1},
    )  # fmt: skip
    (fold,) = cross_validate(plan, threads=1)
    told = condition_settings(fold)
    assert (told["scheme"], told["given"], told["shares_speakers"]) == (None, "Somebody", True)
    assert len(fold.select("test").clips["id"]) == 21
    PaperReport().write(plan.results, tmp_path / "tables")
    assert "Somebody" in (tmp_path / "tables" / "shared.md").read_text()


def test_the_table_of_emobox_has_our_figures_and_the_published_ones(tmp_path: Path) -> None:
    entries: list[Any] = []
    for name in ("emodb-emobox", "ravdess-emobox", "emodb"):
        entries += all_folds("model-1", (0, 1, 2), corpus=name)
    report = PaperReport()
    written = report.write(save_all(entries, tmp_path / "results"), tmp_path)
    assert tmp_path / "emobox.md" in written
    figures = read_figures(tmp_path / "emobox.csv")
    assert float(figures["emobox", "Whisper large v3", "ravdess-emobox"]) == 0.7532
    own = read_figures(tmp_path / "emodb-emobox.csv")
    assert figures["emobox", "model-1", "emodb-emobox_mean"] == own["summary", "model-1", "ua_mean"]
    assert {column for _, _, column in figures} <= {"by", "emodb-emobox", "ravdess-emobox"} | {
        f"{name}_{part}" for name in ("emodb-emobox", "ravdess-emobox") for part in ("mean", "sd")
    }
    overview = (tmp_path / "README.md").read_text()
    assert "emodb.md" in overview and "emodb-emobox.md" not in overview  # which speaks of disjoint speakers only
    assert all(set(of) == set(map("{}-emobox".format, SIZES)) for of in read_references()["emobox"].values())
