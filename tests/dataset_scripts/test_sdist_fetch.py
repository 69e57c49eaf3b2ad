import hashlib
import io
import os
import re
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import datasets
import pytest

from dataset_scripts import load_corpus
from dataset_scripts.polish import SOURCE
from dataset_scripts.sdist_fetch import SdistArchive, fetch_sdist_archive, unzip_safely
from tests.synthetic import write_polish


def make_zip(files: Mapping[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def make_sdist(path: Path, archive: bytes) -> SdistArchive:
    """Write a source distribution with an archive in it; return what is to be fetched."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in (("setup.py", b"raise SystemExit('never run')"), ("data/clips.zip", archive)):
            member = tarfile.TarInfo(f"corpora-1.0/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return SdistArchive("small", "Small corpus", "corpora", "1.0", sha256, "data/clips.zip", 1)


@dataclass
class FakePip:
    """Stands for pip: copies a file into the folder asked for, or fails."""

    sdist: Path | None = None
    stderr: str = ""
    fails_without_isolation: str = ""
    commands: list[list[str]] = field(default_factory=list)
    requirements: str = ""

    def __call__(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        self.commands.append(command)
        self.requirements = Path(command[command.index("-r") + 1]).read_text()
        if self.fails_without_isolation and "--no-build-isolation" in command:
            return subprocess.CompletedProcess(command, 1, "", self.fails_without_isolation)
        if self.sdist is None:
            return subprocess.CompletedProcess(command, 1, "", self.stderr)
        Path(command[command.index("-d") + 1], "corpora-1.0.tar.gz").write_bytes(self.sdist.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)


@pytest.fixture
def packed(tmp_path: Path) -> tuple[SdistArchive, FakePip]:
    sdist = tmp_path / "made.tar.gz"
    source = make_sdist(sdist, make_zip({"CLIPS/a.wav": b"a", "CLIPS/deep/b.wav": b"b"}))
    return source, FakePip(sdist)


def remains(cache: Path) -> list[str]:
    return [name for name in os.listdir(cache) if not name.endswith(".lock")]


def test_archive_is_fetched_once_and_pip_checks_its_hash_before_anything_runs(
    tmp_path: Path, packed: tuple[SdistArchive, FakePip], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, pip = packed
    cache = tmp_path / "cache"
    (cache / f".small-{source.sha256[:12]}-dead").mkdir(parents=True)  # remains of a killed process are swept
    folder = fetch_sdist_archive(source, cache, pip)
    assert folder == cache / f"small-{source.sha256[:12]}"
    assert (folder / "CLIPS/deep/b.wav").read_bytes() == b"b"
    (command,) = pip.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--require-hashes", "--no-build-isolation"} < set(command)
    assert command[command.index("--no-binary") + 1] == "corpora"
    assert pip.requirements == f"corpora==1.0 --hash=sha256:{source.sha256}\n"
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)  # what is cached needs no network
    assert fetch_sdist_archive(source, cache, pip) == folder
    assert len(pip.commands) == 1
    assert remains(cache) == [folder.name]
    with pytest.raises(ConnectionError, match=r"offline mode is on .*data_dir"):
        fetch_sdist_archive(source, tmp_path / "other", pip)
    assert len(pip.commands) == 1


@pytest.mark.parametrize(
    "stderr",
    [
        "error: invalid command 'bdist_wheel'\nerror: metadata-generation-failed",  # setuptools 65 without wheel
        "ModuleNotFoundError: No module named 'setuptools'",
    ],
)
def test_build_tools_are_fetched_where_those_installed_do_not_do(
    tmp_path: Path, packed: tuple[SdistArchive, FakePip], stderr: str
) -> None:
    source, pip = packed
    pip.fails_without_isolation = stderr
    assert fetch_sdist_archive(source, tmp_path, pip).is_dir()
    assert ["--no-build-isolation" in command for command in pip.commands] == [True, False]


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("WARNING: again\nERROR: No matching distribution found", "pip said: ERROR: No matching distribution found"),
        ("/usr/bin/python: No module named pip", "no pip in this environment; `python -m ensurepip`"),
        ("", "pip said: code 1"),
    ],
)
def test_a_failed_download_says_what_to_do(tmp_path: Path, stderr: str, message: str) -> None:
    source = make_sdist(tmp_path / "made.tar.gz", make_zip({}))
    with pytest.raises(ConnectionError, match=re.escape(message)) as error:
        fetch_sdist_archive(source, tmp_path / "cache", FakePip(stderr=stderr))
    assert "the source distribution of corpora 1.0" in str(error.value)
    assert "data_dir" in str(error.value)
    assert remains(tmp_path / "cache") == []


def test_a_wrong_file_is_not_used(tmp_path: Path, packed: tuple[SdistArchive, FakePip]) -> None:
    source, pip = packed
    with pytest.raises(ValueError, match=rf"SHA-256 {source.sha256} instead of 0{{64}}; it was not used"):
        fetch_sdist_archive(replace(source, sha256="0" * 64), tmp_path / "cache", pip)
    assert remains(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("archive", "member", "message"),
    [
        (make_zip({"a.wav": b"a"}), "data/other.zip", "holds no corpora-1.0/data/other.zip"),
        (b"no zip", "data/clips.zip", "is damaged"),
        (make_zip({"../a.wav": b"a"}), "data/clips.zip", "would leave the folder"),
    ],
)
def test_an_unexpected_archive_leaves_nothing(tmp_path: Path, archive: bytes, member: str, message: str) -> None:
    sdist = tmp_path / "made.tar.gz"
    source = replace(make_sdist(sdist, archive), member=member)
    with pytest.raises(ValueError, match=message):
        fetch_sdist_archive(source, tmp_path / "cache", FakePip(sdist))
    assert remains(tmp_path / "cache") == []


def test_several_at_once_fetch_once(tmp_path: Path, packed: tuple[SdistArchive, FakePip]) -> None:
    source, pip = packed
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: fetch_sdist_archive(source, tmp_path / "cache", pip), range(4)))
    assert len(set(folders)) == len(pip.commands) == 1


def make_link() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (make_zip({"/abs.wav": b""}), "'/abs.wav' would leave"),
        (make_zip({"a/../../b.wav": b""}), "would leave"),
        (make_zip({"..\\b.wav": b""}), "would leave"),
        (make_zip({"C:b.wav": b""}), "would leave"),
        (make_zip({make_link(): b"/etc/passwd"}), "'link' is neither a file nor a folder"),
        (make_zip({"a": bytes(2000)}), "2000 bytes, more than the 1000 allowed"),
        (make_zip(dict.fromkeys("abcdef", b"")), "6 entries, more than the 5 allowed"),
        (make_zip({"a.wav": b"abc"})[:-8], "is damaged"),
        (make_zip({"a.wav": b"abcdefgh"}).replace(b"abcdefgh", b"abcdefgx"), "is damaged"),
    ],
)
def test_archives_that_break_the_rules(tmp_path: Path, archive: bytes, message: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(archive)
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match=re.escape(message)):
        unzip_safely(path, tmp_path / "in/out", max_files=5, max_bytes=1000)
    assert sorted(os.listdir(tmp_path)) == ["a.zip", "in"]


@pytest.mark.filterwarnings("ignore:.*published are:UserWarning")
def test_polish_is_fetched_where_it_is_not_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SER_DATA_DIR", raising=False)
    clips = write_polish(tmp_path / "made", speakers=(1,), words=("nie",), repetitions=(1,), seconds=0.1)
    packed = make_zip({f"POLISH/{clip.name}": clip.read_bytes() for clip in clips.iterdir()})
    source = make_sdist(tmp_path / "made.tar.gz", packed)
    pip = FakePip(tmp_path / "made.tar.gz")
    monkeypatch.setattr("dataset_scripts.polish.SOURCE", source)
    monkeypatch.setattr("dataset_scripts.sdist_fetch._run", pip)
    assert (SOURCE.package, SOURCE.version) == ("nkululeko", "1.14.1")
    for _ in range(2):
        rows = load_corpus("polish", cache_dir=tmp_path / "cache")
    assert sorted(rows["label"]) == ["anger", "fear", "neutral"]
    assert len(pip.commands) == 1


@pytest.mark.skipif(os.environ.get("SER_NETWORK_TESTS") != "1", reason="SER_NETWORK_TESTS is not 1: no downloads")
@pytest.mark.filterwarnings("error:.*published are:UserWarning")
def test_real_polish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SER_DATA_DIR", raising=False)
    rows = load_corpus("polish", cache_dir=tmp_path)
    assert Counter(rows["label"]) == {"anger": 150, "fear": 150, "neutral": 150}
    assert Counter(rows["speaker"]) == {f"m{number}": 90 for number in range(1, 6)}
    assert Counter(rows["sentence"]) == dict.fromkeys(("nie", "oddaj", "podaj", "stop", "tak", "trzymaj"), 75)
    assert 0.4 < min(rows["duration"]) < max(rows["duration"]) < 1.7
