"""A small corpus in speechocean762's layout whose speakers spell: every letter is a tone of its own."""

import itertools
import zlib
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000
LETTER_SECONDS = 0.12
TONES = {"A": 400.0, "B": 900.0, "C": 1700.0, " ": 0.0}
TEXTS = ("AB", "BA", "CAB", "A BC", "ACB", "BC")
# Speaker: half, sex, age.
SPEAKERS = {
    "0001": ("train", "f", 6),
    "0002": ("train", "m", 7),
    "0003": ("train", "f", 9),
    "0004": ("train", "m", 10),
    "0005": ("train", "f", 20),
    "0006": ("train", "m", 21),
    "0007": ("train", "f", 31),
    "0008": ("train", "m", 40),
    "0009": ("test", "f", 8),
    "0010": ("test", "m", 25),
}


def spell(text: str, seed: int, higher: float = 1.0) -> np.ndarray:
    """Make the tones of a text; returns (samples,) float32."""
    random = np.random.default_rng(seed)
    parts = [np.zeros(round(0.05 * RATE))]
    for letter in text:
        time = np.arange(round(LETTER_SECONDS * RATE)) / RATE
        tone = np.sin(2 * np.pi * TONES[letter] * higher * time) * np.hanning(len(time))
        parts += [0.5 * tone, np.zeros(round(0.02 * RATE))]
    wave = np.concatenate(parts)
    return (wave + 0.003 * random.standard_normal(len(wave))).astype(np.float32)


def write_spelled(root: Path) -> Path:
    """Write the corpus, 60 clips of 10 speakers; returns its root."""
    tables = {half: dict.fromkeys(("text", "utt2spk", "spk2gender", "spk2age"), "") for half in ("train", "test")}
    for (speaker, (half, sex, age)), number in itertools.product(SPEAKERS.items(), range(len(TEXTS))):
        clip = f"{speaker.zfill(5)}{number + 1:04}"
        path = root / "WAVE" / f"SPEAKER{speaker}" / f"{clip}.WAV"
        path.parent.mkdir(parents=True, exist_ok=True)
        higher = (1.1 if age < 16 else 1.0) * (1.05 if sex == "f" else 1.0)
        soundfile.write(path, spell(TEXTS[number], zlib.crc32(clip.encode()), higher), RATE)
        tables[half]["text"] += f"{clip}\t{TEXTS[number]}\n"
        tables[half]["utt2spk"] += f"{clip} {speaker}\n"
        if number == 0:
            tables[half]["spk2gender"] += f"{speaker}\t{sex}\n"
            tables[half]["spk2age"] += f"{speaker}\t{age}\n"
    for half, files in tables.items():
        (root / half).mkdir()
        for name, text in files.items():
            (root / half / name).write_text(text)
    return root
