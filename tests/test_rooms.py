"""The plan of the house: which folder may import which, and what the Hub can copy."""

import ast
import graphlib
import itertools
import re
import sys
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.subprocess_tools import PROJECT_ROOT, offline_environment, run_python_json

SHARED = ("feature_extraction", "modeling_ser")
CONVERTERS = "feature_extraction.convert"  # which stay here
LIBRARY = (*SHARED, "dataset_scripts", "speech_emotion")
JOINING = tuple(f"speech_emotion.{room}" for room in ("training", "cross_validation", "inference", "checkpoint"))
# Of which everything that names files makes use.
NAMING = "feature_extraction.safe_text"
ENTRY = (
    "speech_emotion.cli",
    "reproduction",
)  # with the scripts beside them, all that may import what joins the rooms
NEVER_SHARED = {"librosa", "matplotlib", "gradio", "evaluate", "jinja2", "pandas", "sklearn"}


class Import(NamedTuple):
    """One thing that a module imports, at any depth of its code, for types or to run."""

    line: int
    level: int  # dots before the name
    module: str | None  # as written
    target: str  # absolute; a module of ours to its full depth


@cache
def project_modules() -> dict[str, Path]:
    """Every module of the library and of the reproduction, and every script beside them: dotted name → file."""
    files = [path for room in (*LIBRARY, "reproduction") for path in sorted((PROJECT_ROOT / room).rglob("*.py"))]
    files += sorted(PROJECT_ROOT.glob("*.py"))
    return {
        ".".join(path.relative_to(PROJECT_ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files
    }


def within(target: str, *packages: str) -> bool:
    return any(target == package or target.startswith(package + ".") for package in packages)


def modules_of(*rooms: str) -> list[str]:
    return [name for name in project_modules() if within(name, *rooms)]


@cache
def imports_of(name: str) -> list[Import]:
    path = project_modules()[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            written = [(0, alias.name, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            inside = [f"{base}.{alias.name}" for alias in node.names]
            written = [(node.level, node.module, full if full in project_modules() else base) for full in inside]
        else:
            continue
        found += [Import(node.lineno, *one) for one in dict.fromkeys(written)]
    return found


def own_imports(name: str) -> list[Import]:
    ours = (*LIBRARY, "reproduction", "tests", "benchmarks")
    return [one for one in imports_of(name) if within(one.target, *ours)]


@cache
def copied_to_the_hub() -> set[str]:
    """Modules that `save_pretrained` copies: those named after a shared class, and what they import beside them."""
    kinds = ("configuration_", "feature_extraction_", "modeling_", "pipeline_")
    waiting = [name for name in modules_of(*SHARED) if name.partition(".")[2].startswith(kinds)]
    copied: set[str] = set()
    while waiting:
        copied.add(name := waiting.pop())
        waiting += [one.target for one in imports_of(name) if one.level and one.target not in copied]
    return copied


@cache
def declared_packages(optional: bool) -> set[str]:
    """Names under which the project's dependencies are imported, with or without those of its extras."""
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values() if optional else ()
    requirements = itertools.chain(project["dependencies"], *extras)
    names = {re.match(r"[\w.-]+", requirement)[0].replace("-", "_") for requirement in requirements}
    return names | {"httpx"}  # huggingface_hub's own client, of which its errors are


def test_what_the_hub_copies_is_found_and_no_converter_is() -> None:
    copied = {name.partition(".")[2] for name in copied_to_the_hub()}
    assert {"configuration_ser", "feature_extraction_ser", "audio_decoding", "modeling_ser", "pipeline_ser"} <= copied
    assert not any(within(name, CONVERTERS) for name in copied_to_the_hub())


@pytest.mark.parametrize("name", modules_of(*SHARED))
def test_shared_code_imports_its_own_folder_and_installed_packages(name: str) -> None:
    # What stays here, such as a converter, may need an extra and its parent; what is copied must load without.
    stays = within(name, CONVERTERS)
    allowed = declared_packages(optional=name not in copied_to_the_hub()) - (set() if stays else NEVER_SHARED)
    folder = project_modules()[name].parent
    for one in imports_of(name):
        where = f"{name}, line {one.line}"
        if one.level and not stays:
            # The forms that transformers' copying understands; a package's own file is not copied.
            assert one.level == 1, f"{where}: leaves its folder"
            assert one.module, f"{where}: `from . import` copies no file"
            lazy = name == "feature_extraction" and within(one.target, CONVERTERS)
            assert lazy or (folder / f"{one.module}.py").is_file(), f"{where}: .{one.module} is no file of the folder"
        elif one.level:
            assert within(one.target, "feature_extraction"), f"{where}: leaves its room"
        else:
            top = one.target.partition(".")[0]
            inside = stays and within(one.target, "feature_extraction")
            known = inside or top in sys.stdlib_module_names or top in allowed
            assert known, f"{where}: {top} is not declared, or not for here"


@pytest.mark.parametrize("name", modules_of(*SHARED))
def test_no_text_in_shared_code_looks_like_an_import(name: str) -> None:
    # transformers finds imports with regular expressions, in docstrings and comments too, and fails on these.
    path = project_modules()[name]
    real = {one.line for one in imports_of(name) if one.level}
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    assert [
        number for number, line in lines if re.match(r"[\s#>.\"']*(from|import)\s+\.", line) and number not in real
    ] == []


def test_shared_folders_are_flat_and_their_names_unique() -> None:
    files = [project_modules()[name] for name in modules_of(*SHARED)]
    folders = {PROJECT_ROOT / room for room in SHARED} | {PROJECT_ROOT / CONVERTERS.replace(".", "/")}
    assert {path.parent for path in files} == folders
    names = Counter(path.name for path in files if path.name != "__init__.py")
    assert [name for name, times in names.items() if times > 1 or name.startswith("_")] == []


def test_each_room_imports_what_it_may() -> None:
    faults = []
    for name in project_modules():
        script = "." not in name and not within(name, *LIBRARY, "reproduction")
        for one in own_imports(name):
            target = one.target
            if within(name, "dataset_scripts"):
                decoding = ("feature_extraction.audio_decoding", "feature_extraction.content_kind")
                allowed = within(target, "dataset_scripts", NAMING, *decoding)
            elif within(name, "speech_emotion.evaluation"):
                allowed = within(target, "speech_emotion.evaluation", "speech_emotion.files", NAMING)
            elif within(name, "reproduction"):
                allowed = within(target, *LIBRARY, "reproduction")
            elif script and name != "app":
                allowed = within(target, "speech_emotion.cli")
            else:
                allowed = within(target, *LIBRARY)
            if within(target, "speech_emotion.cli"):
                allowed = allowed and (script or within(name, *ENTRY))
            if within(target, *JOINING):
                allowed = allowed and (script or within(name, *JOINING, *ENTRY))
            if not allowed:
                faults.append(f"{name}, line {one.line} imports {target}")
    assert faults == []


def test_no_circles_even_for_types() -> None:
    graph = {
        # A package's own file that loads its parts lazily names them for type checkers only.
        name: {one.target for one in own_imports(name) if one.target in project_modules()}
        for name, path in project_modules().items()
        if path.name != "__init__.py"
    }
    assert sum(map(len, graph.values())) > 20
    order = list(graphlib.TopologicalSorter(graph).static_order())  # a circle is an error that lists it
    assert set(graph) <= set(order)


def test_importing_the_model_and_its_features_loads_nothing_else(tmp_path: Path) -> None:
    program = """
    import json, sys
    import torch, transformers
    import modeling_ser
    assert "transformers.modeling_utils" not in sys.modules  # a class is loaded when it is asked for
    import feature_extraction
    modeling_ser.SERForAudioClassification, feature_extraction.SERFeatureExtractor
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
    """
    loaded = run_python_json(program, env=offline_environment(tmp_path), cwd=tmp_path, with_project=True)
    assert {"modeling_ser", "feature_extraction", "torch", "transformers"} <= set(loaded)
    unwanted = {"dataset_scripts", "speech_emotion", "tests", "librosa", "numba", "matplotlib", "gradio", "evaluate"}
    assert not unwanted & set(loaded)
