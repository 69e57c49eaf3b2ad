"""The helpers that run code in fresh processes, and the network guard."""

import os
import socket
from pathlib import Path

import pytest

from tests.subprocess_tools import (
    PROJECT_PACKAGES,
    PROJECT_ROOT,
    clean_environment,
    offline_environment,
    run_python,
    run_python_json,
)


@pytest.mark.parametrize("cwd", ["elsewhere", "project"])
def test_project_is_hidden_everywhere(tmp_path: Path, cwd: str) -> None:
    code = f"""
    import importlib.util, json
    hidden = []
    for name in {PROJECT_PACKAGES!r}:
        try:
            importlib.util.find_spec(name)
        except ModuleNotFoundError:
            hidden.append(name)
    print(json.dumps(hidden))
    """
    environment = {**offline_environment(tmp_path), "PYTHONPATH": str(PROJECT_ROOT)}
    folder = PROJECT_ROOT if cwd == "project" else tmp_path
    assert run_python_json(code, env=environment, cwd=folder) == list(PROJECT_PACKAGES)


def test_copies_with_the_projects_names_stay_importable(tmp_path: Path) -> None:
    package = tmp_path / "transformers_modules" / "copy"
    package.mkdir(parents=True)
    (package / "modeling_ser.py").write_text("ANSWER = 42\n")
    code = f"""
    import json, sys
    sys.path.insert(0, {str(tmp_path)!r})
    from transformers_modules.copy.modeling_ser import ANSWER
    print(json.dumps(ANSWER))
    """
    assert run_python_json(code, env=offline_environment(tmp_path), cwd=tmp_path) == 42


def test_project_can_be_let_in(tmp_path: Path) -> None:
    code = "import json, tests.subprocess_tools as tools; print('noise'); print(json.dumps(tools.__file__))"
    file = run_python_json(code, env=offline_environment(tmp_path), cwd=tmp_path, with_project=True)
    assert Path(file) == PROJECT_ROOT / "tests" / "subprocess_tools.py"


def test_failure_shows_the_childs_words(tmp_path: Path) -> None:
    code = "print('before'); raise ValueError('the reason')"
    with pytest.raises(AssertionError, match=r"(?s)exit code 1.*before.*ValueError: the reason"):
        run_python(code, env=offline_environment(tmp_path), cwd=tmp_path)


def test_environment_holds_no_settings_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("TRANSFORMERS_CACHE", "/somewhere")
    environment = clean_environment(tmp_path)
    assert not {"HF_TOKEN", "TRANSFORMERS_CACHE", "HF_HUB_OFFLINE"} & environment.keys()
    assert environment["HF_HOME"] == str(tmp_path)
    assert environment["PATH"] == os.environ["PATH"]


def test_tests_are_offline() -> None:
    import huggingface_hub.constants

    assert huggingface_hub.constants.HF_HUB_OFFLINE
    assert os.environ["HF_HOME"] == huggingface_hub.constants.HF_HOME
    with socket.socket() as client, pytest.raises(PermissionError, match=r"tried to reach 192\.0\.2\.1"):
        client.connect(("192.0.2.1", 80))
