import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import datasets
import pytest

from dataset_scripts import Fold, load_fold, save_fold, speaker_folds

ROWS = [
    {"id": f"{speaker}-{label}", "speaker": speaker, "label": label}
    for speaker in ("m1", "m2", "Łucja")
    for label in ("anger", "fear")
]
FOLD = speaker_folds(ROWS)[0]


def write(path: Path, entries: list[Any]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return path


def entries() -> list[dict[str, str]]:
    row_of = {row["id"]: row for row in ROWS}
    return [row_of[i] | {"split": split} for split, ids in FOLD.splits.items() for i in ids]


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / f"{FOLD.name}.jsonl"
    save_fold(FOLD, ROWS, path)
    assert load_fold(path, ROWS) == FOLD
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first == '{"id": "Łucja-anger", "speaker": "Łucja", "label": "anger", "split": "train"}'
    assert os.listdir(tmp_path) == [path.name]
    # Files of other editors are read.
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_fold(path, ROWS) == FOLD


def test_line_ends_that_json_does_not_escape_may_stand_in_names(tmp_path: Path) -> None:
    rows = [row | {"speaker": row["speaker"].replace("m", "m\u2028\x85")} for row in ROWS]
    fold = speaker_folds(rows)[0]
    save_fold(fold, rows, tmp_path / f"{fold.name}.jsonl")
    assert load_fold(tmp_path / f"{fold.name}.jsonl", rows).splits == fold.splits


@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_accents_are_read_however_they_are_written(tmp_path: Path, written: str) -> None:
    named = [{key: text.replace("m2", "Zoë") for key, text in row.items()} for row in ROWS]
    saved, there = (
        [{key: unicodedata.normalize(form, text) for key, text in row.items()} for row in named]
        for form in ("NFC" if written == "NFD" else "NFD", written)
    )
    save_fold(speaker_folds(saved)[0], saved, tmp_path / "fold.jsonl")
    assert load_fold(tmp_path / "fold.jsonl", there).splits == speaker_folds(there)[0].splits


@pytest.mark.parametrize("streaming", [False, True])
def test_folds_of_a_dataset(tmp_path: Path, streaming: bool) -> None:
    rows = datasets.Dataset.from_list([row | {"audio": {"path": "x", "bytes": None}} for row in ROWS])
    rows = rows.to_iterable_dataset() if streaming else rows
    assert speaker_folds(rows)[0] == FOLD
    save_fold(FOLD, rows, tmp_path / "f.jsonl")
    assert load_fold(tmp_path / "f.jsonl", rows).test == FOLD.test


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text("old")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_fold(FOLD, ROWS, path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["f.jsonl"]


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (FOLD.test[:1], r"1 clip\(s\) of the corpus are in no split"),
        ((*FOLD.test, FOLD.train[0]), "is in train and in test"),
    ],
)
def test_a_bad_fold_is_not_saved(tmp_path: Path, test: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        save_fold(Fold(FOLD.train, FOLD.validation, test), ROWS, tmp_path / "f.jsonl")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (2, {"id": "m9-fear"}, "line 2: the clip 'm9-fear' is not in the corpus"),
        (2, {"id": 5}, "line 2: the clip 5 is not in the corpus"),
        (3, {"label": "joy"}, "line 3: the label of the clip .* is 'joy' here but 'anger' in the corpus"),
        (3, {"speaker": "m9"}, "line 3: the speaker of the clip .* is 'm9' here"),
        (4, {"split": "dev"}, "line 4: the split is 'dev'; it must be one of train, validation, test"),
        (4, {"split": ["test"]}, "line 4: the split is"),
        (4, {"extra": "x"}, "line 4: expected a JSON object with the keys id, speaker, label, split"),
        (6, {"split": "train"}, "speaker 'm1' is in train and in test"),
        (6, {"id": "m1-anger", "label": "anger"}, "'m1-anger' is twice in test"),
    ],
)
def test_a_changed_line_is_found(tmp_path: Path, number: int, change: dict[str, Any], message: str) -> None:
    lines = entries()
    lines[number - 1] = lines[number - 1] | change
    with pytest.raises(ValueError, match=message):
        load_fold(write(tmp_path / "f.jsonl", lines), ROWS)


@pytest.mark.parametrize("line", ["{", "", "[1]", '"text"'])
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "f.jsonl", entries())
    path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"f\.jsonl, line 7: (not|expected) a JSON object"):
        load_fold(path, ROWS)


def test_files_that_hold_no_whole_fold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"1 clip\(s\) of the corpus are in no split, for example 'm1-fear'"):
        load_fold(write(tmp_path / "f.jsonl", entries()[:-1]), ROWS)
    with pytest.raises(FileNotFoundError, match=r"no file of folds .*none\.jsonl"):
        load_fold(tmp_path / "none.jsonl", ROWS)
    (tmp_path / "audio.jsonl").write_bytes(b"RIFF\xff\xfe\x00")
    with pytest.raises(ValueError, match="not UTF-8 text"):
        load_fold(tmp_path / "audio.jsonl", ROWS)
