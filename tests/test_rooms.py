"""The plan of the house: which folder may import which, and what the Hub can copy."""

import ast
import graphlib
import importlib
import inspect
import itertools
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.subprocess_tools import PROJECT_ROOT, offline_environment, run_python_json

SHARED = ("feature_extraction", "modeling_ser")
ROOMS = (*SHARED, "dataset_scripts", "speech_emotion")
# Each may import those before it; only entry scripts stand above.
UPPER_ROOMS = (
    "speech_emotion.training",
    "speech_emotion.cross_validation",
    "speech_emotion.cli",
)
NEVER_SHARED = {"librosa", "matplotlib", "gradio"}


class Import(NamedTuple):
    """One thing that a module imports, at any depth of its code."""

    line: int
    level: int  # dots before the name
    module: str | None  # as written
    target: str  # absolute; a module of ours to its full depth
    for_types_only: bool


@cache
def project_modules() -> dict[str, Path]:
    """Every module of the four packages and every script beside them: dotted name → file."""
    files = [path for room in ROOMS for path in sorted((PROJECT_ROOT / room).rglob("*.py"))]
    files += sorted(PROJECT_ROOT.glob("*.py"))
    return {
        ".".join(path.relative_to(PROJECT_ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files
    }


def modules_of(*rooms: str) -> list[str]:
    return [name for name in project_modules() if any(name == room or name.startswith(room + ".") for room in rooms)]


@cache
def imports_of(name: str) -> list[Import]:
    path = project_modules()[name]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    typing_lines = {
        inner.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in node.body
        for inner in ast.walk(child)
        if isinstance(inner, ast.stmt)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            written = [(0, alias.name, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            inside = [f"{base}.{alias.name}" for alias in node.names]
            written = [(node.level, node.module, full if full in project_modules() else base) for full in inside]
        else:
            continue
        found += [Import(node.lineno, *one, node.lineno in typing_lines) for one in dict.fromkeys(written)]
    return found


def own_imports(name: str) -> list[Import]:
    return [one for one in imports_of(name) if one.target.partition(".")[0] in (*ROOMS, "tests", "benchmarks")]


def within(target: str, *packages: str) -> bool:
    return any(target == package or target.startswith(package + ".") for package in packages)


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


def test_what_the_hub_copies_is_found() -> None:
    files = {
        "configuration_ser",
        "feature_extraction_ser",
        "mel_deltas",
        "audio_decoding",
        "modeling_ser",
        "pipeline_ser",
    }
    assert files <= {name.partition(".")[2] for name in copied_to_the_hub()}


@pytest.mark.parametrize("name", modules_of(*SHARED))
def test_shared_code_imports_its_own_folder_and_installed_packages(name: str) -> None:
    # What stays here, such as a converter, may need an extra; what is copied must load without.
    allowed = declared_packages(optional=name not in copied_to_the_hub()) - NEVER_SHARED
    folder = project_modules()[name].parent
    for one in imports_of(name):
        where = f"{name}, line {one.line}"
        if one.level:
            # The forms that transformers' copying understands; a package's own file is not copied.
            assert one.level == 1, f"{where}: leaves its folder"
            assert one.module, f"{where}: `from . import` copies no file"
            assert (folder / f"{one.module}.py").is_file(), f"{where}: .{one.module} is no file of {folder.name}"
        else:
            top = one.target.partition(".")[0]
            assert top in sys.stdlib_module_names or top in allowed, f"{where}: {top} is not declared, or not for here"


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
    files = [path for name, path in project_modules().items() if within(name, *SHARED)]
    assert len(files) > 6
    assert {path.parent for path in files} == {PROJECT_ROOT / room for room in SHARED}
    names = Counter(path.name for path in files if path.name != "__init__.py")
    assert [name for name, times in names.items() if times > 1 or name.startswith("_")] == []


@pytest.mark.parametrize("name", modules_of("dataset_scripts"))
def test_corpora_import_the_decoder_at_most(name: str) -> None:
    for one in own_imports(name):
        assert within(one.target, "dataset_scripts", "feature_extraction.audio_decoding"), f"{name}, line {one.line}"


@pytest.mark.parametrize("name", modules_of("speech_emotion.evaluation"))
def test_evaluation_knows_no_room(name: str) -> None:
    for one in own_imports(name):
        assert within(one.target, "speech_emotion.evaluation"), f"{name}, line {one.line}"


@pytest.mark.parametrize("name", list(project_modules()))
def test_no_import_runs_upwards(name: str) -> None:
    script = "." not in name and name not in ROOMS
    for one in own_imports(name):
        where = f"{name}, line {one.line} imports {one.target}"
        assert not within(one.target, "tests", "benchmarks"), where
        for height, room in enumerate(UPPER_ROOMS):
            if within(one.target, room):
                assert script or within(name, *UPPER_ROOMS[height:]), where
        if script:
            assert within(one.target, "speech_emotion"), f"{where}: a script calls speech_emotion, nothing else"


def test_no_circles() -> None:
    graph = {
        name: {one.target for one in own_imports(name) if one.target in project_modules() and not one.for_types_only}
        for name in project_modules()
    }
    assert sum(map(len, graph.values())) > 20
    order = list(graphlib.TopologicalSorter(graph).static_order())  # a circle is an error that lists it
    assert set(order) == set(project_modules())


def test_importing_the_model_and_its_features_loads_nothing_else(tmp_path: Path) -> None:
    program = """
    import json, sys
    import modeling_ser, feature_extraction
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
    """
    loaded = run_python_json(program, env=offline_environment(tmp_path), cwd=tmp_path, with_project=True)
    assert {"modeling_ser", "feature_extraction", "torch", "transformers"} <= set(loaded)
    assert not {"dataset_scripts", "speech_emotion", "tests", *NEVER_SHARED} & set(loaded)


def public_members(module: Any) -> Iterator[tuple[str, Any]]:
    """Public functions and classes that a module defines, and the public methods of its classes."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            yield name, value
            for method_name, method in vars(value).items():
                if not method_name.startswith("_") or method_name == "__call__":
                    method = getattr(method, "fget", None) or getattr(method, "__func__", method)
                    if inspect.isfunction(method) and method.__module__ == module.__name__:
                        yield f"{name}.{method_name}", method
        elif inspect.isroutine(inspect.unwrap(value)):
            yield name, inspect.unwrap(value)


def unannotated(function: Callable) -> list[str]:
    signature = inspect.signature(function)
    missing = [
        name
        for index, (name, parameter) in enumerate(signature.parameters.items())
        if parameter.annotation is parameter.empty and not (index == 0 and name in ("self", "cls"))
    ]
    return missing + ["return"] * (signature.return_annotation is signature.empty)


@pytest.mark.parametrize("name", [name for name in modules_of(*ROOMS) if not name.endswith("__main__")])
def test_everything_public_is_documented_and_typed(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] in ROOMS:
            raise
        pytest.skip(f"{error.name} is not installed")
    assert module.__doc__, f"{name} has no docstring"
    faults = []
    for member, value in public_members(module):
        text = value.__doc__ or ""
        if not text.strip() or text.startswith(f"{member}("):  # a dataclass makes the latter itself
            faults.append(f"{member} has no docstring")
        if inspect.isfunction(value):
            faults += [f"{member}: {parameter} has no type" for parameter in unannotated(value)]
    assert faults == []
