"""What all corpora share: search, checks, columns, the table and its cache; on small RAVDESS and Polish corpora."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
import soundfile

from dataset_scripts import LABELS, list_corpora, load_corpus
from dataset_scripts.corpus_base import SpeechCorpus
from dataset_scripts.ravdess import RAVDESS
from tests.subprocess_tools import offline_environment, run_python_json
from tests.synthetic import tone, write_polish, write_ravdess
from tests.synthetic_corpora import load_from

COLUMNS = ["id", "audio", "label", "label4", "native_label", "speaker", "sex", "sentence", "transcript", "kind"]
COLUMNS += ["language", "duration", "file"]
FIRST = "Actor_01/03-01-01-01-01-01-01"

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """32 clips: actors 1 and 2, 2 statements, 1 repetition."""
    return write_ravdess(tmp_path / "corpora/ravdess", actors=(1, 2), repetitions=(1,), seconds=0.1)


def load(folder: Path) -> datasets.Dataset:
    return load_from(folder, "ravdess")


def tables(folder: Path) -> list[Path]:
    return sorted((folder.parent / "cache").rglob("*.arrow"))


def test_rows_have_the_columns_of_every_corpus_and_where_they_come_from(small: Path) -> None:
    rows = load(small)
    assert rows.column_names == COLUMNS
    assert rows.features["audio"] == datasets.Audio(decode=False)
    path = small / "Actor_02/03-01-05-01-02-01-02.wav"
    assert rows.filter(lambda row: row["id"] == path.stem)[0] == {
        "id": "03-01-05-01-02-01-02",
        "audio": {"path": str(path), "bytes": None},
        "label": "anger",
        "label4": "anger",
        "native_label": "angry",
        "speaker": "Actor_02",
        "sex": "f",
        "sentence": "02",
        "transcript": "Dogs are sitting by the door",
        "kind": "acted",
        "language": "en",
        "duration": 0.1,
        "file": "Actor_02/03-01-05-01-02-01-02.wav",
    }
    labels = dict(zip(rows["label"], rows["label4"], strict=True))
    assert set(labels) <= set(LABELS)
    assert {label: four for label, four in labels.items() if four} == {
        label: label for label in ("anger", "happiness", "neutral", "sadness")
    }
    assert (rows.info.license, rows.info.homepage) == (RAVDESS.license, RAVDESS.homepage)
    assert "Livingstone" in rows.info.citation


@pytest.mark.parametrize("above", ["ravdess", ".", "..", "ravdess/Actor_01"])
def test_corpus_is_found_from_its_folder_and_from_above(small: Path, above: str) -> None:
    write_polish(small.parent / "polish", speakers=(1,), seconds=0.1)  # a neighbor is no mistake
    rows = load_corpus("ravdess", data_dir=small.parent / above, cache_dir=small.parent / "cache")
    if above == "ravdess/Actor_01":
        assert set(rows["speaker"]) == {"Actor_01"}
    else:
        assert (len(rows), rows[0]["file"]) == (32, f"{FIRST}.wav")
    assert all(Path(audio["path"]).is_file() for audio in rows["audio"])


def test_paths_stay_valid_from_another_working_directory(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.parent)
    rows = load_corpus("ravdess", data_dir="ravdess", cache_dir="cache")
    monkeypatch.chdir("/")
    assert all(Path(audio["path"]).is_file() for audio in rows["audio"])


def test_default_folder_is_named_by_the_environment(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_DATA_DIR", str(small.parent))
    assert len(load_corpus("ravdess", cache_dir=small.parent / "cache")) == 32
    for parent in (None, str(small)):
        monkeypatch.setenv("SER_DATA_DIR", parent) if parent else monkeypatch.delenv("SER_DATA_DIR")
        with pytest.raises(FileNotFoundError, match=r"RAVDESS: .*(SER_DATA_DIR|does not exist).*data_dir"):
            load_corpus("ravdess", cache_dir=small.parent / "cache")


def test_streaming_yields_the_same_clips(small: Path) -> None:
    streamed = load_corpus("ravdess", data_dir=small, cache_dir=small.parent / "cache", streaming=True)
    assert isinstance(streamed, datasets.IterableDataset)
    assert not tables(small)
    assert list(streamed) == list(load(small))


def test_clips_are_shards_in_the_order_of_their_names(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataset_scripts.corpus_base.CLIPS_PER_SHARD", 10)
    builder = RAVDESS(data_dir=small, cache_dir=small.parent / "cache")
    assert builder.as_streaming_dataset(split="train").num_shards == 4
    files = list(builder.as_table(num_proc=2)["file"])
    assert len(files) == 32
    assert files == sorted(files)


def test_second_load_reuses_the_table(small: Path) -> None:
    first = load(small)
    (table,) = tables(small)
    written = table.stat().st_mtime_ns
    assert load(small)._fingerprint == first._fingerprint  # so features cached by map() are found again
    assert [file.stat().st_mtime_ns for file in tables(small)] == [written]


def write_tone(path: Path, seconds: float = 0.1) -> None:
    soundfile.write(path, tone(seconds=seconds), 16000)


CHANGES = {  # how a corpus changes, how many clips there are then, and how long the first one is
    "touched": (lambda folder: os.utime(folder / f"{FIRST}.wav", ns=(1, 1)), 32, 0.1),
    "replaced": (lambda folder: write_tone(folder / f"{FIRST}.wav", 1.0), 32, 1.0),
    "removed": (lambda folder: (folder / f"{FIRST}.wav").unlink(), 31, 0.1),
    "added": (lambda folder: write_tone(folder / "Actor_01/03-01-01-01-01-02-01.wav"), 33, 0.1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_corpus_changed_on_disk_is_built_anew(small: Path, change: str) -> None:
    make, clips, seconds = CHANGES[change]
    before = load(small)
    make(small)
    after = load(small)
    assert (len(after), after[0]["duration"]) == (clips, seconds)
    assert after._fingerprint != before._fingerprint
    assert len(tables(small)) == 2


def first_is(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / f"{FIRST}.wav").write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {  # what happens, what is named
    "stray": (lambda folder: write_tone(folder / "Actor_01/take two.wav"), r"take two\.wav.*Rename"),
    "bad code": (lambda folder: (folder / f"{FIRST}.wav").rename(folder / "Actor_01/03-01-09.wav"), "03-01-09"),
    "twice encoded": (lambda folder: write_tone(folder / f"{FIRST}.flac"), r"01-01-01' in \S+\.flac, \S+\.wav"),
    "two copies": (lambda folder: shutil.copytree(folder / "Actor_01", folder / "again/Actor_01"), "16 .* again/"),
    "empty file": (first_is(b""), r"01-01\.wav: is empty"),
    "text file": (first_is(b"no audio"), r"01-01\.wav: no audio file"),
    "cut header": (first_is(b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00"), r"01-01\.wav: truncated"),
    "no samples": (lambda folder: write_tone(folder / f"{FIRST}.wav", 0), r"01-01\.wav: holds 0 samples"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_corpus_is_refused_and_leaves_no_table(small: Path, damage: str) -> None:
    make, message = DAMAGES[damage]
    make(small)
    with pytest.raises(ValueError, match=message):
        load(small)
    assert not tables(small)
    assert not list((small.parent / "cache").rglob("*.incomplete"))


def test_what_is_no_corpus(small: Path) -> None:
    (small.parent / "empty/Actor_01").mkdir(parents=True)
    write_polish(small.parent / "polish", speakers=(1,), words=("nie",), seconds=0.1)
    for name, error, named in (
        ("nowhere", FileNotFoundError, "nowhere"),
        ("empty", FileNotFoundError, "empty"),
        (f"ravdess/{FIRST}.wav", NotADirectoryError, "is a file"),
        ("polish", ValueError, r"m1\.a_nie_1\.wav"),
    ):
        with pytest.raises(error, match=named):
            load(small.parent / name)


def test_unknown_names(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list_corpora()) == 12
    assert {"emodb", "iemocap", "polish", "ravdess", "recordings"} < set(list_corpora())
    with pytest.raises(ValueError, match=r"'RAVDES'\. Did you mean 'ravdess'\? .*: ased, .*polish, ravdess, "):
        load_corpus("RAVDES")
    with pytest.raises(ValueError, match=r"no corpus 'xyz'\. Known corpora"):
        load_corpus("xyz")
    monkeypatch.chdir(small.parent)
    with pytest.raises(ValueError, match=rf"in the folder of that name write \./{small.name}x\. Known corpora"):
        (small.parent / f"{small.name}x").mkdir()
        load_corpus(f"{small.name}x")
    with pytest.raises(ValueError, match=r"'song' not found.*speech"):
        load_corpus("ravdess", data_dir=small, config="song", cache_dir=small.parent / "cache")


def test_songs_and_videos_are_left_out_and_told(small: Path) -> None:
    for name in ("03-02-01-01-01-01-01", "01-01-01-01-01-01-01"):
        shutil.copy(small / f"{FIRST}.wav", small / f"Actor_01/{name}.wav")
    with pytest.warns(UserWarning) as told:
        assert len(load(small)) == 32
    messages = " ".join(str(warning.message) for warning in told)
    assert "1 file(s) left out: sung" in messages and "1 file(s) left out: sound of a video" in messages


def test_what_macos_adds_is_no_audio(small: Path) -> None:
    (small / "Actor_01/._03-01-01-01-01-01-01.wav").write_bytes(b"fork")
    shutil.copytree(small / "Actor_01", small / "__MACOSX/Actor_01")
    assert len(load(small)) == 32


def test_links_to_folders_are_followed_but_not_in_circles(small: Path) -> None:
    folder = small.parent / "linked"
    folder.mkdir()
    (folder / "Actor_01").symlink_to(small / "Actor_01")
    (folder / "again").symlink_to(folder)
    assert len(load(folder)) == 16


@pytest.mark.filterwarnings("error")
def test_other_counts_than_published_are_told_and_no_others(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(UserWarning, match=r"32 clips of 2 speakers; published are 1440 clips of 24 .*angry 4 inst"):
        load(small)
    monkeypatch.setattr(RAVDESS, "published", dict.fromkeys(RAVDESS.labels, 4))
    monkeypatch.setattr(RAVDESS, "published_speakers", 2)
    monkeypatch.setattr(RAVDESS, "expected_clips", dict)
    assert len(load(small)) == 32


def test_labels_lead_into_the_house_vocabulary(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RAVDESS, "labels", {"neutral": "neutral"})
    with pytest.raises(ValueError, match=r"Actor_01/\S+ has the label 'calm'.*\['neutral'\]"):
        load(small)
    with pytest.raises(ValueError, match=r"Odd\.labels maps to \['joy'\]"):
        type("Odd", (SpeechCorpus,), {"labels": {"j": "joy"}})


def test_no_progress_bars_outside_a_terminal(small: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(small)
    assert capfd.readouterr().err == ""
    assert not datasets.utils.are_progress_bars_disabled()


def test_naming_corpora_and_commands_loads_nothing_heavy(tmp_path: Path) -> None:
    program = """
    import json, sys
    import dataset_scripts.command
    dataset_scripts.command.get_parser().format_help()
    assert dataset_scripts.list_corpora() and dataset_scripts.speaker_folds
    try:
        dataset_scripts.load_corpus("emodb", "nowhere")
    except FileNotFoundError:
        print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
    """
    loaded = set(run_python_json(program, env=offline_environment(tmp_path), cwd=tmp_path, with_project=True))
    assert not loaded & {"datasets", "pyarrow", "numpy", "soundfile", "torch", "transformers", "huggingface_hub"}
