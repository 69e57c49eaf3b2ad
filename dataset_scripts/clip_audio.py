"""Clips as the models will hear them: through the one decoder, at their own rate."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import soundfile

from feature_extraction.audio_decoding import load_audio


def decode_clip(audio: Mapping[str, Any]) -> tuple[np.ndarray, int]:
    """Decode a clip without resampling it.

    Args:
        audio: ``path`` and ``bytes`` of a file.

    Returns:
        Samples (samples,), float32, channels averaged, and their rate in Hz.

    Raises:
        ValueError: If it is empty, truncated, no audio, or has NaN or infinite samples.
        FileNotFoundError: If there is no such file.
    """
    try:
        rate = read_header(audio).samplerate
    except soundfile.LibsndfileError:
        rate = 16_000  # the decoder says what is wrong, and better
    return load_audio(dict(audio), sampling_rate=rate), rate


def read_header(audio: Mapping[str, Any]) -> Any:
    """Read a clip's header.

    Args:
        audio: ``path`` and ``bytes`` of a file.

    Returns:
        ``soundfile``'s description, with ``samplerate``, ``channels``, ``frames`` and ``duration``.

    Raises:
        soundfile.LibsndfileError: If there is none.
    """
    return soundfile.info(audio["path"] if audio.get("bytes") is None else io.BytesIO(audio["bytes"]))
