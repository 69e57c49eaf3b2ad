"""Models on the Hub where there is no network: refused at once, and only where there is really none."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.constants
import huggingface_hub.utils
import pytest
from huggingface_hub.utils import httpx

from speech_emotion.pretrained import hub_models
from speech_emotion.pretrained.hub_models import check_hub
from tests.modeling_ser.small_pipeline import write_clips
from tests.subprocess_tools import PROJECT_ROOT, clean_environment, run_command


class Hub:
    """Answers each request as it is told to."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)

    def head(self, url: str, **how: Any) -> SimpleNamespace:
        if (error := self.answers.pop(0)) is not None:
            raise error
        return SimpleNamespace(status_code=404)


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub_models, "PAUSE", 0.0)
    check_hub.cache_clear()
    yield
    check_hub.cache_clear()


@pytest.mark.parametrize("script", ["ser", "train"])
def test_an_unknown_model_is_refused_at_once_where_the_hub_cannot_be_reached(script: str, tmp_path: Path) -> None:
    clip = write_clips(tmp_path)[0]
    words = ["-m", "speech_emotion.cli", "predict", clip, "--model", "you/name"]
    if script == "train":
        words = [PROJECT_ROOT / "train.py", "--corpus", "polish", "--encoder", "you/name"]
    nobody = clean_environment(tmp_path / "home") | {"HF_ENDPOINT": "http://127.0.0.1:1"}
    done = run_command(
        [sys.executable, *words], env=nobody | {"PYTHONPATH": str(PROJECT_ROOT)}, cwd=tmp_path, check=False
    )
    assert done.returncode == 1 and "Retrying" not in done.stderr
    assert all(word in done.stderr for word in ("error: There is no folder you/name", "emotions", "whisper-base"))


@pytest.mark.parametrize(
    ("answers", "reached"),
    [
        ([None], True),
        ([httpx.ReadTimeout("slow")], True),
        ([httpx.ConnectError("not resolved"), None], True),
        ([httpx.ConnectError("not resolved"), httpx.ConnectError("not resolved")], False),
        ([httpx.ConnectTimeout("no answer")], False),
    ],
)
def test_a_slow_hub_is_waited_for(answers: list[Any], reached: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(*answers)
    monkeypatch.setattr(huggingface_hub.utils, "get_session", lambda: hub)
    if reached:
        check_hub("you/name")
    else:
        with pytest.raises(ConnectionError, match="you/name"):
            check_hub("you/name")
    assert not hub.answers


def test_what_is_at_hand_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="HF_HUB_OFFLINE"):
        check_hub("you/name")
    (tmp_path / "models--you--name" / "snapshots").mkdir(parents=True)
    check_hub("you/name")
    check_hub(str(tmp_path))
