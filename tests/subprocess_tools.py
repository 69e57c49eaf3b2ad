"""Runs code in fresh Python processes: alone, as a user who has only the Hub's copy, or with the project."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROJECT_ROOT = Path(__file__).resolve().parents[1]
PROJECT_PACKAGES = (
    "modeling_ser",
    "feature_extraction",
    "dataset_scripts",
    "speech_emotion",
    "reproduction",
    "tests",
    "benchmarks",
)

# The project may be installed where the tests run, and then isolation by `-I` alone would hide a missing file of the
# shared code. Only whole packages are blocked: transformers_modules.….modeling_ser is the copy under test.
BLOCK_PROJECT = f"""
import importlib, importlib.abc, sys

class _ProjectBlocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {PROJECT_PACKAGES!r}:
            raise ModuleNotFoundError(f"{{name}} is hidden: this process must do without the project", name=name)

sys.meta_path.insert(0, _ProjectBlocker())
for _name in {PROJECT_PACKAGES!r}:
    assert _name not in sys.modules, f"{{_name}} was imported before it could be hidden"
    try:
        importlib.import_module(_name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(f"{{_name}} can be imported although it is hidden")
"""

# Where a library's own settings would let a test depend on who runs it.
SETTINGS_OF_LIBRARIES = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "PYTORCH_TRANSFORMERS_", "PYTORCH_PRETRAINED_")


def users_home() -> str:
    """Return the folder in which Hugging Face's libraries keep what they fetch, as they choose it themselves."""
    caches = os.environ.get("XDG_CACHE_HOME", os.path.join("~", ".cache"))
    return os.path.expanduser(os.environ.get("HF_HOME", os.path.join(caches, "huggingface")))


def clean_environment(home: str | os.PathLike[str]) -> dict[str, str]:
    """Make this process's environment without its `HF_*` and the like: quiet, and with a folder for all caches."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS_OF_LIBRARIES)}
    return inherited | {
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        # Another machine's proxy must not stand between a test and a server on the loopback interface.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def offline_environment(home: str | os.PathLike[str]) -> dict[str, str]:
    """Make the environment of a subprocess that reaches no Hub at all; see `clean_environment`."""
    return clean_environment(home) | {"HF_HUB_OFFLINE": "1"}


def run_command(
    command: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str],
    check: bool = True,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a command and return what it printed; where `check` is set and it failed, the test shows both outputs."""
    __tracebackhide__ = True
    done = subprocess.run(
        [os.fspath(part) for part in command], env=dict(env), cwd=cwd, capture_output=True, text=True, timeout=timeout
    )
    if check and done.returncode:
        raise AssertionError(
            f"exit code {done.returncode} of {command[0]}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
        )
    return done


def run_python(
    code: str,
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str],
    with_project: bool = False,
    check: bool = True,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a piece of Python, which may be indented as a whole, in a fresh process.

    Without `with_project` the project is hidden even if it is installed, and the interpreter ignores the environment's
    Python settings and the current folder.
    """
    __tracebackhide__ = True
    code = textwrap.dedent(code)
    if with_project:
        env = {**env, "PYTHONPATH": str(PROJECT_ROOT)}
        command = [sys.executable, "-c", code]
    else:
        command = [sys.executable, "-I", "-c", BLOCK_PROJECT + code]
    return run_command(command, env=env, cwd=cwd, check=check, timeout=timeout)


def run_python_json(
    code: str,
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str],
    with_project: bool = False,
    timeout: float = 300,
) -> Any:
    """Run a piece of Python as `run_python` does and return the JSON in the last line that it printed."""
    __tracebackhide__ = True
    done = run_python(code, env=env, cwd=cwd, with_project=with_project, timeout=timeout)
    lines = done.stdout.splitlines()
    assert lines, f"the program printed nothing; its stderr:\n{done.stderr}"
    return json.loads(lines[-1])
