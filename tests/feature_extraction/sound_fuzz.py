"""Damages sounds of many formats at random and decodes them: `python -m tests.fuzzing sounds phones`.

No sample may be lost or changed in silence: what is decoded without an error or a warning has the length of the whole
sound, and its very samples where the format sums them up.
"""

import io
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from feature_extraction.audio_decoding import load_audio
from tests.fuzzing import NUMBERS, Attempt

RATE = 16_000
FORMATS = tuple(
    f"{container} {subtype}"
    for container, subtypes in {
        "WAV": "PCM_16 PCM_U8 PCM_24 PCM_32 FLOAT DOUBLE ULAW IMA_ADPCM MS_ADPCM GSM610 G721_32 NMS_ADPCM_16",
        "WAVEX": "PCM_16 FLOAT",
        "RF64": "PCM_16 FLOAT",
        "W64": "PCM_16 ALAW IMA_ADPCM",
        "AIFF": "PCM_16 PCM_S8 FLOAT ULAW IMA_ADPCM",
        "AU": "PCM_16 ULAW G721_32",
        "CAF": "PCM_16 FLOAT ALAC_16",
        "NIST": "PCM_16 ULAW",
        "VOC": "PCM_16",
        "SVX": "PCM_16",
        "FLAC": "PCM_16 PCM_24",
        "OGG": "VORBIS OPUS",
        "MP3": "MPEG_LAYER_III",
        "AVR": "PCM_16",
        "MAT4": "PCM_16",
        "PAF": "PCM_16",
    }.items()
    for subtype in subtypes.split()
)
SUMMED_UP = ("FLAC", "OGG", "MP3")
# Of their rate, and in AU and VOC of everything, the header has one number, and any other one makes a good file, too.
SAID_ONCE = ("AIFF", "AU", "CAF", "NIST", "VOC")
# Recorded before anybody knew how long they would be; and what the end of any sound is rounded to.
STREAMS = ("amr", "aac", "live", "fragments")
LONGEST_FRAME = 2048


@cache
def whole(form: str) -> tuple[bytes, np.ndarray]:
    """Encode one second of noise that grows louder and pauses; returns the file and what is decoded of it."""
    noise = np.random.default_rng(0).standard_normal(RATE + 4321) * np.linspace(0.01, 0.1, RATE + 4321)
    noise[5000:9000] = 0
    if form in FORMATS:
        container, subtype = form.split()
        file = io.BytesIO()
        soundfile.write(file, noise, RATE, format=container, subtype=subtype)
        content = file.getvalue()
    else:
        from tests.feature_extraction.phone_sounds import encode

        content = encode(form, noise[None])
    with warnings.catch_warnings(action="ignore"):
        return content, load_audio(content, RATE)


def _kind(content: bytes) -> tuple[int, int, str]:
    info = soundfile.info(io.BytesIO(content))
    return info.samplerate, info.channels, info.subtype


def cut(content: bytearray, random: np.random.Generator) -> None:
    """Leave out the end: a few bytes, or much."""
    del content[len(content) - int(random.choice([random.integers(1, 64), random.integers(1, len(content))])) :]


def drop(content: bytearray, random: np.random.Generator) -> None:
    """Leave out something between."""
    start = int(random.integers(len(content)))
    del content[start : start + int(random.integers(1, 4000))]


def flip(content: bytearray, random: np.random.Generator) -> None:
    """Change a bit anywhere."""
    content[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))


def flip_in_header(content: bytearray, random: np.random.Generator) -> None:
    """Change a bit of the beginning."""
    content[int(random.integers(min(100, len(content))))] ^= 1 << int(random.integers(8))


def renumber(content: bytearray, random: np.random.Generator) -> None:
    """Write a tempting number into the header."""
    size, place = int(random.choice([2, 4, 8])), int(random.integers(0, 100))
    number = NUMBERS[random.integers(len(NUMBERS))] % (1 << 8 * size)
    content[place : place + size] = number.to_bytes(size, str(random.choice(["little", "big"])))


def blank(content: bytearray, random: np.random.Generator) -> None:
    """Fill a sector with zeros, as failing disks do."""
    start = int(random.integers(len(content))) // 512 * 512
    content[start : start + 512] = bytes(len(content[start : start + 512]))


def repeat(content: bytearray, random: np.random.Generator) -> None:
    """Insert again what is there already."""
    start, place = random.integers(0, len(content), 2).tolist()
    content[place:place] = content[start : start + int(random.integers(1, 4000))]


def join(content: bytearray, random: np.random.Generator) -> None:
    """Append the same file, or something that is none."""
    content += bytes(content) if random.random() < 0.5 else random.bytes(int(random.integers(1, 4000)))


DAMAGES: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    *(cut, drop, flip, flip_in_header, renumber, blank, repeat, join),
)


def attempts(folder: Path) -> Attempt:
    """Return what damages a file and decodes it; returns how that went, and by what."""
    return _attempts(FORMATS)


def phone_attempts(folder: Path) -> Attempt:
    """Do the same to the formats of phones, whose frames tell neither their number nor a sum."""
    from tests.feature_extraction.phone_sounds import PHONE_FORMATS

    return _attempts(tuple(PHONE_FORMATS))


def _attempts(forms: tuple[str, ...]) -> Attempt:
    def attempt(index: int, random: np.random.Generator) -> str:
        form = forms[index % len(forms)]
        content, samples = whole(form)
        damaged = bytearray(content)
        damage = DAMAGES[int(random.integers(len(DAMAGES)))]
        damage(damaged, random)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                decoded = load_audio(bytes(damaged), RATE)
            except ValueError as error:
                assert str(error).startswith("bytes: "), f"the error does not name the file: {error}"
                return "refused"
        if told:
            return "told"
        parts = 2 if bytes(damaged) == content * 2 else 1
        if forms != FORMATS and abs(len(decoded) - parts * len(samples)) <= LONGEST_FRAME:
            return "whole"
        if form.split()[0] in STREAMS and damage in (cut, drop, repeat):  # of whole frames
            return "another sound"
        if len(decoded) != parts * len(samples):
            another = form.split()[0] in SAID_ONCE and _kind(bytes(damaged)) != _kind(content)
            assert another, f"{form}, {damage.__name__}: {len(decoded)} of {len(samples)} samples"
            return "another sound"
        if form.split()[0] in SUMMED_UP:
            same = np.array_equal(decoded, np.tile(samples, parts))
            assert same, f"{form}, {damage.__name__}: other samples"
        return "whole"

    return attempt
