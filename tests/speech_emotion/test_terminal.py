"""Bars for people, silence for logs, and warnings in plain words."""

import sys
import warnings

import datasets
import huggingface_hub.utils
import pytest
import transformers

from speech_emotion.terminal import plain_messages, quiet_unless_terminal


@pytest.mark.parametrize("watched", [True, False])
def test_bars_are_switched_off_where_nobody_watches(watched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched, raising=False)
    monkeypatch.setattr(datasets, "disable_progress_bars", lambda: called.append("datasets"))
    monkeypatch.setattr(transformers.utils.logging, "disable_progress_bar", lambda: called.append("transformers"))
    monkeypatch.setattr(huggingface_hub.utils, "disable_progress_bars", lambda: called.append("hub"))
    quiet_unless_terminal()
    assert called == ([] if watched else ["datasets", "transformers", "hub"])


def test_a_warning_is_printed_without_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        plain_messages()
        warnings.warn("half of the clips are silent", stacklevel=1)
    assert capsys.readouterr().err == "warning: half of the clips are silent\n"
