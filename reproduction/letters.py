"""Transcripts of any Latin script → the 28 signs of DeepSpeech's English alphabet."""

import unicodedata

# DeepSpeech's order: space, a to z, apostrophe; the blank comes after them.
ALPHABET = " abcdefghijklmnopqrstuvwxyz'"
# What takes more than leaving out an accent. German umlauts are so written where there are none.
SPELLED = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "œ": "oe", "ø": "oe", "å": "aa", "ł": "l", "đ": "d",
     "ð": "d", "þ": "th", "ı": "i", "’": "'", "-": " ", "–": " ", "—": " "}
)  # fmt: skip


def encode_letters(transcript: str | None) -> list[int]:
    """Write a transcript in DeepSpeech's alphabet and number its letters.

    >>> "".join(ALPHABET[letter] for letter in encode_letters("Für Zoë, täglich!"))
    'fuer zoe taeglich'
    """
    text = unicodedata.normalize("NFC", transcript or "").lower().translate(SPELLED)
    text = unicodedata.normalize("NFD", text)
    words = "".join(letter for letter in text if letter in ALPHABET or letter.isspace()).split()
    return [ALPHABET.index(letter) for letter in " ".join(words)]


__all__ = ["ALPHABET", "encode_letters"]
