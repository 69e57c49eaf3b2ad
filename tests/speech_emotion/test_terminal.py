"""Bars for people, silence for logs, and warnings in plain words."""

import argparse
import sys
import warnings
from collections.abc import Callable

import datasets
import huggingface_hub.utils
import pytest
import transformers

from dataset_scripts.command import get_parser
from speech_emotion.cli.command import run_guarded
from speech_emotion.terminal import CommandParser, plain_messages, quiet_unless_terminal


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


def warned(name: str) -> list[str]:
    warnings.warn(name, stacklevel=1)
    return []


def refused(name: str) -> list[str]:
    raise FileNotFoundError(2, "No such file", name)


@pytest.mark.parametrize("tell", [lambda name: [f"a\nb {name}"], warned, refused, lambda name: int(name)])
def test_no_name_commands_the_terminal(tell: Callable[[str], list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[2J\x07\r\u202e\udc80.wav"
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        run_guarded(lambda: tell(name))
    printed = "".join(capsys.readouterr())
    assert all(line.isprintable() for line in printed.split("\n"))
    assert "x1b[2J" in printed and "u202e" in printed


@pytest.mark.parametrize("parser", [CommandParser(prog="ser"), get_parser()])
def test_no_word_of_the_command_line_commands_the_terminal(
    parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args([*["list"][: parser.prog != "ser"], "--\x1b[2J"])
    assert "unrecognized arguments: --\\x1b[2J\n" in capsys.readouterr().err
