"""Names and labels of strangers, made safe for where they go: a terminal, a spreadsheet, a page."""

import html
import re

# What is not printable and yet belongs to names: joiners of Persian, of Hindi and of emoji, and wide spaces.
_HARMLESS = "\u00a0\u200c\u200d\u3000"
# Spreadsheets take what begins with one of these for a formula, be it after spaces and in wide letters.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
# What Markdown reads as HTML, comment, character by name, cell, formula, code, link, or as an escape of these.
_MARKDOWN = re.compile(r"<(?=[a-z/!?])|(?<=--)>|&(?=#?\w+;)|[|`$]|(?<=\])\(|\\(?=[!-/:-@\[-`{-~])", re.IGNORECASE)


def printable(text: object) -> str:
    r"""Write control characters, line ends, bidirectional marks and undecodable bytes of a name as escapes.

    >>> printable("a\x1b[2J\r\u202eb.wav")
    'a\\x1b[2J\\r\\u202eb.wav'
    """
    return "".join(
        letter if letter.isprintable() or letter in _HARMLESS else letter.encode("unicode_escape").decode()
        for letter in str(text)
    )


def printable_lines(text: object) -> str:
    r"""Make a whole message printable; its line ends stay, so names within it need `printable` before.

    >>> printable_lines("one\ntwo\x07")
    'one\ntwo\\x07'
    """
    return "\n".join(map(printable, str(text).split("\n")))


def csv_cell(value: object) -> object:
    r"""Guard text against being a formula by an apostrophe, as spreadsheets themselves mark text; numbers stay.

    >>> csv_cell("=1+2"), csv_cell("\t@a"), csv_cell("-0.5"), csv_cell(-0.5)
    ("'=1+2", '\\t@a', '-0.5', -0.5)
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if _FORMULA.match(text) and not is_number(text) else text


class Markdown(str):
    """Markdown of our own, such as a link, which is meant as it is."""

    __slots__ = ()


def markdown_text(text: object) -> str:
    r"""Write text so that Markdown shows it as it is: no HTML, no comment, no link, no code, no cell of a table.

    >>> markdown_text("<!-- a|b --> [c](d), p < 0.1")
    '&lt;!-- a\\|b --&gt; [c]\\(d), p < 0.1'
    """
    if isinstance(text, Markdown):
        return text
    return _MARKDOWN.sub(
        lambda found: html.escape(found[0]) if found[0] in "<>&" else f"\\{found[0]}", printable(text)
    )


def markdown_code(text: object) -> str:
    """Write text for between Markdown's backticks, or within quotation marks in a block of code: without either."""
    return printable(text).replace("`", "'").replace('"', "'")


def is_number(text: str) -> bool:
    """Tell whether text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
