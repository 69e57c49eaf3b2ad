"""What is peculiar to each published corpus: names, annotations, oddities; on small generated ones."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from dataset_scripts import LABELS, list_corpora, speaker_folds
from dataset_scripts.crema_d import ACTORS
from dataset_scripts.registry import CORPORA
from tests.synthetic import write_polish
from tests.synthetic_corpora import (
    edit,
    load_from,
    write_ased,
    write_clip,
    write_crema_d,
    write_emodb,
    write_iemocap,
    write_nemo,
    write_savee,
    write_speechocean762,
    write_tess,
    write_urdu,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")

WRITERS: dict[str, Callable[[Path], Path]] = {
    "ased": write_ased,
    "crema_d": write_crema_d,
    "emodb": write_emodb,
    "iemocap": write_iemocap,
    "nemo": write_nemo,
    "polish": write_polish,
    "speechocean762": write_speechocean762,
    "tess": write_tess,
}


def row_of(rows: datasets.Dataset, clip_id: str) -> dict[str, Any]:
    (row,) = [row for row in rows if row["id"] == clip_id]
    return row


def sexes(rows: datasets.Dataset) -> dict[str, str]:
    pairs = set(zip(rows["speaker"], rows["sex"], strict=True))
    assert len(pairs) == len(set(rows["speaker"]))  # nobody is of two sexes
    return dict(pairs)


SIX = ("anger", "fear", "happiness", "neutral", "sadness", "surprise")
# Clips of each label; sexes of some speakers; columns of some clips.
FACTS: dict[str, tuple[dict[str, int], dict[str, str], dict[str, dict[str, Any]]]] = {
    "ased": (
        {"neutral": 8, "fear": 9, "happiness": 8, "sadness": 10, "anger": 8},
        {"09": "f", "15": "f", "29": "f", "30": "m"},
        {"s4-04-02-01-29": {"file": "04Sad/S4-04-02-01-29.wav"}, "a5-01-01-01-09": {"sentence": "01"}},
    ),
    "crema_d": (
        {"anger": 6, "disgust": 6, "fear": 6, "happiness": 6, "neutral": 6, "sadness": 7},
        {"1002": "f"},
        {
            "1002_IEO_HAP_HI": {"age": 21, "intensity": "HI", "transcript": "It's eleven o'clock"},
            "1040_ITH_SAD_X": {"intensity": None},
        },
    ),
    "emodb": (
        dict.fromkeys(("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness"), 6),
        {"03": "m", "08": "f", "09": "f"},
        {"08b02Tb": {"label": "sadness", "sentence": "b02", "language": "de", "file": "wav/08b02Tb.wav"}},
    ),
    "nemo": (
        dict.fromkeys(SIX, 8),
        {"WR0": "m", "EB0": "f", "KS0": "m", "MK0": "f"},
        {"EB0_fear_38": {"transcript": "„Ród smoka” to serial telewizyjny.", "age": 27, "speaker": "EB0"}},
    ),
    "polish": (
        dict.fromkeys(("anger", "fear", "neutral"), 30),
        dict.fromkeys(("m1", "m2", "m3", "m4", "m5"), "m"),
        {"m1.a_nie_1": {"label": "anger", "label4": "anger", "sentence": "nie", "language": "pl", "speaker": "m1"}},
    ),
    "tess": (
        dict.fromkeys((*SIX, "disgust"), 4),
        {"OAF": "f", "YAF": "f"},
        {
            "OAF_bite_neutral": {"file": "OAF_neutral/OA_bite_neutral.wav"},
            "OAF_back_ps": {"duration": pytest.approx(0.1)},
        },
    ),
}


@pytest.mark.parametrize("name", FACTS)
def test_what_names_and_annotations_say(tmp_path: Path, name: str) -> None:
    labels, people, clips = FACTS[name]
    rows = load_from(WRITERS[name](tmp_path / name), name)
    assert Counter(rows["label"]) == labels
    assert people.items() <= sexes(rows).items()
    for clip_id, columns in clips.items():
        row = row_of(rows, clip_id)
        assert {column: row[column] for column in columns} == columns


def test_sentences_of_ased_that_are_numbered_anew_have_names_of_their_own(tmp_path: Path) -> None:
    rows = load_from(write_ased(tmp_path / "ased"), "ased")
    assert set(rows["sentence"]) == {"01", "n03", "f03", "h03", "s03", "s04", "a03"}


def test_ages_and_sexes_of_crema_d() -> None:
    assert Counter(sex for _, sex in ACTORS.values()) == {"m": 48, "f": 43}
    ages = sorted(age for age, _ in ACTORS.values())
    assert (ages[0], ages[-1]) == (20, 74)


def test_an_archive_of_tess_holds_every_clip_twice(tmp_path: Path) -> None:
    folder = write_tess(tmp_path / "tess")
    shutil.copytree(folder / "OAF_angry", folder / "TESS data/OAF_angry")
    with pytest.raises(ValueError, match=r"2 clip id\(s\) occur more than once"):
        load_from(folder, "tess")


@pytest.mark.parametrize("folders", [False, True])
@pytest.mark.parametrize("above", [".", ".."])
def test_savee(tmp_path: Path, folders: bool, above: str) -> None:
    folder = write_savee(tmp_path / "corpora/savee", folders)
    write_emodb(tmp_path / "corpora/emodb")
    rows = load_from(folder / above, "savee")
    assert Counter(rows["speaker"]) == {"DC": 14, "JE": 14, "JK": 14, "KL": 14}
    assert {row_of(rows, f"KL_{emotion}02")["label"] for emotion in ("sa", "su")} == {"sadness", "surprise"}
    assert row_of(rows, "DC_a01")["sentence"] == "a01"
    if folders:
        assert set(load_from(folder / "AudioData/JK", "savee")["speaker"]) == {"JK"}


@pytest.mark.filterwarnings("error")
def test_urdu_has_its_published_counts_but_no_folds(tmp_path: Path) -> None:
    rows = load_from(write_urdu(tmp_path / "urdu"), "urdu")
    assert Counter(rows["label"]) == {"anger": 100, "happiness": 100, "neutral": 100, "sadness": 100}
    assert (len(set(rows["speaker"])), sexes(rows)["SF11"]) == (29, "f")
    for scheme in ({}, {"scheme": "k-fold", "k": 5}):
        with pytest.raises(ValueError, match=r"confounded: 26 of 29 speakers .*SF1: happiness"):
            speaker_folds(rows, **scheme)


def test_a_changed_annotation_builds_the_table_anew(tmp_path: Path) -> None:
    folder = write_nemo(tmp_path / "nemo")
    assert load_from(folder / "samples", "nemo")["id"][:] == load_from(folder, "nemo")["id"][:]
    assert any("Dziunia" in transcript for transcript in load_from(folder, "nemo")["transcript"])
    edit(folder / "data.tsv", "Dziunia", "Dziuniu")
    assert not any("Dziunia" in transcript for transcript in load_from(folder, "nemo")["transcript"])


@pytest.mark.parametrize("suffix", [".WAV", ".ogg"])
@pytest.mark.parametrize("config", [None, "train", "test"])
def test_speechocean762(tmp_path: Path, suffix: str, config: str | None) -> None:
    people = {"train": {"0001": "m", "0006": "f"}, "test": {"0003": "m", "0024": "m"}}
    expected = people[config] if config else people["train"] | people["test"]
    rows = load_from(write_speechocean762(tmp_path / "so", suffix), "speechocean762", config=config)
    assert sexes(rows) == expected
    assert len(rows) == 2 * len(expected)
    assert set(rows["split"]) == ({config} if config else {"train", "test"})
    row = rows[0]
    assert (row["transcript"], row["age"], row["label"], row["label4"]) == ("WE CALL IT BEAR", 6, None, None)
    with pytest.raises(ValueError, match=f"label of clip '{row['id']}' is unknown"):
        speaker_folds(rows)


def drop_last_line(path: Path) -> None:
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:-1]), encoding="utf-8")


DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {  # of which corpus, what happens, what is named
    "no EmoDB's name": ("emodb", lambda emodb: write_clip(emodb / "wav/01a01Wa.wav"), r"wav/01a01Wa\.wav"),
    "no table": ("nemo", lambda nemo: (nemo / "data.tsv").unlink(), r"data\.tsv"),
    "a line too few": ("nemo", lambda nemo: drop_last_line(nemo / "data.tsv"), r"samples/MK0_surprised_38\.wav"),
    "another emotion": ("nemo", lambda nemo: edit(nemo / "data.tsv", "6.wav\tfear", "6.wav\tanger"), "EB0_fear_6"),
    "a column too few": ("nemo", lambda nemo: edit(nemo / "data.tsv", "raw_text", "words"), "no column raw_text"),
    "a field too many": ("nemo", lambda nemo: edit(nemo / "data.tsv", "8.wav\tsad", "\tx\tsad"), r"data\.tsv: "),
    "no tables": ("speechocean762", lambda so: shutil.rmtree(so / "train"), "train/text"),
    "another speaker": ("speechocean762", lambda so: edit(so / "train/utt2spk", "11 0001", "11 6"), "000010011.* '6'"),
    "in both": ("speechocean762", lambda so: shutil.copy(so / "train/text", so / "test/text"), "000010011"),
    "in neither": ("speechocean762", lambda so: write_clip(so / "WAVE/SPEAKER0001/000019999.WAV"), "000019999"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_copy_whose_names_or_tables_are_wrong(tmp_path: Path, case: str) -> None:
    name, damage, named = DAMAGES[case]
    folder = WRITERS[name](tmp_path / name)
    damage(folder)
    with pytest.raises(FileNotFoundError if case in ("no table", "no tables") else ValueError, match=named):
        load_from(folder, name)


def test_clips_that_are_missing_or_were_never_published_are_named(tmp_path: Path) -> None:
    folder = write_nemo(tmp_path / "nemo")
    (folder / "samples/KS0_anger_6.wav").unlink()
    with pytest.warns(UserWarning, match=r"1 missing: KS0_anger_6\)"):
        load_from(folder, "nemo")
    folder = write_emodb(tmp_path / "emodb", texts=("a01",), emotions="W")
    write_clip(folder / "wav/03a01Wz.wav")
    with pytest.warns(UserWarning, match=r"2 not published: 03a01Wz, 09a01Wa\)"):
        rows = load_from(folder, "emodb")
    published = CORPORA["emodb"](data_dir=folder, cache_dir=tmp_path / "cache").expected_clips()
    assert (len(rows), len(published), published["03a01Fa"]) == (4, 535, 1.898)
    with pytest.warns(UserWarning, match=r"test 4 instead of 2500; 2 speakers instead of 125"):
        load_from(write_speechocean762(tmp_path / "so"), "speechocean762", config="test")


@pytest.mark.parametrize("name", WRITERS)
def test_columns_streaming_and_search_are_the_same_for_all(tmp_path: Path, name: str) -> None:
    folder = WRITERS[name](tmp_path / "corpora" / name)
    write_savee(tmp_path / "corpora/savee", folders=False)
    rows = load_from(folder, name)
    assert rows.column_names[13:] == list(CORPORA[name].extra_features)
    assert load_from(folder.parent, name)["file"][:] == rows["file"][:]
    assert [row["id"] for row in load_from(folder, name, streaming=True)] == rows["id"][:]
    assert set(rows["label"]) <= {None, *LABELS}


COUNTS = {"ased": 2474, "crema_d": 7442, "emodb": 535, "iemocap": 7532, "nemo": 4481, "polish": 450,
          "ravdess": 1440, "savee": 480, "tess": 2800, "urdu": 400}  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(list_corpora()) - {"recordings"}))
def test_facts_of_every_corpus_are_stated(name: str) -> None:
    corpus = CORPORA[name]
    assert corpus.homepage.startswith("http")
    assert len(corpus.license) > 8
    assert "20" in corpus.citation
    assert corpus.license_id == "other" or corpus.may_be_shared
    assert sum(corpus.published.values()) == COUNTS.get(name, 5000)
