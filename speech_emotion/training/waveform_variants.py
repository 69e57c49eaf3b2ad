"""Variants of a clip: how it might have come from another device, line or room, by chance but always the same."""

import hashlib

import numpy as np

from .waveform_effects import CODECS, NOISES, RATE, band_limited, coded, echoing, noisy, quieter, telephone

# Part of the seed and of the features' fingerprint: raise it when variants come out otherwise.
VARIANTS_VERSION = 1
# How often each is done to a variant; where chance does none of them, one is done.
SHARES = {"echoes": 0.25, "noise": 0.5, "band": 0.4, "level": 0.4, "codec": 0.4}

# What stands in the place of a variant's number for a short part of the clip; the shortest and the longest, in
# seconds; and how many parts one is chosen among.
EXCERPT = -1
EXCERPT_SECONDS = (0.25, 1.2)
EXCERPTS = 16


def make_variant(waveform: np.ndarray, clip_id: str, number: int) -> np.ndarray:
    """Make a variant of a clip.

    Args:
        waveform: The clip, (samples,), at 16 kHz.
        clip_id: Its id: with the number all that chance depends on, so that every fold, seed and machine has the same
            variants.
        number: Which variant, from 1; 0 is the clip itself, `EXCERPT` a short part of it.

    Returns:
        The variant, (samples,), float32; echoes may end after the clip.

    Example:
        >>> clip = np.sin(np.arange(16_000) / 10).astype(np.float32)
        >>> one, again = make_variant(clip, "03a01Fa", 1), make_variant(clip, "03a01Fa", 1)
        >>> np.array_equal(one, again), np.array_equal(one, make_variant(clip, "03a01Fa", 2))
        (True, False)
    """
    if number == 0:
        return waveform
    if number == EXCERPT:
        return make_excerpt(waveform, clip_id)
    seed = hashlib.sha256(f"{VARIANTS_VERSION}|{number}|{clip_id}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(seed[:16], "big"))
    done = {name for name, share in SHARES.items() if random.random() < share}
    done = done or {tuple(SHARES)[random.integers(len(SHARES))]}
    samples = np.asarray(waveform, dtype=np.float64)
    if "echoes" in done:
        samples = echoing(samples, random.uniform(0.1, 0.6), random.uniform(0, 12), random)
    if "noise" in done:
        samples = noisy(samples, random.uniform(5, 30), NOISES[random.integers(len(NOISES))], random)
    if "band" in done:
        if random.random() < 0.5:
            samples = telephone(samples, random.uniform(100, 350), random.uniform(3200, 3900))
        else:
            samples = band_limited(samples, random.uniform(20, 400), random.uniform(2500, 7900))
    if "level" in done:
        samples = quieter(samples, random.uniform(0, 30))
    if "codec" in done:
        samples = coded(samples, CODECS[random.integers(len(CODECS))], random.uniform(0.5, 1))
    return samples.astype(np.float32)


def make_excerpt(waveform: np.ndarray, clip_id: str) -> np.ndarray:
    """Take a short part of a clip, by chance but always the same, where it is louder than in most of its parts.

    >>> clip = np.concatenate([np.zeros(16_000), np.ones(16_000)]).astype(np.float32)
    >>> part = make_excerpt(clip, "03a01Fa")
    >>> EXCERPT_SECONDS[0] <= len(part) / 16_000 <= EXCERPT_SECONDS[1], float(part.mean()) > 0.4
    (True, True)
    """
    seed = hashlib.sha256(f"{VARIANTS_VERSION}|excerpt|{clip_id}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(seed[:16], "big"))
    size = min(len(waveform), round(np.exp(random.uniform(*np.log(EXCERPT_SECONDS))) * RATE))
    starts = np.linspace(0, len(waveform) - size, EXCERPTS).astype(int)
    energies = np.array([np.square(waveform[start : start + size], dtype=np.float64).sum() for start in starts])
    start = random.choice(starts[energies >= np.median(energies)])
    return waveform[start : start + size]
