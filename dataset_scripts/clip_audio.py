"""Clips as the models will hear them: through the one decoder, at their own rate."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import soundfile

from feature_extraction.audio_decoding import load_audio


def decode_clip(audio: Mapping[str, Any]) -> tuple[np.ndarray, int]:
    """Decode a clip without resampling it."""
    try:
        rate = read_header(audio).samplerate
    except soundfile.LibsndfileError:
        rate = 16_000  # the decoder says what is wrong, and better
    return load_audio(dict(audio), sampling_rate=rate), rate


def read_header(audio: Mapping[str, Any]) -> Any:
    """Read a clip's header."""
    return soundfile.info(audio["path"] if audio.get("bytes") is None else io.BytesIO(audio["bytes"]))
