"""What systems are compared on: parts of ASED whose folds agree, and IEMOCAP's three conditions end to end."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dataset_scripts import Fold
from reproduction.condition_parts import IMPROVISED, draw_in_proportion, part_of_corpus, restrict_fold
from reproduction.paper_figures import published_figures
from speech_emotion.cross_validation.condition_data import ConditionData, fold_digest, read_condition
from speech_emotion.cross_validation.conditions import Condition, get_condition, list_conditions, make_condition
from speech_emotion.cross_validation.main import get_parser, main
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
    assert set(common["sentence"]) == {"01", "02"} and len(common) == 200
    emotions_of: dict[str, set[str]] = {}
    for sentence, label in zip(own["sentence"], own["label"], strict=True):
        emotions_of.setdefault(sentence, set()).add(label)
    assert len(own) == 200 and {len(labels) for labels in emotions_of.values()} == {1}
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
    again = part_of_corpus(data.corpus, ased["ased"].folds, "imbalanced")
    assert again == set(data.rows["id"])


def test_draws_are_seeded_and_refuse_a_class_without_clips() -> None:
    labels = {f"{label}{number}": label for label in "xy" for number in range(20)}
    draws = [draw_in_proportion([list(labels)], labels, {"x": 1, "y": 4}, seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert Counter(labels[clip] for clip in draws[0]) == {"x": 5, "y": 20}
    with pytest.raises(ValueError, match="Group 0 of the speakers has no clip of z"):
        draw_in_proportion([list(labels)], labels, {"x": 1, "z": 1}, 0)


def test_restricting_keeps_the_order() -> None:
    fold = Fold(("c", "a", "b"), ("d",), ("f", "e"), name="f0")
    assert restrict_fold(fold, ["a", "c", "e", "f"]) == Fold(("c", "a"), (), ("f", "e"), name="f0")


def test_a_fold_is_known_by_its_clips(ased: dict[str, ConditionData]) -> None:
    digests = {fold_digest(fold, data) for data in ased.values() for fold in data.folds}
    assert len(digests) == 20
    one = ased["ased"].folds[0]
    assert fold_digest(one, ased["ased"]) == fold_digest(
        Fold(one.train[::-1], one.validation, one.test, "another name"), ased["ased"]
    )


def test_conditions_by_name() -> None:
    assert [get_condition(name).name for name in list_conditions()] == list_conditions()
    emodb, ravdess = get_condition("emodb"), get_condition("ravdess")
    assert (emodb.scheme, ravdess.scheme, ravdess.num_folds) == ("leave-one-speaker-out", "k-fold", 6)
    assert get_condition("savee") == Condition("savee", "savee")
    assert get_condition("you/emodb@1f3a").name == "emodb"
    by_speaker = get_condition("iemocap-both", "leave-one-speaker-out")
    assert by_speaker.name == "iemocap-both-leave-one-speaker-out" and by_speaker.config == "all"
    assert get_condition(by_speaker.name) == by_speaker
    assert get_condition("ased-common-7-fold").num_folds == 7
    assert make_condition("iemocap", "scripted") == get_condition("iemocap-scripted")
    assert make_condition("iemocap") == get_condition("iemocap-both")
    assert make_condition("emodb", labels=("anger", "fear")).name == "emodb-anger+fear"
    made = [
        make_condition("polish", labels=("fear", "anger")),
        make_condition("iemocap", "improvised-ten"),
        make_condition("iemocap", "all-ten", ("anger", "fear", "other"), "leave-one-session-out"),
        make_condition("emodb", "speech", ("anger", "fear"), num_folds=5),
    ]
    assert [get_condition(condition.name) for condition in made] == made  # so the commands of reports can be run
    for unknown in ("emodbb", "emodb-anger", "iemocap-acted", "emodbb-anger+fear"):
        with pytest.raises(ValueError, match=f"no condition and no corpus {unknown!r}".replace("+", r"\+")):
            get_condition(unknown)
    with pytest.raises(ValueError, match="needed by k-fold and by no other"):
        get_condition("emodb", "k-fold")


@pytest.mark.parametrize("word", ["-1", "x", "1.5"])
def test_seeds_are_whole_numbers(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        get_parser().parse_args(["--corpus", "polish", "--systems", "model-1", "--seeds", word])
    assert f"--seeds: must be a whole number of at least 0, not {word}" in capsys.readouterr().err


def test_iemocap_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_iemocap(tmp_path / "IEMOCAP_full_release")
    for config, condition in (("improvised", "improvised"), ("scripted", "scripted"), ("all", "both")):
        command = f"--corpus iemocap --config {config} --systems model-1 --folds 0 --device cpu --threads 1"
        places = ["--data_dir", str(root), "--cache_dir", str(tmp_path / "cache"), "--results", str(tmp_path / "out")]
        small = ["--set", "hidden_size=8", "dense_size=8", "num_train_epochs=1"]
        assert main([*command.split(), *places, *small]) == 0
        _, table, _ = capsys.readouterr().out.split("\n\n")
        header, _, ours = table.splitlines()
        assert header.endswith("paper's UA") and ours.split()[:2] == [f"iemocap-{condition}", "model-1"]
        published = published_figures(f"iemocap-{condition}")["model-1"]
        assert ours.split()[-2:] == [f"{100 * value:.1f}%" for value in published]
        (fold,) = read_fold_scores(tmp_path / "out", condition=f"iemocap-{condition}")
        assert fold.labels == ["anger", "happiness", "neutral", "sadness"]
        assert fold.about["fold_name"] == "leave-one-session-out-Ses01" and fold.about["folds"] == 5
        assert set(fold.select("test").clips["speaker"]) == {"Ses01_F", "Ses01_M"}
        assert set(fold.select("validation").clips["speaker"]) == {"Ses02_F", "Ses02_M"}
        assert fold.about["train_speakers"] == 6
