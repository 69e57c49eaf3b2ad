"""What devices, lines and rooms do to a recording: coding, bands, noise, echoes; waveforms in, waveforms out."""

import io
from typing import Literal, get_args

import numpy as np
from scipy import signal

RATE = 16_000  # Hz, of all waveforms here
Codec = Literal["mp3", "vorbis", "opus"]
Noise = Literal["white", "pink", "brown", "babble"]
CODECS: tuple[Codec, ...] = get_args(Codec)
NOISES: tuple[Noise, ...] = get_args(Noise)

_FORMATS: dict[Codec, tuple[str, str]] = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}
_SLOPES = {"white": 0.0, "pink": 1.0, "brown": 2.0}  # of the power, in octaves per octave
_VOICES = 5  # of babble
_LEAST_POWER = 1e-12  # of what is a signal at all


def coded(samples: np.ndarray, codec: Codec, compression: float) -> np.ndarray:
    """Encode and decode; a compression of 0 takes the most bits (MP3: 51 kbit/s, Opus: 260), 1 the fewest (12, 6)."""
    import soundfile  # as where audio is decoded: only when it is used

    form, subtype = _FORMATS[codec]
    scale = max(1.0, float(np.abs(samples).max()))  # a codec would clip what lies beyond full scale
    file = io.BytesIO()
    # libsndfile takes a compression of 1 for more than 1 with some codecs.
    soundfile.write(
        file, samples / scale, RATE, format=form, subtype=subtype, compression_level=min(compression, 0.999)
    )
    file.seek(0)
    return soundfile.read(file)[0] * scale


def quieter(samples: np.ndarray, decibels: float) -> np.ndarray:
    """Record so many dB quieter, in 16 bits: what is very quiet gets coarse."""
    return np.round(samples * 10 ** (-decibels / 20) * 32768) / 32768


def telephone(samples: np.ndarray, lowest: float = 300.0, highest: float = 3400.0) -> np.ndarray:
    """Keep a telephone's band: a rate of 8 kHz, and of that what lies between two frequencies, in Hz."""
    band = signal.butter(4, [lowest, highest], "bandpass", fs=RATE, output="sos")
    return signal.sosfilt(band, at_half_rate(samples))


def at_half_rate(samples: np.ndarray) -> np.ndarray:
    """Resample to half the rate and back: what lies beyond 4 kHz is gone."""
    return signal.resample_poly(signal.resample_poly(samples, 1, 2), 2, 1)[: len(samples)]


def band_limited(samples: np.ndarray, lowest: float, highest: float) -> np.ndarray:
    """Weaken what lies outside of two frequencies, in Hz, as microphones and loudspeakers do."""
    samples = signal.sosfilt(signal.butter(6, highest, "lowpass", fs=RATE, output="sos"), samples)
    return signal.sosfilt(signal.butter(2, lowest, "highpass", fs=RATE, output="sos"), samples)


def noisy(samples: np.ndarray, decibels: float, noise: Noise, random: np.random.Generator) -> np.ndarray:
    """Add noise so many dB below the clip; babble is made of the clip itself, so that nobody else is heard."""
    added = _babble(samples, random) if noise == "babble" else _colored(len(samples), _SLOPES[noise], random)
    return samples + added * np.sqrt(_power(samples) / _power(added) * 10 ** (-decibels / 10))


def echoing(samples: np.ndarray, seconds: float, decibels: float, random: np.random.Generator) -> np.ndarray:
    """Add a room's echoes, so many dB below the clip; after so many seconds they have fallen by 60 dB."""
    size = max(1, round(seconds * RATE))
    response = random.standard_normal(size) * 10 ** (-3 * np.arange(size) / size)
    response *= 10 ** (-decibels / 20) / np.sqrt(np.square(response).sum())
    return np.pad(samples, (0, size - 1)) + signal.fftconvolve(samples, response)


def _colored(size: int, slope: float, random: np.random.Generator) -> np.ndarray:
    """Noise whose power falls with frequency."""
    spectrum = np.fft.rfft(random.standard_normal(size))
    return np.fft.irfft(spectrum * np.maximum(np.arange(len(spectrum)), 1) ** (-slope / 2), size)


def _babble(samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Several voices at once: the clip backwards, at other speeds, from other moments on."""
    voices = np.zeros(len(samples))
    for _ in range(_VOICES):
        speed, moment, loudness = random.uniform(0.85, 1.15), random.integers(len(samples)), random.uniform(0.5, 1)
        moments = (np.arange(len(samples)) * speed + moment) % len(samples)
        voices += loudness * np.interp(moments, np.arange(len(samples)), samples[::-1])
    return voices


def _power(samples: np.ndarray) -> float:
    return max(float(np.square(samples).mean()), _LEAST_POWER)
