"""Data sets that are no copies of a corpus: columns by name, streamed or not; and folds that look at no speaker."""

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile

from dataset_scripts import load_corpus, speaker_folds
from dataset_scripts.fold_checks import check_classes, check_disjoint
from dataset_scripts.folds import unsafe_folds
from tests.synthetic import speech_like

TEXT, STORED = datasets.Value("string"), {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
EMOTIONS = ["angry", "Zeal", "sad"]


def sound(number: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, speech_like("sad", seconds=0.3, seed=number), 16000, format="WAV")
    return file.getvalue()


def write_dataset(folder: Path, train: int = 24, test: int = 12, **changes: Any) -> Path:
    """Write a data set as others push theirs: Parquet with an Audio column, and two splits."""
    folder.mkdir(parents=True)
    for split, start, count in (("train", 0, train), ("test", train, test)):
        numbers = range(start, start + count)
        columns = {
            "clip": [{"bytes": sound(number), "path": f"{number}.wav"} for number in numbers],
            "emotion": [number % 3 for number in numbers],
            "who": [number // 3 % 4 for number in numbers],
            "dialog": [f"d{number // 3 % 6}" for number in numbers],
        }
        columns |= {name: [change(number) for number in numbers] for name, change in changes.items()}
        speakers = datasets.ClassLabel(names=["s0", "s1", "s2", "s3"])
        features = {
            "clip": STORED,
            "emotion": datasets.ClassLabel(names=EMOTIONS),
            "who": speakers,
            "dialog": TEXT,
        }
        table = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
        table.cast_column("clip", datasets.Audio()).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder


def load(folder: Path, **columns: Any) -> datasets.Dataset | datasets.IterableDataset:
    return load_corpus(str(folder), cache_dir=folder.parent / "cache", **{"label_column": "emotion"} | columns)


def plain(rows: datasets.Dataset | datasets.IterableDataset) -> list[dict[str, Any]]:
    return sorted(({**row, "audio": row["audio"]["bytes"]} for row in rows), key=lambda row: row["id"])


def test_streamed_or_not_a_data_set_has_the_rows_of_a_corpus(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set")
    rows = load(folder, speaker_column="who", split_columns=["dialog"])
    assert len(rows) == 36 and rows.info.description == "set."
    assert plain(load(folder, speaker_column="who", split_columns=["dialog"], streaming=True)) == plain(rows)
    row = rows[25]
    known = ("id", "label", "label4", "native_label", "speaker", "session", "file")
    assert [row[name] for name in known] == ["test-1", "zeal", None, "Zeal", "s0", "d2", "25.wav"]
    assert row["duration"] == pytest.approx(0.3) and row["audio"]["bytes"] == sound(25)
    assert rows["label4"][:3] == ["anger", None, "sadness"]
    again = load(folder, speaker_column="who", split_columns=["dialog"])
    assert again._fingerprint == rows._fingerprint != load(folder, speaker_column="who")._fingerprint
    folds = speaker_folds(load(folder, speaker_column="who"))
    assert [fold.name[-2:] for fold in folds] == ["s0", "s1", "s2", "s3"]


@pytest.mark.parametrize("streaming", [False, True])
def test_without_speakers_it_is_told_loudly_and_groups_may_stand_for_them(tmp_path: Path, streaming: bool) -> None:
    folder = write_dataset(tmp_path / "set")
    with pytest.warns(UserWarning, match=r"THE SPEAKERS ARE UNKNOWN.*No folds.*--unsafe_split"):
        rows = load(folder, streaming=streaming)
    with pytest.raises(ValueError, match=r"The speaker of clip 'train-0' is unknown.*--unsafe_split true"):
        speaker_folds(rows)
    with pytest.warns(UserWarning, match=r"THE SPEAKERS ARE UNKNOWN.*groups of who, dialog stand for them"):
        rows = load(folder, split_columns=["who", "dialog"], streaming=streaming)
    speakers = [row["speaker"] for row in rows]
    assert speakers[:4] == ["s0 / d0"] * 3 + ["s1 / d1"]
    assert len(speaker_folds(rows)) == len(set(speakers)) == 12


@pytest.mark.parametrize("streaming", [False, True])
def test_clips_without_a_label_are_left_out_and_told(tmp_path: Path, streaming: bool) -> None:
    folder = write_dataset(tmp_path / "set", emotion=lambda number: number % 3 if number != 7 else -1)
    with pytest.warns(UserWarning, match=r"without a label .* left out.*|train-7"):
        rows = list(load(folder, speaker_column="who", streaming=streaming))
    assert len(rows) == 35 and "train-7" not in [row["id"] for row in rows]


def test_a_folder_of_files_is_read_whole_and_not_streamed(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "train"
    folder.mkdir(parents=True)
    lines = [f"{number}.wav,{EMOTIONS[number % 3]},s{number % 4}" for number in range(12)]
    for number in range(12):
        (folder / f"{number}.wav").write_bytes(sound(number))
    (folder / "metadata.csv").write_text("\n".join(["file_name,emotion,who", *lines]))
    rows = load(tmp_path / "set", speaker_column="who")
    assert rows["label"][:3] == ["anger", "zeal", "sadness"]
    assert Path(rows[1]["audio"]["path"]).read_bytes() == sound(1)
    with pytest.raises(ValueError, match="a stream of it does not hold its sounds"):
        load(tmp_path / "set", speaker_column="who", streaming=True)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label_column": "mood"}, "has no column mood. Its columns are clip, emotion, who, dialog"),
        ({"speaker_column": "voice", "split_columns": ["x"]}, "has no column voice, x"),
        ({"audio_column": "who"}, "the column who holds no sounds.*audio_column: clip"),
        ({"label_column": "clip"}, "the column clip holds no names of emotions"),
        ({"data_dir": "."}, "takes no data_dir"),
    ],
)
def test_columns_that_are_not_there_or_something_else_are_named(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load(write_dataset(tmp_path / "set"), **columns)


def test_columns_that_mean_something_and_are_not_named_are_told(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set")
    for file in folder.glob("*.parquet"):
        table = datasets.Dataset.from_parquet(str(file), cache_dir=str(tmp_path / "parquet"))
        names = {"who": "client_id", "dialog": "start_time"}
        table.rename_columns(names).to_parquet(file)
    with pytest.warns(UserWarning, match=r"start_time are not heeded: every sound is taken whole"):
        load(folder, speaker_column="client_id")
    with pytest.warns(UserWarning, match=r"THE SPEAKERS ARE UNKNOWN.*\(client_id, perhaps\)"):
        load(folder)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_path_in_a_strangers_table_is_not_read(tmp_path: Path, streaming: bool) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(sound(0))
    folder = write_dataset(tmp_path / "set", clip=lambda number: {"bytes": None, "path": str(secret)})
    with pytest.raises(ValueError, match=r"Row 0 of train holds no sound but names the file .*secret\.wav"):
        list(load(folder, speaker_column="who", streaming=streaming))


def test_a_data_set_that_is_no_copy_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no copy of a corpus.*label_column at least"):
        load_corpus(str(write_dataset(tmp_path / "set")), cache_dir=tmp_path / "cache")


ROWS = [{"id": f"{n}", "speaker": "unknown", "label": "ab"[n % 2]} for n in range(40)]


@pytest.mark.parametrize("k", [None, 3, 7])
def test_unsafe_folds_test_each_clip_once_and_each_class_evenly(k: int | None) -> None:
    folds = unsafe_folds(ROWS, k)
    assert len(folds) == (k or 10) and folds == unsafe_folds(ROWS, k)
    assert sorted(clip for fold in folds for clip in fold.test) == sorted(row["id"] for row in ROWS)
    for fold in folds:
        assert fold.name.startswith("unsafe-")
        check_disjoint(fold, ROWS, shares_speakers=True)
        check_classes(fold, ROWS)
        assert np.ptp([sum(int(clip) % 2 == label for clip in fold.test) for label in (0, 1)]) <= 1


def test_unsafe_folds_divide_no_recording() -> None:
    recordings = {row["id"]: None if index > 30 else f"r{index // 3}" for index, row in enumerate(ROWS)}
    for fold in unsafe_folds(ROWS, 5, recordings):
        parts = [{recordings[clip] for clip in ids} - {None} for ids in fold.splits.values()]
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    with pytest.raises(ValueError, match="at least 3 groups"):
        unsafe_folds(ROWS, 2)
