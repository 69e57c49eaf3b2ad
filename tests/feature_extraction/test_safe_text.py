"""Names of strangers on a terminal, in a spreadsheet, on a page; and files that hold no sound."""

import csv
import io
import json
import zipfile

import pytest

from feature_extraction.content_kind import what_is_there
from feature_extraction.safe_text import csv_cell, markdown_code, markdown_text, printable, printable_lines
from speech_emotion.files import csv_text

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n\t\u202egpj.\u2066\x9b31m\udc80\x00\x7f\u2028"


@pytest.mark.parametrize("write", [printable, printable_lines, markdown_text, markdown_code, csv_cell])
def test_nothing_that_commands_a_terminal_is_left(write: object) -> None:
    safe = write(HOSTILE).replace("\n", "" if write is printable_lines else "\n")
    assert safe.isprintable() and "owned" in safe
    assert safe.encode("utf-8")


@pytest.mark.parametrize("name", ["Zoë", "Ünal Şahin", "نمی\u200cخواهم", "東京\u3000駅", "👩\u200d🎤", "a b"])
def test_names_of_people_stay_as_they_are(name: str) -> None:
    assert printable(name) == name


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t=", "\r=", "\n@", " =", "\u3000+", "\uff1d", "\xa0\xa0-"])
def test_no_cell_begins_as_a_formula(begin: str) -> None:
    ((cell, label),) = list(csv.reader(io.StringIO(csv_text(["file", "label"], [[f"{begin}cmd|x", f"{begin}b"]]))))[1:]
    for text in (cell, label):
        assert text[0] in "'\\" and not set(text) & set("\r\n\t")


def test_numbers_stay_numbers() -> None:
    assert csv_text(["a"], [["-0.25"], [-1], ["+1e-3"], [None]]).split() == ["a", "-0.25", "-1", "+1e-3", '""']


@pytest.mark.parametrize("text", ["<script>", "<!-- x", "-->", "| b |", "![](http://x)", "`code`", "$x$", "a\n\n# b"])
def test_no_markdown_and_no_html_comes_through(text: str) -> None:
    safe = markdown_text(text)
    assert "<" not in safe and "-->" not in safe and "\n" not in safe
    assert all(safe[place - 1] == "\\" for place, letter in enumerate(safe) if letter in "|(`$")


def archive() -> bytes:
    with zipfile.ZipFile(content := io.BytesIO(), "w") as file:
        file.writestr("clip.wav", b"x")
    return content.getvalue()


KINDS: dict[str, tuple[bytes, str]] = {
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 96044\n", "Git LFS pointer"),
    "annex": (b"/annex/objects/SHA256E-s96044--00.wav\n", "git-annex pointer"),
    "HTML": (b"\xef\xbb\xbf\n<!-- a -->\n<!DOCTYPE html><html><body>Log in</body></html>", "an HTML page"),
    "XHTML": (b'<?xml version="1.0"?>\n<HTML xmlns="x">', "an HTML page"),
    "text": (("ä" * 4000 + "\n").encode(), "text, which begins with “" + 40 * "ä" + "…”"),
    "cut letter": (b"a" * 4095 + "ä".encode(), "text, which begins"),
    "JSON": (json.dumps({"a": "\u202e\x1b"}, ensure_ascii=False).encode(), r'with “{"a": "\u202e\u001b"}”;'),
    "UTF-16": ("Datei nicht gefunden".encode("utf-16"), "text, which begins with “Datei nicht"),
    "ZIP": (archive(), "ZIP archive"),
    "PDF": (b"%PDF-1.7\n\xe2\xe3", "PDF"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_holds_no_sound_is_called_what_it_is(kind: str) -> None:
    content, words = KINDS[kind]
    found = what_is_there(content)
    assert found is not None and words in found


@pytest.mark.parametrize("content", [b"", b"   \n", b"RIFF\x24\x00\x00\x00WAVE", b"\xff\xfb\x90\x00", bytes(100)])
def test_what_may_be_a_sound_is_not_guessed_at(content: bytes) -> None:
    assert what_is_there(content) is None
