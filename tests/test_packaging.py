"""What the wheel holds: the library with its data, and nothing that serves only this checkout."""

import importlib
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.subprocess_tools import PROJECT_ROOT, offline_environment

LIBRARY = ("dataset_scripts", "feature_extraction", "modeling_ser", "speech_emotion")
DATA = (".j2", ".json", ".md", ".safetensors", ".txt")


def files_below(folder: Path) -> set[str]:
    """Files of a folder, but what Python makes of them."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if "__pycache__" not in path.parts}


def test_the_wheel_holds_the_library_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    commands = ["egg_info", "--egg-base", str(tmp_path), "build_py", "--build-lib", str(tmp_path / "wheel")]
    environment = offline_environment(tmp_path)
    subprocess.run(
        [sys.executable, "setup.py", "-q", *commands], cwd=PROJECT_ROOT, env=environment, check=True, timeout=60
    )
    library = {f"{room}/{file}" for room in LIBRARY for file in files_below(PROJECT_ROOT / room)}
    expected = {file for file in library if file.endswith((".py", *DATA))} | {"speech_emotion/training/model_card.md"}
    assert files_below(tmp_path / "wheel") == expected


@pytest.mark.parametrize("room", LIBRARY)
def test_a_room_gives_all_that_it_names(room: str) -> None:
    module = importlib.import_module(room)
    assert all(hasattr(module, name) for name in getattr(module, "__all__", []))  # loaded when they are asked for
    with pytest.raises(AttributeError, match="unheard_of"):
        module.unheard_of  # noqa: B018


def test_the_version_is_told_by_the_installed_package_and_the_citation() -> None:
    version = metadata.version("modeling-ser")
    assert f'version = "{version}"' in (PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"version: {version}\n" in (PROJECT_ROOT / "CITATION.cff").read_text(encoding="utf-8")


PAGES = ("README.md", "CONTRIBUTING.md", "model_card.md", "docs/**/*.md")
PAGES += ("benchmarks/RESULTS.md", "reproduction/HISTORY.md", "results/*.md")
TOP = (*LIBRARY, "benchmarks", "reproduction", "results", "tests")


@pytest.mark.parametrize(
    "page",
    sorted(path for pattern in PAGES for path in PROJECT_ROOT.glob(pattern)),
    ids=lambda path: path.relative_to(PROJECT_ROOT).as_posix(),
)
def test_pages_name_files_and_commands_that_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [page.parent / link for link in re.findall(r"\]\(([^)#:{]+)[)#]", text)]
    files = [PROJECT_ROOT / name for name in re.findall(rf"(?<![\w/.])(?:{'|'.join(TOP)})/[\w./-]*\w", text)]
    scripts = [PROJECT_ROOT / name for name in re.findall(r"python (\w+\.py)", text)]
    assert [str(path) for path in (*links, *files, *scripts) if not path.exists()] == []
    for module in re.findall(r"python -m ([\w.]+)", text):
        folder = PROJECT_ROOT / module.replace(".", "/")
        assert (folder / "__main__.py").is_file() or module in ("http.server", "pip", "pytest"), module
