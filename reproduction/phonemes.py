"""Transcripts → phonemes → numbers."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import datasets

# Codes of our corpora's languages that espeak-ng spells otherwise.
ESPEAK_LANGUAGES = {"en": "en-us", "zh": "cmn"}
WORD_BREAK = "|"  # which no phoneme is written as
UNKNOWN = 0  # number of a phoneme that no training clip has


def transcripts_of(rows: datasets.Dataset, ids: Sequence[str]) -> list[tuple[str, str]]:
    """Look up transcript and language of clips."""
    chosen = rows.select_columns(["id", "transcript", "language"])
    known = {row["id"]: (row["transcript"], row["language"]) for row in chosen}
    for clip in ids:
        if not (known[clip][0] or "").strip():
            raise ValueError(
                f"Clip {clip!r} has no transcript, which the phonemes are made from. Take a system that reads sound "
                "alone, or a corpus with transcripts."
            )
    return [known[clip] for clip in ids]


def phonemes_of(transcripts: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Turn transcripts into phonemes by the rules of espeak-ng, in the alphabet of the IPA, without stress.

    Source: espeak-ng, through phonemizer: Bernard and Titeux, "Phonemizer: Text to Phones Transcription for Multiple
        Languages in Python", JOSS 6, 2021.
    """
    transcripts = list(transcripts)
    result: dict[tuple[str, str], list[str]] = {}
    for language in sorted({language for _, language in transcripts}):
        texts = sorted({text for text, other in transcripts if other == language})
        for text, phonemes in zip(texts, _phonemize(tuple(texts), language), strict=True):
            if not phonemes:
                raise ValueError(f"espeak-ng finds no phoneme in the {language} transcript {text!r}; correct it.")
            result[text, language] = phonemes
    return [result[transcript] for transcript in transcripts]


def phoneme_numbers(phonemes: Iterable[Sequence[str]]) -> dict[str, int]:
    """Number the phonemes of the training clips, from 1.

    >>> phoneme_numbers([["d", "ɛ"], ["a", "d"]])
    {'a': 1, 'd': 2, 'ɛ': 3}
    """
    return {phoneme: number for number, phoneme in enumerate(sorted({one for row in phonemes for one in row}), 1)}


def encode_phonemes(phonemes: Sequence[str], numbers: Mapping[str, int]) -> list[int]:
    """Look up phonemes; 0 for those that have no number.

    >>> encode_phonemes(["d", "x"], {"d": 2})
    [2, 0]
    """
    return [numbers.get(phoneme, UNKNOWN) for phoneme in phonemes]


@cache
def _phonemize(texts: tuple[str, ...], language: str) -> list[list[str]]:
    separator, espeak = _espeak()
    code = ESPEAK_LANGUAGES.get(language, language)
    if code not in espeak.supported_languages():
        raise ValueError(f"espeak-ng does not know the language {language!r}; its phonemes cannot be made.")
    # Words of another language keep the phonemes of that language, without the marks of the switch.
    backend = espeak(code, with_stress=False, language_switch="remove-flags")
    lines = backend.phonemize(list(texts), separator=separator, strip=True)
    return [[phoneme for phoneme in line.split() if phoneme != WORD_BREAK] for line in lines]


@cache
def _espeak() -> tuple[Any, Any]:
    """Load espeak-ng, which comes as a wheel, not from the system."""
    try:
        import espeakng_loader
        from phonemizer.backend import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
        from phonemizer.separator import Separator
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Phonemes need the package {error.name}: pip install 'modeling-ser[bench]'.", name=error.name
        ) from error
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    return Separator(phone=" ", word=f" {WORD_BREAK} ", syllable=""), EspeakBackend


__all__ = ["UNKNOWN", "encode_phonemes", "phoneme_numbers", "phonemes_of", "transcripts_of"]
