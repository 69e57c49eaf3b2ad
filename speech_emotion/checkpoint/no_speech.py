"""Sounds without speech, made by rule: what a model learns to give no emotion to, and what it is tested on."""

import hashlib
from collections.abc import Callable

import numpy as np
from scipy import signal

from speech_emotion.evaluation.figures_timeline import NO_SPEECH
from speech_emotion.training.waveform_effects import RATE

# Part of the features' fingerprint: raise it when sounds come out otherwise.
SOUNDS_VERSION = 1
SECONDS = (0.4, 8.0)  # shortest and longest sound; short ones are as frequent as long ones
LOUDEST, QUIETEST = -3.0, -60.0  # peak in dB below full scale
Random = np.random.Generator


def colored_noise(random: Random, size: int) -> np.ndarray:
    """Noise that is white or falls with frequency: white, pink, brown and what lies between."""
    return _noise(random, size, -random.uniform(0, 2))


def filtered_noise(random: Random, size: int) -> np.ndarray:
    """Noise through a few broad resonances, as ventilators, streets and tape have."""
    samples = _noise(random, size, -random.uniform(0, 1))
    for _ in range(random.integers(1, 4)):
        samples = samples + _resonance(samples, random.uniform(80, 5000), random.uniform(0.5, 4)) * random.uniform(
            0, 3
        )
    return samples


def hum(random: Random, size: int) -> np.ndarray:
    """The mains and its multiples, with some noise."""
    base, times = random.choice([50.0, 60.0]), np.arange(size) / RATE
    partials = [
        random.uniform(0, 1) / number * np.sin(2 * np.pi * base * number * times + random.uniform(0, 2 * np.pi))
        for number in range(1, random.integers(3, 20))
    ]
    return np.sum(partials, axis=0) + _noise(random, size, -1) * 10 ** random.uniform(-2.5, -0.5)


def tones(random: Random, size: int) -> np.ndarray:
    """One steady tone, or a few."""
    times = np.arange(size) / RATE
    chosen = [np.exp(random.uniform(np.log(60), np.log(7000))) for _ in range(random.integers(1, 4))]
    return np.sum([np.sin(2 * np.pi * frequency * times) * random.uniform(0.2, 1) for frequency in chosen], axis=0)


def clicks(random: Random, size: int) -> np.ndarray:
    """Short knocks, each with a ring of its own, at random times or in a beat, over a little noise."""
    samples = _noise(random, size, 0) * 10 ** random.uniform(-4, -2)
    count = max(1, round(random.uniform(0.5, 8) * size / RATE))
    regular = random.random() < 0.5
    starts = np.linspace(0, size, count, endpoint=False) if regular else random.uniform(0, size, count)
    for start in starts.astype(int):
        length = min(size - start, round(random.uniform(0.002, 0.08) * RATE))
        times = np.arange(length) / RATE
        ring = np.sin(2 * np.pi * random.uniform(100, 6000) * times) + random.standard_normal(length)
        samples[start : start + length] += ring * np.exp(-times * random.uniform(40, 400)) * random.uniform(0.2, 1)
    return samples


def chords(random: Random, size: int) -> np.ndarray:
    """Chords one after another, as of an organ or of strings."""
    samples, root = np.zeros(size), random.uniform(80, 400)
    length = round(random.uniform(0.15, 1.2) * RATE)
    for start in range(0, size, length):
        times = np.arange(min(length, size - start)) / RATE
        rise = np.minimum(1, times / random.uniform(0.005, 0.15)) * np.exp(-times * random.uniform(0, 6))
        for step in random.choice([0, 2, 4, 5, 7, 9, 11, 12], random.integers(1, 5), replace=False):
            note = root * 2 ** ((step + random.choice([0, 12])) / 12)
            for number in range(1, random.integers(2, 9)):
                wave = np.sin(2 * np.pi * note * number * times + random.uniform(0, 2 * np.pi))
                samples[start : start + len(times)] += wave * rise / number ** random.uniform(0.7, 2)
    return samples


def drums(random: Random, size: int) -> np.ndarray:
    """Bass drum, snare and cymbal in a beat."""
    samples, beat = np.zeros(size), round(random.uniform(0.15, 0.5) * RATE)
    for number, start in enumerate(range(0, size, beat)):
        times = np.arange(min(beat, size - start)) / RATE
        falling = np.sin(2 * np.pi * random.uniform(40, 90) * times * (1 + np.exp(-30 * times)))
        snare, cymbal = _noise(random, len(times), 0), np.diff(random.standard_normal(len(times) + 1))
        kinds = (falling * np.exp(-12 * times), snare * np.exp(-20 * times), cymbal * np.exp(-40 * times))
        samples[start : start + len(times)] += kinds[(number % 2) if random.random() < 0.7 else 2]
    return samples


def room(random: Random, size: int) -> np.ndarray:
    """A quiet room: low noise, a microphone's hiss, perhaps hum, here and there a knock; or a rustle."""
    samples = _noise(random, size, -random.uniform(1, 2.5)) + _noise(random, size, 0) * 10 ** random.uniform(-2, -0.5)
    if random.random() < 0.4:
        samples += hum(random, size) * 10 ** random.uniform(-1, 0)
    if random.random() < 0.4:
        samples += clicks(random, size) * random.uniform(0, 4)
    if random.random() < 0.3:
        samples += _noise(random, size, 0.5) * _slowly(random, size, random.uniform(1, 10)) * random.uniform(0, 3)
    return samples


def silence(random: Random, size: int) -> np.ndarray:
    """Digital silence, or the last bit of a converter."""
    kind = random.integers(3)
    return np.zeros(size) if kind == 0 else random.integers(-kind, kind + 1, size) / 32768


def sweep(random: Random, size: int) -> np.ndarray:
    """A tone that glides."""
    low, high = sorted(np.exp(random.uniform(np.log(80), np.log(7500), 2)))
    begin, end = (low, high) if random.random() < 0.5 else (high, low)
    return signal.chirp(np.arange(size) / RATE, begin, size / RATE, end, method="logarithmic")


def dialing(random: Random, size: int) -> np.ndarray:
    """The keys of a telephone, each two tones."""
    samples, length = np.zeros(size), round(random.uniform(0.08, 0.25) * RATE)
    for start in range(0, size, 2 * length):
        times = np.arange(min(length, size - start)) / RATE
        low, high = random.choice([697.0, 770.0, 852.0, 941.0]), random.choice([1209.0, 1336.0, 1477.0])
        samples[start : start + len(times)] = np.sin(2 * np.pi * low * times) + np.sin(2 * np.pi * high * times)
    return samples


def rain(random: Random, size: int) -> np.ndarray:
    """Rising noise in gusts, and drops."""
    gusts = _noise(random, size, random.uniform(0.3, 1.5)) * _slowly(random, size, random.uniform(0.5, 3))
    drops = (random.random(size) < random.uniform(1e-4, 2e-3)) * random.standard_normal(size)
    return gusts + _resonance(drops, random.uniform(800, 5000), 3) * 5


def engine(random: Random, size: int) -> np.ndarray:
    """Pulses at an uneven rate, through the resonances of a motor's body."""
    rate = random.uniform(15, 70) * (1 + 0.3 * _slowly(random, size, 0.5) + 0.02 * random.standard_normal(size))
    pulses = np.diff(np.floor(np.cumsum(rate) / RATE), prepend=0.0) * random.uniform(0.7, 1, size)
    body = sum(_resonance(pulses, frequency, 4) for frequency in random.uniform(60, 1500, 3))
    return body + _noise(random, size, -1) * body.std() * random.uniform(0.05, 0.6)


def bells(random: Random, size: int) -> np.ndarray:
    """Bells, whose partials are no multiples of each other."""
    samples = np.zeros(size)
    for start in np.sort(random.integers(0, max(1, size - RATE // 5), random.integers(1, 6))):
        times, base = np.arange(size - start) / RATE, random.uniform(150, 1500)
        for ratio in (0.56, 0.92, 1.19, 1.71, 2.0, 2.74, 3.0, 3.76, 4.07):
            decay = np.exp(-times * random.uniform(0.5, 6) * ratio)
            samples[start:] += np.sin(2 * np.pi * base * ratio * times) * decay * random.uniform(0.1, 1)
    return samples


def strings(random: Random, size: int) -> np.ndarray:
    """A melody on plucked strings (Karplus and Strong, 1983)."""
    samples, length = np.zeros(size), round(random.uniform(0.12, 0.5) * RATE)
    for start in range(0, size, length):
        period = round(RATE / (110 * 2 ** (random.choice([0, 2, 3, 5, 7, 10, 12, 15, 19]) / 12)))
        pluck = np.zeros(min(length, size - start))
        pluck[:period] = random.uniform(-1, 1, period)[: len(pluck)]
        loop = np.zeros(period + 2)
        loop[0], loop[period], loop[period + 1] = 1, -0.498, -0.498
        samples[start : start + len(pluck)] = signal.lfilter([1.0], loop, pluck)
    return samples


def alarm(random: Random, size: int) -> np.ndarray:
    """Two tones in turn, or one that comes and goes, with overtones."""
    times, speed = np.arange(size) / RATE, random.uniform(1, 8)
    low = random.uniform(400, 1500)
    high = low * random.uniform(1.1, 1.6) if random.random() < 0.5 else 0.0
    first = (times * speed) % 2 < 1
    phase = np.cumsum(np.where(first, low, high)) / RATE
    return signal.square(2 * np.pi * phase, random.uniform(0.3, 0.7)) * np.where(first | (high > 0), 1.0, 0.0)


Maker = Callable[[Random, int], np.ndarray]
# Kinds to learn from, and kinds that are only tested.
LEARNED: dict[str, Maker] = {
    kind.__name__: kind for kind in (colored_noise, filtered_noise, hum, tones, clicks, chords, drums, room, silence)
}
TESTED: dict[str, Maker] = {kind.__name__: kind for kind in (sweep, dialing, rain, engine, bells, strings, alarm)}


def make_sound(kind: str, number: int) -> np.ndarray:
    """Make a sound without speech.

    Args:
        kind: One of `LEARNED` or `TESTED`.
        number: Which one of the kind: with it all that chance depends on, so that every machine makes the same.

    Returns:
        Samples at 16 kHz, (samples,), float32, of 0.4 to 8 seconds.

    Raises:
        ValueError: If there is no such kind.

    Example:
        >>> sound = make_sound("clicks", 3)
        >>> np.array_equal(sound, make_sound("clicks", 3)), np.array_equal(sound, make_sound("clicks", 4))
        (True, False)
    """
    kinds = LEARNED | TESTED
    if kind not in kinds:
        raise ValueError(f"There are no sounds {kind!r}; choose one of {', '.join(kinds)}.")
    seed = hashlib.sha256(f"{SOUNDS_VERSION}|{kind}|{number}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(seed[:16], "big"))
    size = round(np.exp(random.uniform(*np.log(SECONDS))) * RATE)
    samples = kinds[kind](random, size)
    peak = np.abs(samples).max()
    if kind != silence.__name__ and peak > 0:
        samples = samples / peak * 10 ** (random.uniform(QUIETEST, LOUDEST) / 20)
    return samples.astype(np.float32)


def _noise(random: Random, size: int, slope: float) -> np.ndarray:
    """Noise of deviation 1 whose power goes with frequency to the power of the slope."""
    spectrum = np.fft.rfft(random.standard_normal(size))
    samples = np.fft.irfft(spectrum * np.maximum(np.arange(len(spectrum)), 1) ** (slope / 2), size)
    return samples / max(samples.std(), 1e-12)


def _resonance(samples: np.ndarray, frequency: float, sharpness: float) -> np.ndarray:
    return signal.lfilter(*signal.iirpeak(frequency, sharpness, RATE), samples)


def _slowly(random: Random, size: int, frequency: float) -> np.ndarray:
    """A curve between 0 and 1 that changes about so many times a second."""
    points = random.uniform(0, 1, max(2, round(size / RATE * frequency) + 2))
    return np.interp(np.linspace(0, len(points) - 1, size), np.arange(len(points)), points)


__all__ = ["LEARNED", "NO_SPEECH", "SOUNDS_VERSION", "TESTED", "make_sound"]
