"""What stands in a file that should hold a sound and holds none: said in words, with what to do about it."""

import codecs
import re

from .safe_text import printable

_HEAD = 4096  # bytes that are looked at
_SHOWN = 40  # characters of a text that are quoted
_POINTERS: tuple[tuple[bytes, str], ...] = (
    (rb"version https://git-lfs\.github\.com/", "a Git LFS pointer, not the file it stands for; run `git lfs pull`"),
    (rb"/annex/objects/", "a git-annex pointer, not the file it stands for; run `git annex get`"),
)
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    *_POINTERS,
    (
        rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|script|title)\b",
        "an HTML page, perhaps one that asks to log in or tells an error; fetch the sound itself",
    ),
    (rb"PK\x03\x04|PK\x05\x06", "a ZIP archive; unpack it"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf\x27\x1c|Rar!", "a compressed file; unpack it"),
    (rb"%PDF-", "a PDF document"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", "a picture"),
    (rb"\x93NUMPY", "an array of NumPy; load it, and give it with its rate"),
)


def pointer_there(content: bytes) -> str | None:
    """Say that a file's content is what git puts in a large file's place; `None` of any other."""
    return next((words for beginning, words in _POINTERS if re.match(beginning, content)), None)


def what_is_there(content: bytes) -> str | None:
    """Say what a file's beginning shows it to be instead of a sound; `None` where that is not known.

    >>> what_is_there(b"version https://git-lfs.github.com/spec/v1")
    'a Git LFS pointer, not the file it stands for; run `git lfs pull`'
    >>> what_is_there(b'{"error": "expired"}')
    'text, which begins with “{"error": "expired"}”; fetch the sound itself'
    """
    head = bytes(content[:_HEAD])
    for beginning, words in _BEGINNINGS:
        if re.match(beginning, head, re.IGNORECASE | re.DOTALL):
            return words
    encoding = "utf-16" if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)  # which leaves a character that is cut
    except UnicodeDecodeError:
        return None
    if not text.strip() or re.search(r"[\x00-\x08\x0b\x0e-\x1f\x7f]", text):
        return None
    words = " ".join(text.split())
    shown = printable(words[:_SHOWN]) + "…" * (len(words) > _SHOWN)
    return f"text, which begins with “{shown}”; fetch the sound itself"
