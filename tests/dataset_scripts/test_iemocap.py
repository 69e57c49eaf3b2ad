import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from dataset_scripts import load_corpus, speaker_folds
from dataset_scripts.iemocap import IEMOCAP, PUBLISHED, read_evaluations
from tests.synthetic_corpora import PLAN, write_clip, write_iemocap

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")

FOUR = {"ang": "anger", "hap": "happiness", "neu": "neutral", "sad": "sadness"}
MERGED = FOUR | {"exc": "happiness"}
TEN = FOUR | {"exc": "excitement", "fru": "frustration", "fea": "fear", "sur": "surprise", "dis": "disgust"}
TEN |= {"oth": "other"}


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
    return load_corpus("iemocap", data_dir=folder, config=config, cache_dir=folder.parent / "cache")


@pytest.mark.parametrize("labels", [FOUR, MERGED, TEN], ids=["", "-merge_excited", "-ten"])
@pytest.mark.parametrize("condition", ["all", "improvised", "scripted"])
def test_every_configuration_has_its_planted_counts(
    tree: Path, condition: str, labels: dict[str, str], request: pytest.FixtureRequest
) -> None:
    suffix = {4: "", 5: "-merge_excited", 10: "-ten"}[len(labels)]
    rows = load(tree, f"{condition}{suffix}")
    expected: Counter[str] = Counter()
    for name, plan in PLAN._asdict().items():
        if condition in ("all", name):
            for label, count in plan.items():
                if label in labels:
                    expected[labels[label]] += 5 * count
    assert Counter(rows["label"]) == expected
    assert len(set(rows["speaker"])) == 10
    assert set(rows["kind"]) == ({"improvised", "scripted"} if condition == "all" else {condition})


def test_four_labels_of_both_conditions_are_the_default(tree: Path) -> None:
    assert set(load(tree)["native_label"]) == set(FOUR)


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


def test_a_rater_may_give_no_label(everything: datasets.Dataset) -> None:
    (row,) = [row for row in everything if row["id"] == "Ses03F_impro08b_F000"]
    assert row["ratings"][2] == {"rater": "F1", "labels": []}


def test_windows_line_ends_and_code_page(everything: datasets.Dataset) -> None:
    rows = everything.filter(lambda row: row["session"] == "Ses02")
    assert len(rows) == len(everything) // 5
    assert set(rows["transcript"]) == {"That’s it.", None}


def test_the_speaker_is_in_the_last_field(everything: datasets.Dataset) -> None:
    assert Counter(everything["dialogue"])["Ses01F_impro08b"] == 11
    assert set(zip(everything["speaker"], everything["sex"], strict=True)) == {
        (f"Ses0{session}_{sex}", sex.lower()) for session in range(1, 6) for sex in "FM"
    }


def test_excitement_counts_among_the_four_only_where_merged(tree: Path, everything: datasets.Dataset) -> None:
    assert {row["label4"] for row in everything if row["native_label"] == "exc"} == {None}
    assert {row["label4"] for row in load(tree, "all-merge_excited") if row["native_label"] == "exc"} == {"happiness"}


@pytest.mark.parametrize("config", ["improvised", "scripted-merge_excited", "all-ten"])
@pytest.mark.filterwarnings("error")
def test_published_counts_are_no_news(tree: Path, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both = Counter(PLAN.improvised) + Counter(PLAN.scripted)
    planted = {"improvised": PLAN.improvised, "scripted": PLAN.scripted, "all": both}
    for condition, counts in planted.items():
        monkeypatch.setitem(PUBLISHED, condition, {label: 5 * n for label, n in counts.items() if label != "xxx"})
    load(tree, config)


def test_the_papers_counts() -> None:
    """2280 + 2210 = 4490 with four labels, 2943 + 2588 = 5531 with excitement, 7532 with all ten."""
    for condition, four, merged in (("improvised", 2280, 2943), ("scripted", 2210, 2588), ("all", 4490, 5531)):
        assert sum(PUBLISHED[condition][label] for label in FOUR) == four
        assert sum(PUBLISHED[condition][label] for label in MERGED) == merged
    assert sum(PUBLISHED["all"].values()) == 7532
    for label in MERGED:
        assert PUBLISHED["improvised"][label] + PUBLISHED["scripted"][label] == PUBLISHED["all"][label]


@pytest.mark.parametrize("above", [".", ".."])
def test_found_from_its_folder_and_from_above(tree: Path, above: str) -> None:
    assert len(load(tree / above, "scripted")) == 25


def test_utterances_without_an_evaluation_are_left_out_and_told(copy: Path) -> None:
    write_clip(copy / "Session1/sentences/wav/Ses01F_impro08b/Ses01F_impro08b_M077.wav")
    with pytest.warns(UserWarning, match=r"1 utterance\(s\) left out: EmoEvaluation has no line for .*M077"):
        assert len(load(copy, "improvised")) == 40


def test_utterances_without_audio_are_named(copy: Path) -> None:
    (copy / "Session5/sentences/wav/Ses05F_script01_1/Ses05F_script01_1_F000.wav").unlink()
    with pytest.warns(UserWarning, match=r"1 missing: Ses05F_script01_1_F000\)"):
        load(copy)


def test_a_corrected_label_builds_the_table_anew(copy: Path) -> None:
    before = Counter(load(copy)["label"])
    path = copy / "Session1/dialog/EmoEvaluation/Ses01F_impro08b.txt"
    path.write_text(path.read_text().replace("F000\tang", "F000\tsad"))
    after = Counter(load(copy)["label"])
    assert after - before == {"sadness": 1}


def no_evaluations(folder: Path) -> None:
    for path in folder.glob("Session*/dialog/EmoEvaluation"):
        shutil.rmtree(path)


def unknown_label(folder: Path) -> None:
    edit(folder, "F000\tang", "F000\tjoy")


def broken_line(folder: Path) -> None:
    edit(folder, "F000\tang\t[2.5000, ", "F000\tang\t[")


def twice(folder: Path) -> None:
    edit(folder, "M001\tang", "F000\tang")


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "Session4/dialog/EmoEvaluation/Ses04F_impro08b.txt"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (no_evaluations, FileNotFoundError, r"no Session\*/dialog/EmoEvaluation.*Pass as data_dir"),
        (unknown_label, ValueError, r"Ses04F_impro08b_F000 has the label 'joy'"),
        (broken_line, ValueError, r"Ses04F_impro08b\.txt, line 3: cannot read"),
        (twice, ValueError, r"line 10: Ses04F_impro08b_F000 occurs twice and differs"),
    ],
)
def test_damaged_annotations(copy: Path, damage: Callable[[Path], None], error: type[Exception], message: str) -> None:
    damage(copy)
    with pytest.raises(error, match=message):
        load(copy)
    assert not list((copy.parent / "cache").rglob("*.arrow"))


def test_unknown_configuration(tree: Path) -> None:
    with pytest.raises(ValueError, match=r"'improvized' not found.*improvised"):
        load(tree, "improvized")


def test_lines_as_in_the_release(tmp_path: Path) -> None:
    path = tmp_path / "dialogue.txt"
    path.write_text(
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
        "[140.2250 - 145.6000]\tSes01F_impro05_F019\tang\t[1.5000, 4.0000, 4.5000]\n"
        "C-E1:\tAnger;\t()\nC-E4:\tFrustration; Anger;\t(threatening (a bit), belligerent)\nC-F1:\tNeutral;\t\n"
        "A-E4:\tval 1; act 4; dom  5;\t(threatening, belligerent)\n"
    )
    (evaluation,) = read_evaluations(path).values()
    assert evaluation[:6] == ("ang", 140.225, 145.6, 1.5, 4.0, 4.5)
    assert evaluation.ratings == [
        {"rater": "E1", "labels": ["Anger"]},
        {"rater": "E4", "labels": ["Frustration", "Anger"]},
        {"rater": "F1", "labels": ["Neutral"]},
    ]


def speakers_in(rows: datasets.Dataset, ids: tuple[str, ...]) -> set[str]:
    speaker_of: dict[str, Any] = dict(zip(rows["id"], rows["speaker"], strict=True))
    return {speaker_of[clip_id] for clip_id in ids}


def test_leave_one_session_out_validates_on_the_next_session(tree: Path) -> None:
    rows = load(tree)
    folds = speaker_folds(rows, "leave-one-session-out")
    assert [fold.name for fold in folds] == [f"leave-one-session-out-Ses0{n}" for n in range(1, 6)]
    assert speakers_in(rows, folds[4].test) == {"Ses05_F", "Ses05_M"}
    assert speakers_in(rows, folds[4].validation) == {"Ses01_F", "Ses01_M"}


def test_leave_one_speaker_out_validates_on_the_session_partner(tree: Path) -> None:
    rows = load(tree)
    folds = speaker_folds(rows)
    assert len(folds) == 10
    for fold in folds:
        (tested,), (chosen_by,) = speakers_in(rows, fold.test), speakers_in(rows, fold.validation)
        assert tested[:5] == chosen_by[:5]
        assert tested != chosen_by
        assert not any(speaker.startswith(tested[:5]) for speaker in speakers_in(rows, fold.train))


def test_whole_dialogues_are_no_clips_wherever_they_lie() -> None:
    assert IEMOCAP.parse(Path("Ses01F_impro01.wav")) is None
    assert IEMOCAP.parse(Path("Ses05M_script01_1b.wav")) is None
    assert IEMOCAP.parse(Path("Ses05M_script01_1b_F003.wav"))["dialogue"] == "Ses05M_script01_1b"
