"""Unpack a zip archive from elsewhere without trusting it."""

import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath


def unzip_safely(archive: Path, folder: Path, max_files: int = 20_000, max_bytes: int = 4 << 30) -> None:
    """Unpack a zip archive into a new folder."""
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
                _check(entry, archive)
            folder.mkdir()
            for entry in entries:
                target = folder / entry.filename
                if entry.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(entry) as source, target.open("xb") as file:  # "x": no entry replaces another
                    shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(f"{archive.name} is damaged or of an unknown kind: {error}") from error


def _check(entry: zipfile.ZipInfo, archive: Path) -> None:
    name = entry.filename
    if name.startswith("/") or "\\" in name or re.match(r"[A-Za-z]:", name) or ".." in PurePosixPath(name).parts:
        raise ValueError(f"{archive.name}: the entry {name!r} would leave the folder")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ValueError(f"{archive.name}: the entry {name!r} is neither a file nor a folder")
    if entry.flag_bits & 0x1:
        raise ValueError(f"{archive.name}: the entry {name!r} is encrypted")
