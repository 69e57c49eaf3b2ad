"""What systems are compared on: parts of ASED whose folds agree, and IEMOCAP's three conditions end to end."""

import itertools
import pickle
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from reproduction.claim_plan import read_claims
from reproduction.conditions import IMPROVISED, draw_in_proportion, get_condition, read_conditions, select_part
from reproduction.systems import get_system
from speech_emotion.cli.cross_validate import run_cross_validation
from speech_emotion.cross_validation.condition_data import ConditionData, fold_digest, read_condition
from speech_emotion.cross_validation.plan import Plan
from speech_emotion.cross_validation.score_store import read_fold_scores
from tests.synthetic_corpora import write_clip, write_iemocap

pytestmark = pytest.mark.filterwarnings("ignore:.*published:UserWarning", "ignore:.*pin_memory.*:UserWarning")
ASED = ("ased", "ased-common", "ased-own", "ased-imbalanced")
FOLDERS = {"n1": "01Neutral", "f2": "02Fearful", "h3": "03Happy", "s4": "04Sad", "a5": "05Angry"}


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def ased(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ConditionData]:
    """10 speakers, each with 4 sentences in 5 emotions, said twice; the last two of them own to the emotion."""
    root = tmp_path_factory.mktemp("data") / "ased"
    for speaker, code, sentence, take in itertools.product(range(1, 11), FOLDERS, ("01", "02", "03", "04"), (1, 2)):
        sex = "02" if speaker % 2 else "01"
        write_clip(root / FOLDERS[code] / f"{code}-{sentence}-{take:02}-{sex}-{speaker:02}.wav", seconds=0.02)
    cache = tmp_path_factory.mktemp("cache")
    return {name: read_condition(get_condition(name), root.parent, cache) for name in ASED}


def speakers_of(data: ConditionData, ids: tuple[str, ...]) -> set[str]:
    speaker_of = dict(zip(data.rows["id"][:], data.rows["speaker"][:], strict=True))
    return {speaker_of[clip] for clip in ids}


def test_parts_of_ased_divide_speakers_alike(ased: dict[str, ConditionData]) -> None:
    whole = ased["ased"]
    assert len(whole.folds) == 5 and len(whole.rows) == 400
    for data in ased.values():
        for fold, other in zip(whole.folds, data.folds, strict=True):
            assert fold.name == other.name
            sets = [speakers_of(data, ids) for ids in other.splits.values()]
            assert sets == [speakers_of(whole, ids) for ids in fold.splits.values()]
            assert all(one.isdisjoint(two) for one, two in itertools.combinations(sets, 2))
        tested = [clip for fold in data.folds for clip in fold.test]
        assert sorted(tested) == sorted(data.rows["id"][:])  # every clip of the part is tested once
        assert data.corpus._fingerprint == whole.corpus._fingerprint  # features are computed once for all parts


def test_words_tell_nothing_or_everything(ased: dict[str, ConditionData]) -> None:
    common, own = ased["ased-common"].rows, ased["ased-own"].rows
    assert set(common["sentence"]) == {"01", "02"} and len(common) == len(own) == 200
    pairs = set(zip(own["sentence"], own["label"], strict=True))
    assert len(pairs) == len({sentence for sentence, _ in pairs})  # a sentence is of one emotion
    assert set(common["id"]) | set(own["id"]) == set(ased["ased"].rows["id"])


def test_imbalanced_splits_have_the_proportions_of_improvised_speech(ased: dict[str, ConditionData]) -> None:
    data = ased["ased-imbalanced"]
    assert data.labels == ["anger", "happiness", "neutral", "sadness"]
    label_of = dict(zip(data.rows["id"][:], data.rows["label"][:], strict=True))
    for fold in data.folds:
        for name, ids in fold.splits.items():
            groups = 3 if name == "train" else 1
            counts = Counter(label_of[clip] for clip in ids)
            assert counts["neutral"] == 16 * groups  # the scarcest beside its proportion: all of two speakers
            for label, share in IMPROVISED.items():
                assert abs(counts[label] - 16 * groups * share / IMPROVISED["neutral"]) <= 0.5 * groups
    assert select_part(data.corpus, ased["ased"].folds, "imbalanced") == set(data.rows["id"])


def test_draws_are_seeded_and_refuse_a_class_without_clips() -> None:
    labels = {f"{label}{number}": label for label in "xy" for number in range(20)}
    draws = [draw_in_proportion([list(labels)], labels, {"x": 1, "y": 4}, seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert Counter(labels[clip] for clip in draws[0]) == {"x": 5, "y": 20}
    with pytest.raises(ValueError, match="no clip of z"):
        draw_in_proportion([list(labels)], labels, {"x": 1, "z": 1}, 0)


def test_every_part_has_folds_of_its_own(ased: dict[str, ConditionData]) -> None:
    digests = {fold_digest(fold, data) for data in ased.values() for fold in data.folds}
    assert len(digests) == 20


def test_conditions_by_name() -> None:
    for name, known in read_conditions().items():
        assert get_condition(name) == known.clips and known.clips.name == name
    by_speaker = get_condition("iemocap-both-leave-one-speaker-out")
    assert by_speaker.scheme == "leave-one-speaker-out" and by_speaker.config == "all"
    assert get_condition("ased-common-7-fold").num_folds == 7
    assert pickle.loads(pickle.dumps(get_condition("ased-own"))).part == "own"  # workers are sent it


@pytest.mark.parametrize("name", [name for name in read_conditions() if name.startswith("iemocap")])
def test_iemocap_end_to_end(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan(
        (get_condition(name),),
        ("model-1",),
        (0,),
        folds=(0,),
        results=tmp_path / "out",
        data_dir=str(write_iemocap(tmp_path / "IEMOCAP_full_release")),
        cache_dir=str(tmp_path / "cache"),
        overrides={"hidden_size": 8, "dense_size": 8, "num_train_epochs": 1},
        make_system=get_system,
    )
    published = read_claims().published
    assert run_cross_validation(plan, threads=1, published=published.get)
    ours = capsys.readouterr().out.split("\n\n")[1].splitlines()[-1].split()
    assert ours[:2] == [name, "model-1"]
    assert ours[-2:] == [f"{100 * value:.1f}%" for value in published[name]["model-1"]]
    (fold,) = read_fold_scores(tmp_path / "out", condition=name)
    assert fold.labels == ["anger", "happiness", "neutral", "sadness"]
    assert fold.about["fold_name"] == "leave-one-session-out-Ses01" and fold.about["folds"] == 5
    assert set(fold.select("test").clips["speaker"]) == {"Ses01_F", "Ses01_M"}
    assert set(fold.select("validation").clips["speaker"]) == {"Ses02_F", "Ses02_M"}
    assert fold.about["train_speakers"] == 6
