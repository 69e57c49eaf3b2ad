import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pytest

from dataset_scripts import speaker_folds
from dataset_scripts.iemocap import FOUR, IEMOCAP, LABEL_SETS, PUBLISHED, read_evaluations
from tests.synthetic_corpora import PLAN, edit, load_from, write_clip, write_iemocap

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never changed by tests."""
    return write_iemocap(tmp_path_factory.mktemp("corpora") / "IEMOCAP_full_release")


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tree, tmp_path / "IEMOCAP"))


@pytest.fixture(scope="module")
def everything(tree: Path) -> datasets.Dataset:
    return load(tree, "all-ten")


def load(folder: Path, config: str | None = None) -> datasets.Dataset:
    return load_from(folder, "iemocap", config=config)


@pytest.mark.parametrize("suffix", LABEL_SETS)
@pytest.mark.parametrize("condition", ["all", "improvised", "scripted"])
def test_every_configuration_has_its_planted_counts(tree: Path, condition: str, suffix: str) -> None:
    rows = load(tree, f"{condition}{suffix}")
    expected: Counter[str] = Counter()
    for name, plan in PLAN.items():
        for label in set(plan) & set(LABEL_SETS[suffix]) if condition in ("all", name) else ():
            expected[LABEL_SETS[suffix][label]] += 5 * plan[label]
    assert Counter(rows["label"]) == expected
    assert len(set(rows["speaker"])) == 10
    assert set(rows["kind"]) == ({"improvised", "scripted"} if condition == "all" else {condition})
    # Excitement is one of the four only where it is merged.
    fours = {four for native, four in zip(rows["native_label"], rows["label4"], strict=True) if native == "exc"}
    assert fours == {"": set(), "-merge_excited": {"happiness"}, "-ten": {None}}[suffix]


def test_four_labels_of_both_conditions_are_the_default(tree: Path) -> None:
    assert set(load(tree)["native_label"]) == set(FOUR) == {"ang", "hap", "neu", "sad"}
    assert {native for native, label in LABEL_SETS["-merge_excited"].items() if label == "happiness"} == {"hap", "exc"}


def test_a_row(everything: datasets.Dataset) -> None:
    (row,) = [row for row in everything if row["id"] == "Ses03F_impro08b_M001"]
    audio = row.pop("audio")
    assert Path(audio["path"]).is_file()
    assert row == {
        "id": "Ses03F_impro08b_M001",
        "label": "anger",
        "label4": "anger",
        "native_label": "ang",
        "speaker": "Ses03_M",
        "sex": "m",
        "sentence": None,
        "transcript": "Excuse me: no [LAUGHTER].",
        "kind": "improvised",
        "language": "en",
        "duration": pytest.approx(0.1),
        "file": "Session3/sentences/wav/Ses03F_impro08b/Ses03F_impro08b_M001.wav",
        "session": "Ses03",
        "dialogue": "Ses03F_impro08b",
        "start": 8.2901,
        "end": 8.3901,
        "valence": 2.5,
        "arousal": 3.0001,
        "dominance": 2.0,
        "ratings": [
            {"rater": "E2", "labels": ["Anger"]},
            {"rater": "E3", "labels": ["Frustration", "Anger"]},
            {"rater": "F1", "labels": ["Anger"]},
        ],
    }
    (other,) = [row for row in everything if row["id"] == "Ses03F_impro08b_F000"]
    assert other["ratings"][2] == {"rater": "F1", "labels": []}  # a rater may give none


def test_windows_line_ends_and_code_page(everything: datasets.Dataset) -> None:
    rows = everything.filter(lambda row: row["session"] == "Ses02")
    assert len(rows) == len(everything) // 5
    assert set(rows["transcript"]) == {"That’s it.", None}


def test_the_speaker_is_in_the_last_field(everything: datasets.Dataset) -> None:
    assert Counter(everything["dialogue"])["Ses01F_impro08b"] == 11
    assert set(zip(everything["speaker"], everything["sex"], strict=True)) == {
        (f"Ses0{session}_{sex}", sex.lower()) for session in range(1, 6) for sex in "FM"
    }


@pytest.mark.parametrize("config", ["improvised", "scripted-merge_excited", "all-ten"])
@pytest.mark.filterwarnings("error")
def test_published_counts_are_no_news(tree: Path, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = PLAN | {"all": Counter(PLAN["improvised"]) + Counter(PLAN["scripted"])}
    for condition, counts in planted.items():
        monkeypatch.setitem(PUBLISHED, condition, {label: 5 * n for label, n in counts.items() if label != "xxx"})
    load(tree, config)


def test_the_papers_counts() -> None:
    """2280 + 2210 = 4490 with four labels, 2943 + 2588 = 5531 with excitement, 7532 with all ten."""
    merged_labels = LABEL_SETS["-merge_excited"]
    for condition, four, merged in (("improvised", 2280, 2943), ("scripted", 2210, 2588), ("all", 4490, 5531)):
        assert sum(PUBLISHED[condition][label] for label in FOUR) == four
        assert sum(PUBLISHED[condition][label] for label in merged_labels) == merged
    assert sum(PUBLISHED["all"].values()) == 7532
    for label in merged_labels:
        assert PUBLISHED["improvised"][label] + PUBLISHED["scripted"][label] == PUBLISHED["all"][label]


def test_utterances_without_evaluation_or_audio_are_named(copy: Path) -> None:
    write_clip(copy / "Session1/sentences/wav/Ses01F_impro08b/Ses01F_impro08b_M077.wav")
    (copy / "Session5/sentences/wav/Ses05F_script01_1/Ses05F_script01_1_F000.wav").unlink()
    with pytest.warns(UserWarning, match=r"1 utterance\(s\) left out: EmoEvaluation has no line for .*M077"):
        assert len(load(copy, "improvised")) == 40
    with pytest.warns(UserWarning, match=r"1 missing: Ses05F_script01_1_F000\)"):
        load(copy)


def evaluation(folder: Path) -> Path:
    return folder / "Session4/dialog/EmoEvaluation/Ses04F_impro08b.txt"


def test_a_corrected_label_builds_the_table_anew(copy: Path) -> None:
    before = Counter(load(copy)["label"])
    edit(evaluation(copy), "F000\tang", "F000\tsad")
    assert Counter(load(copy)["label"]) - before == {"sadness": 1}


# What is changed in an evaluation, and what is named.
DAMAGES = {
    "unknown label": ("F000\tang", "F000\tjoy", "Ses04F_impro08b_F000 has the label 'joy'"),
    "broken line": ("F000\tang\t[2.5000, ", "F000\tang\t[", r"Ses04F_impro08b\.txt, line 3"),
    "twice": ("M001\tang", "F000\tang", "line 10: Ses04F_impro08b_F000"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_annotations(copy: Path, damage: str) -> None:
    old, new, named = DAMAGES[damage]
    edit(evaluation(copy), old, new)
    with pytest.raises(ValueError, match=named):
        load(copy)
    assert not list((copy.parent / "cache").rglob("*.arrow"))


def test_without_evaluations_there_is_no_corpus(copy: Path) -> None:
    for path in copy.glob("Session*/dialog/EmoEvaluation"):
        shutil.rmtree(path)
    with pytest.raises(FileNotFoundError, match=r"EmoEvaluation.*data_dir"):
        load(copy)


def test_lines_as_in_the_release(tmp_path: Path) -> None:
    path = tmp_path / "dialogue.txt"
    path.write_text(
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
        "[140.2250 - 145.6000]\tSes01F_impro05_F019\tang\t[1.5000, 4.0000, 4.5000]\n"
        "C-E1:\tAnger;\t()\nC-E4:\tFrustration; Anger;\t(threatening (a bit), belligerent)\nC-F1:\tNeutral;\t\n"
        "A-E4:\tval 1; act 4; dom  5;\t(threatening, belligerent)\n"
    )
    (found,) = read_evaluations(path).values()
    assert found[:6] == ("ang", 140.225, 145.6, 1.5, 4.0, 4.5)
    assert found.ratings == [
        {"rater": "E1", "labels": ["Anger"]},
        {"rater": "E4", "labels": ["Frustration", "Anger"]},
        {"rater": "F1", "labels": ["Neutral"]},
    ]


@pytest.mark.parametrize("scheme", ["leave-one-session-out", "leave-one-speaker-out"])
def test_nobody_trains_who_shares_a_tested_speakers_session(tree: Path, scheme: Any) -> None:
    for fold in speaker_folds(load(tree), scheme):
        trained, validating, tested = ({clip[:5] for clip in ids} for ids in fold.splits.values())
        assert (len(trained), len(tested)) == (3 if scheme == "leave-one-session-out" else 4, 1)
        assert not trained & (validating | tested)


def test_whole_dialogues_are_no_clips_wherever_they_lie() -> None:
    assert IEMOCAP.parse(Path("Ses01F_impro01.wav")) is None
    assert IEMOCAP.parse(Path("Ses05M_script01_1b.wav")) is None
    assert IEMOCAP.parse(Path("Ses05M_script01_1b_F003.wav"))["dialogue"] == "Ses05M_script01_1b"
