"""Lists in which several raters say what they heard, or how much of something."""

from pathlib import Path

import datasets
import pytest

from tests.synthetic_corpora import load_from, write_clip

pytestmark = pytest.mark.filterwarnings("error")


def load(folder: Path, text: str) -> datasets.Dataset:
    for line in text.splitlines()[1:]:
        write_clip(folder / line.split(",")[0])
    (folder / "manifest.csv").write_text(text, encoding="utf-8")
    return load_from(folder, "recordings")


@pytest.mark.parametrize(
    "text",
    [
        "file,speaker,rater_1,rater_2,Rater 3\na.wav,x,sad,Angry,sad\nb.wav,x,anger,,angry\nc.wav,y,joy,joy,happy\n",
        "file,speaker,count_sad,count_anger,count_joy\na.wav,x,2,1,\nb.wav,x,0,2,0\nc.wav,y,,,3\n",
        "file,speaker,votes_sad,votes_angry,votes_anger,votes_joy\na.wav,x,2,1,0,\nb.wav,x,0,1,1,0\nc.wav,y,,,,3\n",
    ],
    ids=["raters", "counts", "one emotion in two words"],
)
def test_what_most_raters_heard_is_the_label_and_all_votes_are_kept(tmp_path: Path, text: str) -> None:
    rows = load(tmp_path / "own", text)
    assert rows["label"][:] == ["sadness", "anger", "happiness"]
    assert rows["votes"][:] == [
        [{"label": "anger", "votes": 1.0}, {"label": "sadness", "votes": 2.0}],
        [{"label": "anger", "votes": 2.0}],
        [{"label": "happiness", "votes": 3.0}],
    ]


def test_ties_are_left_out_and_told(tmp_path: Path) -> None:
    text = "file,rater1,rater2\n" + "".join(f"{n}.wav,sad,{other}\n" for n, other in enumerate(["joy", "sad", "fear"]))
    with pytest.warns(UserWarning) as told:
        rows = load(tmp_path / "own", text)
    assert any("2 clip(s) are left out whose raters are evenly divided" in str(one.message) for one in told)
    assert rows["id"][:] == ["1"]


def test_a_label_agreed_on_goes_before_the_raters(tmp_path: Path) -> None:
    rows = load(tmp_path / "own", "file,speaker,label,rater_1,rater_2\na.wav,x,sad,joy,joy\n")
    assert (rows["label"][0], rows["votes"][0]) == ("sadness", None)


def test_numbers_need_no_label(tmp_path: Path) -> None:
    rows = load(tmp_path / "own", "file,speaker,Valence,activation,EmoDom\na.wav,x,1.5,-2,50\nb.wav,y,2,,\n")
    assert [rows[name][:] for name in ("valence", "arousal", "dominance")] == [[1.5, 2], [-2, None], [50, None]]
    assert rows["label"][:] == [None, None]
    rows = load(tmp_path / "both", "file,speaker,label,valence\na.wav,x,sad,1.5\nb.wav,y,joy,\n")
    assert (rows["label"][:], rows["valence"][:]) == (["sadness", "happiness"], [1.5, None])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,rater_1,rater_2\na.wav,,\n", "line 2: the label is empty"),
        ("file,label,rater_1\na.wav,,sad\n", "line 2: the label is empty"),
        ("file,count_sad\na.wav,many\n", "the column 'count_sad' is many, which is no number"),
        ("file,count_sad,count_joy\na.wav,-1,2\n", "'sad' has less than no votes"),
        ("file,count_sad,rater_1\na.wav,1,sad\n", "columns of their own, and are counted"),
        ("file,label,valence\na.wav,sad,positive\n", "the valence is positive, which is no number. .* rename"),
        ("file,valence\na.wav,nan\n", "the valence is nan, which is no number"),
        ("file,valence\na.wav,\n", "no label; the columns are file, valence"),
    ],
)
def test_what_says_nothing_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        load(tmp_path / "own", text)
