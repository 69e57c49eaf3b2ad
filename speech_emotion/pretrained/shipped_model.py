"""The model that comes along, in a distribution of its own: found, and made a folder that needs nothing of ours."""

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from dataset_scripts.package_fetch import make_once

EMOTIONS = "emotions"
PACKAGE = "modeling_ser_emotions"
LICENSE = "CC BY-NC-SA 4.0"
# The files of code that a saved model names; what they import beside them is found.
CODE = {
    "modeling_ser": ("configuration_ser.py", "modeling_ser.py", "pipeline_ser.py"),
    "feature_extraction": ("feature_extraction_ser.py",),
}


def packaged_model() -> Path:
    """Find the folder of weights, settings and card that the distribution installed."""
    spec = importlib.util.find_spec(PACKAGE)
    folder = Path(spec.origin).parent / EMOTIONS if spec is not None and spec.origin else None
    if folder is None or not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(
            f"The model {EMOTIONS!r} is a distribution of its own, because of its terms ({LICENSE}: no commercial "
            "use), and is not installed. In a clone of this library: pip install ./weights/emotions"
        )
    return folder


def with_code(model: Path, cache: Path) -> Path:
    """Put a model's files and the library's code, which `transformers.pipeline` needs, into one folder, once."""
    files = {file.relative_to(model): file for file in sorted(model.rglob("*")) if file.is_file()}
    files |= {Path(file.name): file for file in _code_files()}
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        # Weights are told by their size and time: reading 40 MB each time would be felt.
        stat = file.stat()
        content = f"{file} {stat.st_size} {stat.st_mtime_ns}".encode()
        digest.update(f"{name}".encode() + (content if file.suffix == ".safetensors" else file.read_bytes()))
    folder = cache / digest.hexdigest()[:12] / EMOTIONS

    def make(work: Path) -> None:
        for name, file in files.items():
            (work / "made" / name).parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(file, work / "made" / name)

    return make_once(folder, make)


def _code_files() -> Iterable[Path]:
    from transformers.dynamic_module_utils import get_relative_import_files

    for room, names in CODE.items():
        spec = importlib.util.find_spec(room)
        for name in names:
            file = Path(spec.origin).parent / name
            yield file
            yield from map(Path, get_relative_import_files(file))


def _link_or_copy(file: Path, target: Path) -> None:
    if file.suffix != ".safetensors":  # what is edited in place must not change under who has loaded it
        shutil.copyfile(file, target)
        return
    try:
        os.link(file, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(file, target)
