"""Small generated corpora in the published layouts, whose sound really depends on the emotion."""

import itertools
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from dataset_scripts.ravdess import EMOTIONS as RAVDESS_EMOTIONS

POLISH_EMOTIONS = {"a": "angry", "n": "neutral", "s": "fearful"}


class Manner(NamedTuple):
    """How an emotion changes a voice."""

    pitch: float  # factor on the speaker's pitch
    vibrato: float  # depth, as a part of the pitch
    vibrato_rate: float  # Hz
    level: float  # peak of the waveform
    tilt: float  # exponent of the fall of the harmonics: low is bright
    noise: float  # part of breath
    syllables: float  # per second


MANNERS = {
    "neutral": Manner(1.0, 0.01, 4.0, 0.20, 1.6, 0.02, 4.0),
    "calm": Manner(0.9, 0.01, 3.0, 0.12, 2.2, 0.05, 3.0),
    "happy": Manner(1.5, 0.10, 6.0, 0.40, 1.0, 0.02, 5.5),
    "sad": Manner(0.8, 0.03, 3.0, 0.06, 2.6, 0.10, 2.0),
    "angry": Manner(1.3, 0.04, 8.0, 0.80, 0.5, 0.08, 6.0),
    "fearful": Manner(1.8, 0.06, 9.0, 0.25, 1.4, 0.30, 7.0),
    "disgust": Manner(0.7, 0.02, 4.0, 0.30, 0.8, 0.20, 3.0),
    "surprised": Manner(2.0, 0.25, 2.0, 0.50, 1.2, 0.03, 4.0),
}


def tone(frequency: float = 440.0, seconds: float = 0.5, rate: int = 16000, level: float = 0.5) -> np.ndarray:
    """Make a sine; returns (samples,) float32."""
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def speech_like(
    emotion: str = "neutral", pitch: float = 120.0, seconds: float = 0.6, rate: int = 16000, seed: int = 0
) -> np.ndarray:
    """Make a voice: harmonics with vibrato under a train of syllables, and breath; returns (samples,) float32."""
    manner = MANNERS[emotion]
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch *= manner.pitch * random.uniform(0.95, 1.05)
    sway = manner.vibrato / manner.vibrato_rate * np.cos(2 * np.pi * (manner.vibrato_rate * time + random.uniform()))
    phase = 2 * np.pi * pitch * (time - sway / (2 * np.pi))
    harmonics = np.arange(1, max(2, int(3600 / pitch)))
    voice = harmonics**-manner.tilt @ np.sin(np.outer(harmonics, phase))  # (samples,)
    voice = voice / np.abs(voice).max() + manner.noise * random.standard_normal(len(time))
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * (manner.syllables * time + random.uniform()))
    wave = voice * syllables
    return (manner.level * random.uniform(0.85, 1.15) * wave / np.abs(wave).max()).astype(np.float32)


def write_ravdess(
    root: str | Path,
    actors: Iterable[int] = range(1, 7),
    emotions: Iterable[str] = tuple(RAVDESS_EMOTIONS.values()),
    statements: Iterable[int] = (1, 2),
    repetitions: Iterable[int] = (1, 2),
    suffix: str = ".wav",
    seed: int = 0,
    seconds: float = 0.6,
    rate: int = 16000,
) -> Path:
    """Write clips of normal intensity in RAVDESS's layout, by default 192; returns the corpus's root."""
    codes = {name: code for code, name in RAVDESS_EMOTIONS.items()}
    for actor, emotion, statement, repetition in itertools.product(actors, emotions, statements, repetitions):
        name = f"03-01-{codes[emotion]}-01-{statement:02}-{repetition:02}-{actor:02}"
        pitch = (110 if actor % 2 else 200) * (1 + 0.03 * (actor % 5 - 2))
        _write(Path(root, f"Actor_{actor:02}", name + suffix), emotion, pitch, seed, seconds, rate)
    return Path(root)


def write_polish(
    root: str | Path,
    speakers: Iterable[int] = range(1, 6),
    words: Iterable[str] = ("nie", "tak"),
    repetitions: Iterable[int] = (1, 2, 3),
    suffix: str = ".wav",
    seed: int = 0,
    seconds: float = 0.6,
    rate: int = 16000,
) -> Path:
    """Write clips in the layout of "Emotions in Polish speech", by default 90; returns the corpus's root."""
    for speaker, code, word, repetition in itertools.product(speakers, POLISH_EMOTIONS, words, repetitions):
        name = f"m{speaker}.{code}_{word}_{repetition}"
        pitch = 110 * (1 + 0.03 * (speaker % 5 - 2))
        _write(Path(root, name + suffix), POLISH_EMOTIONS[code], pitch, seed, seconds, rate)
    return Path(root)


def _write(path: Path, emotion: str, pitch: float, seed: int, seconds: float, rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(f"{seed}/{path.stem}".encode())  # unlike hash(), the same in every process
    soundfile.write(path, speech_like(emotion, pitch, seconds, rate, seed), rate)
