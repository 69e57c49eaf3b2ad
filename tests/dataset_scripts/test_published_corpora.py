import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from dataset_scripts import LABELS, list_corpora, load_corpus, speaker_folds
from dataset_scripts.crema_d import ACTORS
from dataset_scripts.registry import CORPORA
from tests.synthetic_corpora import (
    write_ased,
    write_clip,
    write_crema_d,
    write_emodb,
    write_nemo,
    write_savee,
    write_speechocean762,
    write_tess,
    write_urdu,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")


def load(name: str, folder: Path, **options: Any) -> datasets.Dataset:
    return load_corpus(name, data_dir=folder, cache_dir=folder.parent / "cache", **options)


def row_of(rows: datasets.Dataset, clip_id: str) -> dict[str, Any]:
    (row,) = [row for row in rows if row["id"] == clip_id]
    return row


def sexes(rows: datasets.Dataset) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for speaker, sex in zip(rows["speaker"], rows["sex"], strict=True):
        found.setdefault(speaker, set()).add(sex)
    return found


def test_emodb(tmp_path: Path) -> None:
    rows = load("emodb", write_emodb(tmp_path / "emodb"))
    assert Counter(rows["label"]) == dict.fromkeys(
        ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness"), 6
    )
    assert sexes(rows) == {"03": {"m"}, "08": {"f"}, "09": {"f"}}
    row = row_of(rows, "08b02Tb")
    assert (row["label"], row["sentence"], row["language"], row["file"]) == ("sadness", "b02", "de", "wav/08b02Tb.wav")
    assert row["transcript"].startswith("Sie haben es gerade")


def test_emodb_knows_no_other_speakers_and_texts(tmp_path: Path) -> None:
    folder = write_emodb(tmp_path / "emodb")
    write_clip(folder / "wav/01a01Wa.wav")
    with pytest.raises(ValueError, match=r"do not follow the corpus's naming .*wav/01a01Wa\.wav"):
        load("emodb", folder)


def test_ased(tmp_path: Path) -> None:
    rows = load("ased", write_ased(tmp_path / "ased"))
    assert Counter(rows["native_label"]) == {"neutral": 8, "fearful": 9, "happy": 8, "sad": 10, "angry": 8}
    assert sexes(rows) == {"09": {"f"}, "15": {"f"}, "29": {"f"}, "30": {"m"}}
    assert row_of(rows, "s4-04-02-01-29")["file"] == "04Sad/S4-04-02-01-29.wav"
    assert set(rows["sentence"]) == {"01", "n03", "f03", "h03", "s03", "s04", "a03"}
    assert row_of(rows, "a5-01-01-01-09")["sentence"] == "01"


def test_tess(tmp_path: Path) -> None:
    rows = load("tess", write_tess(tmp_path / "tess"))
    assert Counter(rows["label"]) == dict.fromkeys(
        ("anger", "disgust", "fear", "happiness", "neutral", "surprise", "sadness"), 4
    )
    assert Counter(rows["speaker"]) == {"OAF": 14, "YAF": 14}
    row = row_of(rows, "OAF_bite_neutral")
    assert (row["file"], row["sex"]) == ("OAF_neutral/OA_bite_neutral.wav", "f")
    assert row_of(rows, "OAF_back_ps")["duration"] == pytest.approx(0.1)
    with pytest.raises(ValueError, match="at least 3 groups of speakers"):
        speaker_folds(rows)


def test_tess_archive_that_holds_every_clip_twice(tmp_path: Path) -> None:
    folder = write_tess(tmp_path / "tess")
    shutil.copytree(folder / "OAF_angry", folder / "TESS data/OAF_angry")
    with pytest.raises(ValueError, match=r"2 clip id\(s\) occur more than once"):
        load("tess", folder)


@pytest.mark.parametrize("folders", [False, True])
@pytest.mark.parametrize("above", [".", ".."])
def test_savee(tmp_path: Path, folders: bool, above: str) -> None:
    folder = write_savee(tmp_path / "corpora/savee", folders)
    write_emodb(tmp_path / "corpora/emodb")
    rows = load("savee", folder / above)
    assert len(rows) == 56
    assert Counter(rows["speaker"]) == {"DC": 14, "JE": 14, "JK": 14, "KL": 14}
    assert {row_of(rows, f"KL_{e}02")["label"] for e in ("s" + "a", "su")} == {"sadness", "surprise"}
    assert row_of(rows, "DC_a01")["sentence"] == "a01"


def test_savee_of_one_speaker_from_his_folder(tmp_path: Path) -> None:
    rows = load("savee", write_savee(tmp_path / "savee", folders=True) / "AudioData/JK")
    assert set(rows["speaker"]) == {"JK"}


def test_crema_d(tmp_path: Path) -> None:
    rows = load("crema_d", write_crema_d(tmp_path / "crema"))
    assert Counter(rows["native_label"]) == {"ANG": 6, "DIS": 6, "FEA": 6, "HAP": 6, "NEU": 6, "SAD": 7}
    row = row_of(rows, "1002_IEO_HAP_HI")
    assert (row["sex"], row["age"], row["intensity"], row["transcript"]) == ("f", 21, "HI", "It's eleven o'clock")
    assert row_of(rows, "1040_ITH_SAD_X")["intensity"] is None
    assert Counter(sex for _, sex in ACTORS.values()) == {"m": 48, "f": 43}
    assert (min(age for age, _ in ACTORS.values()), max(age for age, _ in ACTORS.values())) == (20, 74)


@pytest.mark.filterwarnings("error")
def test_urdu_has_its_published_counts_but_no_folds(tmp_path: Path) -> None:
    rows = load("urdu", write_urdu(tmp_path / "urdu"))
    assert Counter(rows["label"]) == {"anger": 100, "happiness": 100, "neutral": 100, "sadness": 100}
    assert len(set(rows["speaker"])) == 29
    assert sexes(rows)["SF11"] == {"f"}
    for scheme in ({}, {"scheme": "k-fold", "k": 5}):
        with pytest.raises(
            ValueError, match=r"confounded: 26 of 29 speakers have clips of one class .*SF1: happiness"
        ):
            speaker_folds(rows, **scheme)


@pytest.mark.parametrize("below", [".", "samples"])
def test_nemo(tmp_path: Path, below: str) -> None:
    rows = load("nemo", write_nemo(tmp_path / "nemo") / below)
    assert Counter(rows["label"]) == dict.fromkeys(("anger", "fear", "happiness", "neutral", "sadness", "surprise"), 8)
    assert sexes(rows) == {"WR0": {"m"}, "EB0": {"f"}, "KS0": {"m"}, "MK0": {"f"}}
    row = row_of(rows, "EB0_fear_38")
    assert (row["transcript"], row["age"], row["speaker"]) == ("„Ród smoka” to serial telewizyjny.", 27, "EB0")


def drop_table(folder: Path) -> None:
    (folder / "data.tsv").unlink()


def drop_line(folder: Path) -> None:
    lines = (folder / "data.tsv").read_text(encoding="utf-8").splitlines()
    (folder / "data.tsv").write_text("\n".join(lines[:-1]), encoding="utf-8")


def swap_emotion(folder: Path) -> None:
    text = (folder / "data.tsv").read_text(encoding="utf-8")
    (folder / "data.tsv").write_text(text.replace("_fear_6.wav\tfear", "_fear_6.wav\tanger"), encoding="utf-8")


def drop_column(folder: Path) -> None:
    text = (folder / "data.tsv").read_text(encoding="utf-8")
    (folder / "data.tsv").write_text(text.replace("raw_text", "words"), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (drop_table, FileNotFoundError, r"no data\.tsv in .*Pass as data_dir"),
        (drop_line, ValueError, r"data\.tsv does not list samples/MK0_surprised_38\.wav"),
        (swap_emotion, ValueError, r"data\.tsv says EB0, anger of samples/EB0_fear_6\.wav, its name says EB0, fear"),
        (drop_column, ValueError, r"data\.tsv has no column raw_text"),
    ],
)
def test_nemo_whose_table_is_wrong(
    tmp_path: Path, damage: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    folder = write_nemo(tmp_path / "nemo")
    damage(folder)
    with pytest.raises(error, match=message):
        load("nemo", folder)


def test_a_changed_annotation_builds_the_table_anew(tmp_path: Path) -> None:
    folder = write_nemo(tmp_path / "nemo")
    assert "Dziunia" in load("nemo", folder)[0]["transcript"] + load("nemo", folder)[1]["transcript"]
    text = (folder / "data.tsv").read_text(encoding="utf-8")
    (folder / "data.tsv").write_text(text.replace("Dziunia", "Dziuniu"), encoding="utf-8")
    assert not any("Dziunia" in transcript for transcript in load("nemo", folder)["transcript"])


@pytest.mark.parametrize("suffix", [".WAV", ".ogg"])
@pytest.mark.parametrize(
    ("config", "speakers"),
    [(None, {"0001", "0006", "0003", "0024"}), ("train", {"0001", "0006"}), ("test", {"0003", "0024"})],
)
def test_speechocean762(tmp_path: Path, suffix: str, config: str | None, speakers: set[str]) -> None:
    rows = load("speechocean762", write_speechocean762(tmp_path / "so", suffix), config=config)
    assert set(rows["speaker"]) == speakers
    assert len(rows) == 2 * len(speakers)
    assert set(rows["split"]) == ({config} if config else {"train", "test"})
    row = rows[0]
    assert (row["transcript"], row["age"], row["label"], row["label4"]) == ("WE CALL IT BEAR", 6, None, None)
    assert set(zip(rows["speaker"], rows["sex"], strict=True)) == {
        (name, "f" if name == "0006" else "m") for name in speakers
    }


def test_speechocean762_counts_its_halves(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"test 4 instead of 2500; 2 speakers instead of 125"):
        load("speechocean762", write_speechocean762(tmp_path / "so"), config="test")


def test_speechocean762_has_no_emotions_to_fold(tmp_path: Path) -> None:
    rows = load("speechocean762", write_speechocean762(tmp_path / "so"))
    with pytest.raises(ValueError, match="label of clip '000010011' is unknown"):
        speaker_folds(rows)


def no_tables(folder: Path) -> None:
    shutil.rmtree(folder / "train")


def other_speaker(folder: Path) -> None:
    (folder / "train/utt2spk").write_text("000010011 0006\n")


def in_both_halves(folder: Path) -> None:
    shutil.copy(folder / "train/text", folder / "test/text")


def not_listed(folder: Path) -> None:
    write_clip(folder / "WAVE/SPEAKER0001/000019999.WAV")


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (no_tables, FileNotFoundError, "there is no train/text in .*Pass as data_dir"),
        (other_speaker, ValueError, "train/utt2spk gives WAVE/SPEAKER0001/000010011.WAV the speaker '0006'"),
        (in_both_halves, ValueError, "000010011 is in train/text and in test/text"),
        (not_listed, ValueError, "neither train/text nor test/text has WAVE/SPEAKER0001/000019999"),
    ],
)
def test_speechocean762_whose_tables_are_wrong(
    tmp_path: Path, damage: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    folder = write_speechocean762(tmp_path / "so")
    damage(folder)
    with pytest.raises(error, match=message):
        load("speechocean762", folder)


def test_missing_clips_are_named(tmp_path: Path) -> None:
    folder = write_nemo(tmp_path / "nemo")
    (folder / "samples/KS0_anger_6.wav").unlink()
    with pytest.warns(UserWarning, match=r"1 missing: KS0_anger_6\)"):
        load("nemo", folder)


def test_clips_that_were_never_published_are_named(tmp_path: Path) -> None:
    folder = write_emodb(tmp_path / "emodb", texts=("a01",), emotions="W")
    write_clip(folder / "wav/03a01Wz.wav")
    with pytest.warns(UserWarning, match=r"2 not published: 03a01Wz, 09a01Wa\)"):
        load("emodb", folder)


WRITERS: dict[str, Callable[[Path], Path]] = {
    "ased": write_ased,
    "crema_d": write_crema_d,
    "emodb": write_emodb,
    "nemo": write_nemo,
    "speechocean762": write_speechocean762,
    "tess": write_tess,
}


@pytest.mark.parametrize("name", WRITERS)
def test_columns_streaming_and_search_are_the_same_for_all(tmp_path: Path, name: str) -> None:
    folder = WRITERS[name](tmp_path / "corpora" / name)
    write_savee(tmp_path / "corpora/savee", folders=False, numbers=(1,))
    rows = load(name, folder)
    extra = list(CORPORA[name].extra_features)
    assert rows.column_names[13:] == extra
    assert load(name, folder.parent)["file"][:] == rows["file"][:]
    streamed = load(name, folder, streaming=True)
    assert [row["id"] for row in streamed] == rows["id"][:]
    assert set(rows["label"]) <= {None, *LABELS}


@pytest.mark.parametrize("name", sorted(set(list_corpora()) - {"recordings"}))
def test_facts_of_every_corpus_are_stated(name: str) -> None:
    corpus = CORPORA[name]
    assert corpus.homepage.startswith("http")
    assert len(corpus.license) > 8
    assert "20" in corpus.citation
    assert corpus.license_id == "other" or corpus.may_be_shared


@pytest.mark.parametrize(
    ("name", "clips"),
    [("ased", 2474), ("crema_d", 7442), ("emodb", 535), ("iemocap", 7532), ("nemo", 4481), ("polish", 450),
     ("ravdess", 1440), ("savee", 480), ("tess", 2800), ("urdu", 400)],
)  # fmt: skip
def test_published_counts_add_up(name: str, clips: int) -> None:
    assert sum(CORPORA[name].published.values()) == clips
