"""The decoder: whatever holds a sound becomes one mono waveform at the rate asked for.

Everything that reads audio here (extractor, pipeline, corpora, training) reads it through `load_audio`, so a clip has
the same samples everywhere. Decoding is soundfile's (wav, flac, ogg, opus, mp3, aiff and the rest of libsndfile's
formats), resampling soxr's at its high quality; FFmpeg is not needed.
"""

import io
import math
import re
import warnings
from collections.abc import Mapping
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from .audio_download import download, is_url, public_url
from .content_kind import what_is_there
from .safe_text import printable

MOST_CHANNELS = 32
LOWEST_RATE, HIGHEST_RATE = 1000, 768_000  # Hz; speech below the former is none any more

_BLOCK_FRAMES = 1 << 18
# Full scale is 1. Sums of windows and resampling go somewhat beyond; samples of 16 bits that were not divided, far.
PLAUSIBLE_PEAK = 8.0
# The power of a window of larger samples would be no finite float32.
LARGEST_PEAK = 1e15
_CONVERT = "convert it first, for example with `ffmpeg -i <source> clip.wav`"

# What is missing at the end of a file libsndfile reads over in silence; its log tells. The first pattern is that of
# chunked formats (wav, aiff, au, w64), the second that of RF64, the third that of Ogg.
_SHORT_CHUNK = re.compile(r"^\s*(?:data|SSND|Data Size|riff)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_SHORT_RF64 = re.compile(r"Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
_SHORT_OGG = re.compile(r"Last page lacks an end-of-stream bit")
# A program that writes wav into a pipe cannot know the length and states the largest one it can.
_UNKNOWN_LENGTH = 0x7FFF_0000


class SilentClipWarning(UserWarning):
    """Every sample of a clip is exactly zero."""


def load_audio(source: Any, sampling_rate: int = 16_000) -> np.ndarray:
    """Decode a sound, average its channels and resample it.

    Args:
        source: One of

            * a path (`str` or `Path`),
            * an http or https URL (at most 50 MB and 30 s),
            * the bytes of an audio file, or a binary file object,
            * `{"array" | "raw": samples, "sampling_rate": Hz}`, of any rate, 1-D or with a channel axis,
            * a pair of the rate and such samples, as Gradio gives it, or of samples and rate, as soundfile does,
            * a value of a `datasets` audio column: `{"path", "bytes"}` or a decoder object,
            * a 1-D numpy array or torch tensor, taken to be at `sampling_rate` already.

            Floating-point samples are taken as they are, usually in [-1, 1]; integers are scaled to [-1, 1).
        sampling_rate: Of the result, in Hz.

    Returns:
        Samples (samples,), float32, finite, at least one; contiguous and writable, so that torch takes them.

    Raises:
        FileNotFoundError: There is no such file, or no such page.
        IsADirectoryError: The path is a folder.
        ConnectionError: The download failed.
        TimeoutError: The download took too long.
        ValueError: The source is empty, truncated, no audio, too large, at a rate outside 1 to 768 kHz, or holds no
            finite samples.
        TypeError: The source is of a type not listed above.

    Example:
        >>> import numpy as np
        >>> load_audio({"array": np.zeros((2, 44100)) + 0.5, "sampling_rate": 44100}).shape
        (16000,)
    """
    _check_rate(sampling_rate, "the sampling rate asked for")
    name = describe_source(source)
    samples, rate = _read(source, name, sampling_rate)
    check_waveform(samples, name)
    _check_rate(rate, name)
    if rate != sampling_rate:
        import soxr

        samples = soxr.resample(samples, rate, sampling_rate, quality="HQ")
        if len(samples) == 0:
            raise ValueError(
                f"{name}: too short to be resampled from {rate} Hz to {sampling_rate} Hz; give a longer clip."
            )
    # torch takes neither arrays that are read-only nor views that run backwards.
    return np.require(samples, requirements=["C", "W"])


def check_waveform(samples: np.ndarray, name: str) -> None:
    """Refuse a waveform that no features can be taken from, and warn of digital silence."""
    if samples.ndim != 1:
        raise ValueError(
            f"{name}: expected a mono waveform of shape (samples,), found shape {samples.shape}; "
            "`load_audio` decodes and mixes files and arrays of several channels."
        )
    if len(samples) == 0:
        raise ValueError(f"{name}: holds 0 samples; drop the clip.")
    finite = np.isfinite(samples)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        verb = "is" if len(bad) == 1 else "are"
        raise ValueError(
            f"{name}: {len(bad)} of {len(samples)} samples {verb} NaN or infinite, the first at index {bad[0]}; "
            "repair or drop the clip."
        )
    peak = float(max(samples.max(), -samples.min()))
    if peak > LARGEST_PEAK:
        raise ValueError(f"{name}: samples reach {peak:.3g}, which is no sound; read it with its true sample format.")
    if peak > PLAUSIBLE_PEAK:
        warnings.warn(
            f"{name}: samples reach {peak:.5g}, and full scale is 1. They look like whole numbers turned into floats: "
            "divide them by their full scale (32768 for 16 bits).",
            stacklevel=3,
        )
    if not samples.any():
        warnings.warn(
            f"{name}: digital silence, every sample is 0; what is said of it means nothing.",
            SilentClipWarning,
            stacklevel=3,
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


def _read(source: Any, name: str, sampling_rate: int) -> tuple[np.ndarray, float]:
    """Turn a source into its mono samples (samples,), float32, and their rate in Hz."""
    if isinstance(source, str | Path):
        source = {"path": source}
    elif isinstance(source, bytes | bytearray | memoryview):
        source = {"bytes": source}
    elif _is_array(source):
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
        return _mix(to_float(decoded.data, name), name, channel_axis=0), _check_rate(decoded.sample_rate, name)
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
            return _mix(to_float(source[key], name), name), rate
    if source.get("bytes") is not None:
        return _decode(bytes(source["bytes"]), name)
    if source.get("path") is not None:
        return _decode(_fetch(source["path"], name), name)
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


def _mix(samples: np.ndarray, name: str, channel_axis: int | None = None) -> np.ndarray:
    """Average the channels of (samples,), (channels, samples) or (samples, channels)."""
    if samples.ndim == 1:
        return samples
    if samples.ndim == 2 and channel_axis is None and 0 not in samples.shape:
        few, many = sorted(samples.shape)
        if few <= MOST_CHANNELS and many >= 10 * few:
            channel_axis = samples.shape.index(few)
    if samples.ndim != 2 or channel_axis is None:
        raise ValueError(
            f"{name}: shape {samples.shape} does not tell channels from samples; give one channel, (samples,), "
            f"or up to {MOST_CHANNELS} channels with at least ten times as many samples."
        )
    return samples.mean(axis=channel_axis, dtype=np.float32)


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


def _fetch(source: str | Path, name: str) -> bytes:
    """Read the whole content behind a path or URL."""
    if isinstance(source, str) and is_url(source):
        return download(source, name)
    path = Path(source)
    if str(source) == "" or not path.exists():
        raise FileNotFoundError(f"{name}: no such file; check the path (current folder: {Path.cwd()}).")
    if path.is_dir():
        raise IsADirectoryError(f"{name}: is a folder; give one audio file of it.")
    return path.read_bytes()


def _decode(content: bytes, name: str) -> tuple[np.ndarray, int]:
    """Decode the bytes of an audio file to mono: (samples,) float32, and the rate in Hz."""
    import soundfile

    if not content:
        raise ValueError(f"{name}: is empty (0 bytes); fetch it anew or drop it.")
    blocks: list[np.ndarray] | None = None
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            blocks = []
            # Block by block: the length a file states is not to be trusted with memory.
            while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):  # (frames, channels)
                blocks.append(block.mean(axis=1, dtype=np.float32))
            promised, rate, log = file.frames, file.samplerate, file.extra_info
    except soundfile.LibsndfileError as error:
        reason = "no audio file that can be read here"
        if blocks is None and (kind := what_is_there(content)) is not None:
            raise ValueError(f"{name}: no audio file but {kind}.") from error
        if blocks is not None:
            reason = f"truncated or damaged, decoding ended after {sum(map(len, blocks))} samples"
        raise ValueError(f"{name}: {reason} ({error.error_string}); fetch it anew, or {_CONVERT}.") from error
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)  # (samples,)
    _check_whole(len(samples), promised, log, name)
    return samples, rate


def _check_whole(decoded: int, promised: int, log: str, name: str) -> None:
    """Refuse a file whose header promises more than the file holds."""
    shortfall = f"{decoded} of {promised} samples are there" if decoded < promised else ""
    if match := _SHORT_CHUNK.search(log):
        stated, there = int(match[1]), int(match[2])
        if there < stated < _UNKNOWN_LENGTH:
            shortfall = f"{there} of {stated} bytes are there"
    if match := _SHORT_RF64.search(log):
        there, stated = sorted((int(match[1]), int(match[2])))
        shortfall = f"{there} of {stated} samples are there"
    if _SHORT_OGG.search(log):
        shortfall = "its last page is missing"
    if shortfall:
        raise ValueError(f"{name}: truncated, {shortfall}; fetch it anew, or {_CONVERT}, to use what is left.")
