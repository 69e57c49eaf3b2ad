"""The decoder: whatever holds a sound becomes one mono waveform at the rate asked for.

Everything that reads audio here (extractor, pipeline, corpora, training) reads it through `load_audio`, so a clip has
the same samples everywhere. Decoding is soundfile's (wav, flac, ogg, opus, mp3, aiff and the rest of libsndfile's
formats), and for the formats of phones and browsers (m4a, mp4, 3gp, webm, amr, aac, compressed caf) FFmpeg's, by the
package av of the extra `formats`; resampling is soxr's at its high quality.
"""

import io
import math
import mmap
import os
import stat
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .audio_channels import ChannelMix
from .audio_containers import sounds_of
from .audio_download import download, is_url, public_url
from .audio_ffmpeg import FFmpegSound
from .audio_streams import DamageError, Sound
from .content_kind import what_is_there
from .safe_text import printable

MOST_CHANNELS = 32
LOWEST_RATE, HIGHEST_RATE = 1000, 768_000  # Hz; speech below the former is none any more

_BLOCK_FRAMES = 1 << 18
# Of two channels of 32 bits at 192 kHz: a larger file is longer than the limit, or nothing to hold in memory.
_BYTES_PER_SECOND = 192_000 * 8
# Full scale is 1. Sums of windows and resampling go somewhat beyond; samples of 16 bits that were not divided, far.
PLAUSIBLE_PEAK = 8.0
# The power of a window of larger samples would be no finite float32.
LARGEST_PEAK = 1e15
# What 16 bits make of 32.
FAINTEST_PEAK = 2.0**-16
_EMPTY = "{}: is empty (0 bytes); fetch it anew or drop it."
_TOO_LONG = "{}: holds more than {:g} s of sound, the limit; cut it, or raise `max_seconds`."
_NO_SAMPLES = "{}: holds 0 samples; drop the clip."
_TOO_SHORT = "{}: too short to be resampled from {} Hz to {} Hz; give a longer clip."
_MEND = "fetch it anew, or convert it first, for example with `ffmpeg -i <source> clip.wav`"
# What most files are at, for formats that say it once only, where damage would not show.
_USUAL_RATES = {
    8000,
    10000,
    11025,
    12000,
    12500,
    16000,
    20000,
    22050,
    24000,
    32000,
    44100,
    48000,
    64000,
    88200,
    96000,
    176400,
    192000,
}
_SAMPLE_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8,
                 "ULAW": 1, "ALAW": 1}  # fmt: skip

# What may be missing at the end of a sound that is used, with a warning: one frame of features.
TOLERABLE_LOSS = 0.025  # s
MAX_SECONDS = 3600.0


class SilentClipWarning(UserWarning):
    """Every sample of a clip is exactly zero."""


def load_audio(
    source: Any,
    sampling_rate: int = 16_000,
    *,
    channel: int | None = None,
    max_seconds: float | None = MAX_SECONDS,
) -> np.ndarray:
    """Decode a sound, average its channels and resample it.

    What a file states of its sound is held against what is there: a file that is cut or damaged is refused; one that
    lacks 25 ms at most, or whose header is wrong though its sound is whole, is used with a warning, as is one of the
    rare formats that are not checked; of joined files all are decoded. A stream that never says how long it is (AMR,
    AAC, WebM and MP4 as browsers record them) can end early between two of its frames unnoticed.

    Args:
        source: One of

            * a path (`str` or `Path`) of a regular file,
            * an http or https URL (at most 50 MB and 30 s),
            * the bytes of an audio file, or a binary file object,
            * `{"array" | "raw": samples, "sampling_rate": Hz}`, of any rate, 1-D or with a channel axis,
            * a pair of the rate and such samples, as Gradio gives it, or of samples and rate, as soundfile does,
            * a value of a `datasets` audio column: `{"path", "bytes"}` or a decoder object,
            * a 1-D numpy array or torch tensor, taken to be at `sampling_rate` already.

            Floating-point samples are taken as they are, usually in [-1, 1]; integers are scaled to [-1, 1).
        sampling_rate: Of the result, in Hz.
        channel: Take this channel, from 0, instead of the average of all. The louder channel is taken, with a
            warning, where the average loses most of the sound because the channels are in opposite phase.
        max_seconds: Refuse files that hold more sound than this; None for no limit. Half a megabyte of FLAC can hold
            hours.

    Returns:
        Samples (samples,), float32, finite, at least one; contiguous and writable, so that torch takes them.

    Raises:
        FileNotFoundError: There is no such file, or no such page.
        IsADirectoryError: The path is a folder.
        ConnectionError: The download failed.
        TimeoutError: The download took too long.
        ValueError: The source is empty, truncated, damaged, no audio, no regular file, too large, too long, at a rate
            outside 1 to 768 kHz, has no such channel, or holds no finite samples.
        TypeError: The source is of a type not listed above.

    Example:
        >>> import numpy as np
        >>> load_audio({"array": np.zeros((2, 44100)) + 0.5, "sampling_rate": 44100}).shape
        (16000,)
    """
    _check_rate(sampling_rate, "the sampling rate asked for")
    name = describe_source(source)
    samples, rate = _read(source, name, sampling_rate, channel, max_seconds)
    check_waveform(samples, name)
    if rate != sampling_rate:
        import soxr

        samples = soxr.resample(samples, rate, sampling_rate, quality="HQ")
        if len(samples) == 0:
            raise ValueError(_TOO_SHORT.format(name, rate, sampling_rate))
    # torch takes neither arrays that are read-only nor views that run backwards.
    return np.require(samples, requirements=["C", "W"])


def load_audio_blocks(
    source: Any,
    sampling_rate: int = 16_000,
    *,
    channel: int | None = None,
    max_seconds: float | None = MAX_SECONDS,
) -> Iterator[np.ndarray]:
    """Decode a sound as `load_audio` does, to the same samples, but block by block: no long file is whole in memory.

    Files and bytes are read so; any other source is one block. What `load_audio` refuses or warns of may come to light
    as late as the end. Files of several channels are decoded twice, first to see whether their average cancels them.

    Args:
        source: As of `load_audio`, and so are the others.
        sampling_rate: Of the result, in Hz.
        channel: Take this channel, from 0, instead of the average of all.
        max_seconds: Refuse files that hold more sound than this; None for no limit.

    Yields:
        Samples (samples,), float32, contiguous and writable; some seconds of a file at a time.

    Raises:
        ValueError: As `load_audio`; and so are the other errors.

    Example:
        >>> sum(len(block) for block in load_audio_blocks({"array": np.zeros(44100) + 0.5, "sampling_rate": 44100}))
        16000
    """
    name, content, path = describe_source(source), None, None
    if isinstance(source, str | Path):
        source = {"path": source}
    elif isinstance(source, bytes | bytearray | memoryview):
        source = {"bytes": source}
    if isinstance(source, Mapping) and all(source.get(key) is None for key in ("array", "raw")):
        content, path = source.get("bytes"), source.get("path")
    if content is None and (path is None or is_url(str(path))):
        yield load_audio(source, sampling_rate, channel=channel, max_seconds=max_seconds)
        return
    _check_rate(sampling_rate, "the sampling rate asked for")
    _check_limit(max_seconds)
    given = taken = 0
    peak = 0.0
    resampler: Any = None
    for block, rate in _file_blocks(path if content is None else bytes(content), name, channel, max_seconds):
        peak = max(peak, _checked_peak(block, name, taken))
        taken += len(block)
        if rate != sampling_rate:
            if resampler is None:
                import soxr

                resampler = soxr.ResampleStream(rate, sampling_rate, 1, dtype="float32", quality="HQ")
            block = resampler.resample_chunk(block)
        given += len(block)
        if len(block):
            yield np.require(block, requirements=["C", "W"])
    if not taken:
        raise ValueError(_NO_SAMPLES.format(name))
    _check_level(peak, name)
    if resampler is not None and len(block := resampler.resample_chunk(np.zeros(0, np.float32), last=True)):
        given += len(block)
        yield block
    if not given:
        raise ValueError(_TOO_SHORT.format(name, rate, sampling_rate))


def decode_audio(
    source: Any, channel: int | None = None, max_seconds: float | None = MAX_SECONDS
) -> tuple[np.ndarray, float]:
    """Decode a file or the value of an audio column as `load_audio` does, but at its own rate, which comes beside."""
    name = describe_source(source)
    samples, rate = _read(source, name, None, channel, max_seconds)
    check_waveform(samples, name)
    return samples, rate


def audio_duration(source: str | Path | bytes, max_seconds: float | None = MAX_SECONDS) -> float:
    """Return how many seconds of sound a file holds; what `load_audio` refuses is refused.

    Nothing is decoded but what only FFmpeg reads, of which no more than the samples' number is kept.
    """
    name = describe_source(source)
    with _content(source, name) as (content, file):
        if not content:
            raise ValueError(_EMPTY.format(name))
        seconds = 0.0
        for sound in _sounds(content, name):
            with _opened(_place(sound, file), name, sound) as header:
                rate = _check_rate(header.samplerate, name)
                frames = header.frames if sound.frames is None else sound.frames
                if sound.missing and sound.frames is not None:  # what is stated is not there
                    frames = frames * sound.size // (sound.size + sound.missing)
                if sound.kind:  # then only the decoder knows
                    blocks = _mono_blocks(header, sound, ChannelMix(0), name, max_seconds, seconds)
                    frames = sum(map(len, blocks))
                else:
                    _check_whole(frames, header, sound, name)
                seconds += frames / rate
    if not seconds:
        raise ValueError(_NO_SAMPLES.format(name))
    if max_seconds is not None and seconds > max_seconds:
        raise ValueError(_TOO_LONG.format(name, max_seconds))
    return seconds


def check_waveform(samples: np.ndarray, name: str) -> None:
    """Refuse a waveform that no features can be taken from, and warn of digital silence."""
    if samples.ndim != 1:
        raise ValueError(
            f"{name}: expected a mono waveform of shape (samples,), found shape {samples.shape}; "
            "`load_audio` decodes and mixes files and arrays of several channels."
        )
    if len(samples) == 0:
        raise ValueError(_NO_SAMPLES.format(name))
    _check_level(_checked_peak(samples, name), name)


def _checked_peak(samples: np.ndarray, name: str, before: int = 0) -> float:
    """Return the peak of samples that so many others came before; refuse those that nothing can be computed of."""
    finite = np.isfinite(samples)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        verb = "is" if len(bad) == 1 else "are"
        raise ValueError(
            f"{name}: {len(bad)} of {len(samples)} samples {verb} NaN or infinite, the first at index "
            f"{before + bad[0]}; repair or drop the clip."
        )
    peak = float(max(samples.max(), -samples.min()))
    if peak > LARGEST_PEAK:
        raise ValueError(f"{name}: samples reach {peak:.3g}, which is no sound; read it with its true sample format.")
    return peak


def _check_level(peak: float, name: str) -> None:
    """Warn of a whole sound whose loudest sample is of no usual size."""
    if peak > PLAUSIBLE_PEAK:
        warnings.warn(
            f"{name}: samples reach {peak:.5g}, and full scale is 1. They look like whole numbers turned into floats: "
            "divide them by their full scale (32768 for 16 bits).",
            stacklevel=4,
        )
    if 0 < peak <= FAINTEST_PEAK:
        warnings.warn(
            f"{name}: samples reach {peak:.2g} of full scale only. They look like samples of 16 bits stored in "
            "32: give them as int16.",
            stacklevel=4,
        )
    if not peak:
        warnings.warn(
            f"{name}: digital silence, every sample is 0; what is said of it means nothing.",
            SilentClipWarning,
            stacklevel=4,
        )


def describe_source(source: Any) -> str:
    """Name a source of audio as messages name it: its path or URL where it has one, else its kind."""
    if isinstance(source, str | Path):
        text = str(source)
        return printable(public_url(text) if is_url(text) else text) or "empty path"
    if isinstance(source, bytes | bytearray | memoryview):
        return "bytes"
    if isinstance(source, Mapping):
        if source.get("path"):
            return describe_source(source["path"])
        kinds = {"array": "array", "raw": "array", "bytes": "bytes"}
        return next((kind for key, kind in kinds.items() if source.get(key) is not None), "dict")
    if _is_array(source) or is_pair(source):
        return "array"
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        return printable(name) if isinstance(name, str) and name else "file object"
    return type(source).__name__


def to_float(samples: Any, name: str) -> np.ndarray:
    """Turn samples of any type into float32, integers scaled to [-1, 1)."""
    if isinstance(samples, np.ma.MaskedArray) and np.ma.is_masked(samples):
        raise ValueError(
            f"{name}: {np.ma.count_masked(samples)} of {samples.size} samples are masked, so what they are is not "
            "known; fill them, for example with `array.filled(0)`, or drop the clip."
        )
    if hasattr(samples, "detach"):  # a torch tensor, perhaps of a type that numpy lacks
        samples = samples.detach().cpu()
        samples = (samples.float() if samples.is_floating_point() else samples).numpy()
    try:
        array = np.asarray(samples)
    except ValueError as error:
        raise ValueError(f"{name}: the samples are ragged; give channels of equal length.") from error
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    if array.dtype.kind in "iu" and array.dtype.itemsize <= 4:
        full_scale = 2.0 ** (8 * array.dtype.itemsize - 1)
        middle = full_scale if array.dtype.kind == "u" else 0.0
        return ((array - middle) / full_scale).astype(np.float32)
    if array.dtype.kind in "OUST":
        raise ValueError(
            f"{name}: an array of {array.dtype} is no waveform; if it holds paths, give list(…) of it, else convert "
            "it to float32."
        )
    mend = "convert them to float32 or int16"
    if array.dtype.kind in "iu":
        mend += " (64-bit integers do not tell what full scale is)"
    raise ValueError(f"{name}: samples of type {array.dtype} are no audio; {mend}.")


@cache  # once per process and rate
def warn_assumed_rate(sampling_rate: int) -> None:
    """Warn, once per process, that a waveform came without its rate."""
    warnings.warn(
        f"A waveform came without its sampling rate and is taken to be at {sampling_rate} Hz. At any other rate its "
        'features are wrong: pass `sampling_rate`, or {"array": ..., "sampling_rate": ...}.',
        stacklevel=3,
    )


def _read(
    source: Any, name: str, sampling_rate: int | None, channel: int | None, max_seconds: float | None
) -> tuple[np.ndarray, float]:
    """Turn a source into its mono samples (samples,), float32, and their rate in Hz."""
    _check_limit(max_seconds)
    if isinstance(source, str | Path):
        source = {"path": source}
    elif isinstance(source, bytes | bytearray | memoryview):
        source = {"bytes": source}
    elif sampling_rate is not None and _is_array(source):
        samples = to_float(source, name)
        if samples.ndim != 1:
            raise ValueError(
                f"{name}: an array must be 1-D, found shape {samples.shape}; give several channels as "
                '{"array": ..., "sampling_rate": ...}.'
            )
        warn_assumed_rate(sampling_rate)
        return samples, sampling_rate
    elif is_pair(source):
        first, second = source
        samples, rate = (second, first) if isinstance(first, Real) else (first, second)
        source = {"array": samples, "sampling_rate": rate}
    elif hasattr(source, "get_all_samples"):  # the decoder object of a datasets audio column
        decoded = source.get_all_samples()
        rate = _check_rate(decoded.sample_rate, name)
        return _mix(to_float(decoded.data, name), name, channel, channel_axis=0), rate
    elif hasattr(source, "read"):
        source = {"bytes": source.read()}
        if not isinstance(source["bytes"], bytes):
            raise ValueError(f'{name}: the file object yields text; open the file in binary mode, `open(path, "rb")`.')
    elif hasattr(source, "__getitem__") and not isinstance(source, Mapping | list | tuple):
        try:
            source = {key: source[key] for key in ("array", "sampling_rate")}
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise TypeError(
                f"{name}: cannot read audio from a {type(source).__name__} ({error}); of a data set "
                'give its column of audio, such as rows["audio"].'
            ) from error
    if not isinstance(source, Mapping):
        raise TypeError(
            f"{name}: cannot read audio from a {type(source).__name__}; give a path, an http(s) URL, bytes, a binary "
            'file object, a 1-D array, {"array": ..., "sampling_rate": ...} or an audio value of datasets.'
        )

    for key in ("array", "raw"):
        if source.get(key) is not None:
            if source.get("sampling_rate") is None:
                raise ValueError(f'{name}: the dict has "{key}" but no "sampling_rate"; add it, in Hz.')
            rate = _check_rate(source["sampling_rate"], name)
            return _mix(to_float(source[key], name), name, channel), rate
    if source.get("bytes") is not None:
        return _decode(bytes(source["bytes"]), name, channel, max_seconds)
    if source.get("path") is not None:
        return _decode(_fetch(source["path"], name, max_seconds), name, channel, max_seconds)
    raise ValueError(
        f'{name}: the dict has the keys {sorted(map(str, source))}; expected "array" or "raw" with "sampling_rate", '
        'or "bytes" or "path".'
    )


# Arrays


def is_pair(source: Any) -> bool:
    """Tell whether this is samples with their rate: `(rate, samples)` of Gradio, `(samples, rate)` of soundfile.

    >>> is_pair((16000, np.zeros(4))), is_pair((np.zeros(4), 16000)), is_pair(("a.wav", "b.wav"))
    (True, True, False)
    """
    if not isinstance(source, list | tuple) or len(source) != 2:
        return False
    number, array = sorted(source, key=lambda part: getattr(part, "ndim", 0))
    return isinstance(number, Real) and _is_array(array) and array.ndim > 0


def _is_array(source: Any) -> bool:
    # numpy and torch alone have all three; a decoder object of datasets has none
    return all(hasattr(source, attribute) for attribute in ("__array__", "dtype", "ndim"))


def _mix(samples: np.ndarray, name: str, channel: int | None, channel_axis: int | None = None) -> np.ndarray:
    """Average the channels of (samples,), (channels, samples) or (samples, channels), or take one of them."""
    if samples.ndim == 1:
        samples = samples[None]  # (1, samples)
    elif samples.ndim == 2 and channel_axis is None and 0 not in samples.shape:
        few, many = sorted(samples.shape)
        if few <= MOST_CHANNELS and many >= 10 * few:
            channel_axis = samples.shape.index(few)
    if samples.ndim != 2 or (channel_axis is None and len(samples) > 1):
        raise ValueError(
            f"{name}: shape {samples.shape} does not tell channels from samples; give one channel, (samples,), "
            f"or up to {MOST_CHANNELS} channels with at least ten times as many samples."
        )
    channels = samples.T if channel_axis == 1 else samples  # (channels, samples)
    mix = ChannelMix(_check_channel(channel, len(channels), name))
    mixed = mix.add(channels)
    louder = mix.louder_channel()
    if louder is None:
        return mixed
    _warn_of_phase(louder, name)
    return channels[louder]


def _check_channel(channel: int | None, count: int, name: str) -> int | None:
    if channel is not None and (type(channel) is not int or not 0 <= channel < count):
        numbers = "is channel 0 only" if count == 1 else f"are channels 0 to {count - 1}"
        raise ValueError(f"{name}: channel={channel!r} was asked for, and there {numbers}.")
    return channel


def _warn_of_phase(channel: int, name: str) -> None:
    warnings.warn(
        f"{name}: the channels are in opposite phase and cancel each other in their average; channel {channel}, the "
        "louder, is taken instead. Choose with `channel`.",
        stacklevel=5,
    )


def _check_limit(max_seconds: float | None) -> None:
    if max_seconds is not None and not max_seconds > 0:
        raise ValueError(f"max_seconds={max_seconds!r}: must be a positive number of seconds, or None for no limit.")


def _check_rate(rate: Any, name: str) -> float:
    try:
        valid = not isinstance(rate, bool) and math.isfinite(rate) and rate > 0
    except TypeError:
        valid = False
    if not valid:
        raise ValueError(f"{name}: a sampling rate of {rate!r} Hz is impossible; give a positive number.")
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:  # resampled from 1 Hz, a second of sound would be hours
        raise ValueError(
            f"{name}: a sampling rate of {rate} Hz is none of a recording ({LOWEST_RATE} to {HIGHEST_RATE} Hz); "
            "correct it."
        )
    return rate


# Files


def _fetch(source: str | Path, name: str, max_seconds: float | None) -> bytes:
    """Read the whole content behind a path or URL."""
    if isinstance(source, str) and is_url(source):
        return download(source, name)
    with _open_regular(Path(source) if str(source) else None, name) as file:
        if max_seconds is not None and os.fstat(file.fileno()).st_size > max(60.0, max_seconds) * _BYTES_PER_SECOND:
            raise ValueError(_TOO_LONG.format(name, max_seconds))
        return file.read()


def _open_regular(path: Path | None, name: str) -> BinaryIO:
    """Open a regular file; a pipe or a device, on which one can wait without end, is refused, and so is a folder."""
    mode = path.stat().st_mode if path is not None and path.exists() else None
    if mode is None:
        raise FileNotFoundError(f"{name}: no such file; check the path (current folder: {Path.cwd()}).")
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{name}: is a folder; give one audio file of it.")
    if stat.S_ISREG(mode):
        # Not to wait, even if the name is given to a pipe meanwhile.
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))  # noqa: SIM115
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
    raise ValueError(f"{name}: is no regular file but a pipe or a device; copy what it holds into a file.")


def _decode(content: bytes, name: str, channel: int | None, max_seconds: float | None) -> tuple[np.ndarray, float]:
    """Decode the bytes of an audio file to mono: (samples,) float32, and the rate in Hz."""
    blocks = list(_file_blocks(content, name, channel, max_seconds, at_once=True))
    if not blocks:
        raise ValueError(_NO_SAMPLES.format(name))
    return np.concatenate([block for block, _ in blocks]), blocks[0][1]


def _sounds(content: Any, name: str) -> list[Sound]:
    try:
        return sounds_of(content)
    except DamageError as error:
        raise ValueError(f"{name}: {error}; {_MEND}.") from error


@contextmanager
def _opened(file: BinaryIO, name: str, sound: Sound) -> Iterator[Any]:
    """Open a file with libsndfile, or with FFmpeg, whose errors are given the file's name."""
    if sound.kind:
        try:
            with FFmpegSound(file, sound, name) as opened:
                yield opened
        except DamageError as error:
            raise ValueError(f"{name}: {error}; {_MEND}.") from error
        return
    import soundfile

    reason = "no audio file that can be read here"
    try:
        # The system reads a file faster than libsndfile does through Python.
        with soundfile.SoundFile(file if isinstance(file, io.BytesIO) else file.fileno(), closefd=False) as opened:
            reason = "truncated or damaged, decoding failed"
            yield opened
    except soundfile.LibsndfileError as error:
        file.seek(0)
        kind = what_is_there(file.read(4096)) if reason.startswith("no audio") else None
        if kind is not None:
            raise ValueError(f"{name}: no audio file but {kind}.") from error
        raise ValueError(f"{name}: {reason} ({error.error_string}); {_MEND}.") from error


def _blocks(file: Any) -> Iterator[np.ndarray]:
    """Yield what a file holds, (channels, samples), block by block: no stated length is to be trusted with memory."""
    while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):  # (samples, channels)
        yield block.T


def _mixing(file: Any, channel: int | None, name: str) -> ChannelMix:
    """Say how the channels of an opened file become one."""
    if file.channels > MOST_CHANNELS:
        raise ValueError(f"{name}: states {file.channels} channels, more than {MOST_CHANNELS}; {_MEND}.")
    return ChannelMix(_check_channel(channel, file.channels, name))


def _mono_blocks(
    file: Any, sound: Sound, mix: ChannelMix, name: str, max_seconds: float | None, before: float
) -> Iterator[np.ndarray]:
    """Yield what an opened file holds, (samples,); check that it is whole and, with what was before, not too long."""
    decoded = 0
    for block in _blocks(file):
        yield mix.add(block)
        decoded += block.shape[1]
        if max_seconds is not None and before + decoded / file.samplerate > max_seconds:
            raise ValueError(_TOO_LONG.format(name, max_seconds))
    _check_whole(decoded, file, sound, name)


def _file_blocks(
    source: str | Path | bytes, name: str, channel: int | None, max_seconds: float | None, at_once: bool = False
) -> Iterator[tuple[np.ndarray, float]]:
    """Yield what a file holds, (samples,) and the rate in Hz, without having read more of it than is needed.

    Whether the average of several channels cancels them shows at the end: they are decoded twice, unless all may be
    held in memory `at_once`.
    """
    with _content(source, name) as (content, file):
        if not content:
            raise ValueError(_EMPTY.format(name))
        before, known = 0.0, None
        for sound in _sounds(content, name):
            with _opened(_place(sound, file), name, sound) as opened:
                rate = _check_rate(opened.samplerate, name)
                if known not in (None, rate):
                    raise ValueError(f"{name}: joined of sounds at {known} and {rate} Hz; take them apart.")
                known, mix, decoded = rate, _mixing(opened, channel, name), 0
                several, held = opened.channels > 1 and channel is None, []
                for block in _mono_blocks(opened, sound, mix, name, max_seconds, before):
                    decoded += len(block)
                    if not several:
                        yield block, rate
                    elif at_once:
                        held.append(block)
            before += decoded / rate
            louder = mix.louder_channel() if several else None
            if louder is not None:
                _warn_of_phase(louder, name)
            if not several or (at_once and louder is None):
                yield from ((block, rate) for block in held)
                continue
            with _opened(_place(sound, file), name, sound) as opened:
                mix = ChannelMix(louder)
                for block in _blocks(opened):
                    yield mix.add(block), rate


def _place(sound: Sound, file: BinaryIO | None) -> Any:
    """Say where a sound is to be read from its beginning: in the file that is mapped, or in memory."""
    if file is None or not isinstance(sound.content, mmap.mmap):
        return io.BytesIO(sound.content)
    if sound.kind:  # FFmpeg reads through Python, which has read ahead in the file
        sound.content.seek(0)
        return sound.content
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return file


@contextmanager
def _content(source: str | Path | bytes, name: str) -> Iterator[tuple[Any, BinaryIO | None]]:
    """Give the bytes of a file, mapped where they are on a disk, and that file, opened."""
    if isinstance(source, bytes):
        yield source, None
        return
    with _open_regular(Path(source) if str(source) else None, name) as file:
        if not os.fstat(file.fileno()).st_size:
            yield b"", file
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content, file


def _check_whole(decoded: int, file: Any, sound: Sound, name: str) -> None:
    """Refuse a sound of which much is missing, or that much follows; tell of a little, and of what else is odd."""
    rate, notes = file.samplerate, [note.format(file.format) for note in sound.notes]
    stated = file.frames if sound.frames is None else sound.frames
    width = _SAMPLE_BYTES.get(file.subtype, 0) * file.channels
    lost = max(0, stated - decoded)
    if sound.missing:
        lost = max(lost, math.ceil(decoded * sound.missing / max(1, sound.size)), 1)
    if width:
        lost = max(lost, sound.size // width - decoded)
    if lost > TOLERABLE_LOSS * rate or (lost and not decoded):
        there = f"{decoded} samples of more" if lost > 1e15 else f"{decoded} of {decoded + lost} samples"
        there = there if decoded else "none of its samples"
        raise ValueError(f"{name}: truncated, {there} are there; {_MEND}, to use what is left.")
    if lost:
        notes.append(f"{1000 * lost / rate:.1f} ms of sound are missing at its end")
    if stated < decoded and (width or file.subtype.startswith("ALAC")):
        notes.append(f"its header states {stated} samples, and the {decoded} that are there are taken")
    # Some count the byte that makes a chunk of AIFF even.
    padded = file.format == "AIFF" and not sound.size % 2 and sound.size == decoded * width + 1
    if width and sound.size % width and not padded:
        notes.append("its last sample is not whole")
    if width and sound.size and decoded * width > sound.size:
        notes.append(f"{decoded} samples were found in {sound.size} bytes, which is too many")
    if sound.surplus:
        follows = f"{sound.surplus} bytes follow its sound that are no part of it"
        if sound.surplus * decoded > TOLERABLE_LOSS * rate * sound.end:
            raise ValueError(f"{name}: {follows}, another sound perhaps; take the file apart, or {_MEND}.")
        notes.append(follows)
    said_twice = (width and file.format in ("RF64", "W64", "WAV", "WAVEX")) or file.subtype == "PCM_U8"
    if not said_twice and file.format not in ("FLAC", "MP3", "OGG") and rate not in _USUAL_RATES:
        notes.append(f"{rate} Hz is an unusual rate, and its header may be damaged")
    if file.format in ("AU", "VOC") and file.channels not in (1, 2, 4, 6, 8):
        notes.append(f"{file.channels} channels are an unusual number, and its header may be damaged")
    for note in notes:
        warnings.warn(f"{name}: {note}.", stacklevel=6)
