"""Sound while it is made: from a microphone, or from a pipe, as WAV or as raw samples."""

import queue
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import BinaryIO

import numpy as np

from feature_extraction.audio_channels import ChannelMix
from feature_extraction.audio_decoding import HIGHEST_RATE, LOWEST_RATE, to_float

WAV_MARKS = (b"RIFF", b"RF64", b"BW64")
AT_ONCE = 1 << 16  # bytes that are read of a pipe, or as many fewer as are there
BLOCK = 0.05  # s that a microphone gives at a time
MOST_BEHIND = 30.0  # s of a microphone's sound that may wait
_UNKNOWN = 0x7700_0000  # bytes: what programs that write into a pipe state is more, or 0
# Code and bits of WAV's samples, and what numpy calls them; of 24 bits there is none.
_SAMPLES = {(1, 8): "u1", (1, 16): "<i2", (1, 24): "", (1, 32): "<i4", (3, 32): "<f4", (3, 64): "<f8"}
_NO_WAV = (
    "the standard input is no WAV file. Let what writes it write WAV (ffmpeg -i … -f wav -), or raw 16-bit samples "
    "and give their rate (--raw 16000)."
)


def read_wav(pipe: BinaryIO, channel: int | None = None) -> tuple[int, Iterator[np.ndarray]]:
    """Read a WAV file while it is written.

    Args:
        pipe: Where its bytes come from; nothing is sought.
        channel: Take this channel, from 0, instead of the average of all.

    Returns:
        The rate in Hz, and an iterator over samples, (samples,) float32. What programs state that write into a pipe,
        sizes of 0 or of gigabytes, is taken for unknown.

    Raises:
        ValueError: It is no WAV file, or of samples that are not read here; or, at its end, it is truncated.
    """
    head = pipe.read(12)
    if head[:4] not in WAV_MARKS or head[8:] != b"WAVE":
        raise ValueError(_NO_WAV if head else "the standard input ended before the first sample.")
    chunks: dict[bytes, bytes] = {}
    while True:
        name, size = pipe.read(4), int.from_bytes(pipe.read(4), "little")
        if name == b"data" or not name:
            break
        if size >= 1 << 24:
            raise ValueError(f"the WAV file of the standard input is damaged: a chunk {name!r} of {size} bytes.")
        chunks[name] = pipe.read(size + size % 2)
    form = chunks.get(b"fmt ", b"")
    if not name or len(form) < 16:
        raise ValueError("the WAV file of the standard input ended before the first sample.")
    code, channels, rate, _, step, bits = struct.unpack_from("<HHIIHH", form)
    if code == 0xFFFE and len(form) >= 26:  # the code stands further behind
        (code,) = struct.unpack_from("<H", form, 24)
    if (code, bits) not in _SAMPLES:
        raise ValueError(
            f"the WAV file of the standard input has samples of {bits} bits of kind {code}, which are not read from a "
            "pipe; PCM of 8 to 32 bits and floating-point numbers are."
        )
    if not channels or step != channels * bits // 8:
        raise ValueError(
            f"the WAV file of the standard input contradicts itself: {channels} channels of {bits} bits do not make "
            f"{step} bytes."
        )
    if size == 0xFFFFFFFF and len(chunks.get(b"ds64", b"")) >= 16:  # what needs more than 32 bits
        (size,) = struct.unpack_from("<Q", chunks[b"ds64"], 8)
        stated = size or None
    else:
        stated = size if 0 < size < _UNKNOWN else None
    check_rate(rate)
    return rate, _mixed(_frames(pipe, _SAMPLES[code, bits], bits // 8, channels, stated), channels, channel)


def read_raw(pipe: BinaryIO, rate: int, channels: int = 1, channel: int | None = None) -> Iterator[np.ndarray]:
    """Read raw signed 16-bit samples, little-endian, of several channels in turn; give them as `read_wav` does."""
    check_rate(rate)
    head = pipe.read(4)
    if head in WAV_MARKS:
        raise ValueError("the standard input is a WAV file, which says itself what it holds: leave --raw out.")
    return _mixed(_frames(pipe, "<i2", 2, channels, None, head), channels, channel)


def check_rate(rate: int) -> None:
    """Refuse a rate that no sound has."""
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise ValueError(f"a rate of {rate} Hz; it must be from {LOWEST_RATE} to {HIGHEST_RATE}.")


def import_sounddevice() -> ModuleType:
    """Import what opens microphones, or say what it takes."""
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Listening to a microphone needs sounddevice, which is not installed: pip install 'modeling-ser[listen]'. "
            "Without it, pipe sound in: arecord -f S16_LE -r 16000 | ser listen - --raw 16000",
            name=error.name,
        ) from None
    except OSError as error:
        raise OSError(f"{error}: sounddevice needs it (Debian and Ubuntu: apt install libportaudio2).") from error
    return sounddevice


@contextmanager
def microphone(device: str | int | None = None) -> Iterator[tuple[str, int, Iterator[np.ndarray]]]:
    """Open a microphone, by its name, a part of it, or its number; give its name, its rate, and its sound.

    Raises:
        ModuleNotFoundError: sounddevice is not installed.
        OSError: PortAudio is not there, or there is no microphone.
        ValueError: There is no such microphone.
        RuntimeError: Later, while reading: what is done with the sound takes longer than the sound.
    """
    sounddevice = import_sounddevice()
    blocks: queue.SimpleQueue[tuple[np.ndarray, bool]] = queue.SimpleQueue()
    try:
        found = sounddevice.query_devices(device, "input")
        rate = int(found["default_samplerate"])
        stream = sounddevice.InputStream(
            samplerate=rate,
            blocksize=round(BLOCK * rate),
            device=device,
            channels=1,
            dtype="float32",
            callback=lambda data, frames, at, status: blocks.put((data[:, 0].copy(), bool(status.input_overflow))),
        )
    except sounddevice.PortAudioError as error:
        raise OSError(f"There is no microphone to listen to ({error}). `python -m sounddevice` lists them.") from error
    except ValueError as error:
        raise ValueError(f"{error}. `python -m sounddevice` lists them.") from error

    def sound() -> Iterator[np.ndarray]:
        while True:
            try:
                block, lost = blocks.get(timeout=5)
            except queue.Empty:
                raise OSError(f"The microphone {found['name']} gives no more sound.") from None
            if lost:
                warnings.warn("the computer was too busy to take all of the microphone's sound.", stacklevel=2)
            if blocks.qsize() * BLOCK > MOST_BEHIND:
                raise RuntimeError(
                    f"The sound comes faster than it can be scored: {MOST_BEHIND:g} s wait. Take a larger --hop."
                )
            yield block

    with stream:
        yield str(found["name"]), rate, sound()


def _frames(
    pipe: BinaryIO, kind: str, width: int, channels: int, stated: int | None, rest: bytes = b""
) -> Iterator[np.ndarray]:
    """Read samples as they come, (channels, samples) float32."""
    step, count = width * channels, 0
    read = getattr(pipe, "read1", pipe.read)
    while content := read(AT_ONCE if stated is None else min(AT_ONCE, stated - count)):
        count += len(content)
        content = rest + content
        whole = len(content) // step * step
        content, rest = content[:whole], content[whole:]
        if kind:
            samples = np.frombuffer(content, kind)
        else:  # of 24 bits: the upper ones of 32
            wide = np.zeros((whole // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
            samples = wide.view("<i4")[:, 0]
        if len(samples):
            yield to_float(samples.reshape(-1, channels).T, "the standard input")
    if stated is not None and count < stated:
        raise ValueError(f"the WAV file of the standard input is truncated: {count} of {stated} bytes came.")


def _mixed(blocks: Iterator[np.ndarray], channels: int, channel: int | None) -> Iterator[np.ndarray]:
    """Average channels, (channels, samples), or take one; the louder one where they cancel each other."""
    if channels < 1 or (channel is not None and channel >= channels):
        raise ValueError(f"there is no channel {channel}: the standard input has {channels}, counted from 0.")
    mix = ChannelMix(channel)
    for block in blocks:
        mixed = mix.add(block)
        if mix.channel is None and (louder := mix.louder_channel()) is not None:
            warnings.warn(f"the channels cancel each other; from here on channel {louder} is taken.", stacklevel=2)
            mix.channel, mixed = louder, block[louder]
        yield mixed
