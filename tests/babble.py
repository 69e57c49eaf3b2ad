"""What voice activity takes for speech: vowels in the rhythm of syllables."""

import numpy as np

VOWELS = ((700, 1200, 2600), (300, 2200, 2900), (400, 800, 2500), (500, 1800, 2500))  # formants in Hz


def babble(seconds: float, rate: int = 16000) -> np.ndarray:
    """So many seconds of it, (samples,), float32."""
    random, syllables = np.random.default_rng(0), []
    harmonics = np.arange(1, 30)[:, None]
    while sum(map(len, syllables)) < seconds * rate:
        samples = int(random.uniform(0.12, 0.25) * rate)
        pitch = random.uniform(110, 150) * np.linspace(1, 0.85, samples)  # Hz
        loudness = sum(
            1 / (1 + ((harmonics * pitch.mean() - formant) / 100) ** 2) / order
            for order, formant in enumerate(VOWELS[random.integers(len(VOWELS))], start=1)
        )
        vowel = (loudness * np.cos(2 * np.pi * harmonics * np.cumsum(pitch) / rate)).sum(axis=0)
        syllables.append(0.3 * vowel / np.abs(vowel).max() * np.hanning(samples) ** 0.5)
    return np.concatenate(syllables)[: round(seconds * rate)].astype(np.float32)
