"""Encodes sounds as phones and browsers do, with the package av, where it is installed."""

import io
from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av", reason="the extra `formats` (the package av) is not installed")

# Name → container, coder, options of the container.
PHONE_FORMATS: dict[str, tuple[str, str, dict[str, str]]] = {
    "m4a AAC": ("ipod", "aac", {}),
    "mp4 ALAC": ("mp4", "alac", {}),
    "fragments of mp4": ("mp4", "aac", {"movflags": "empty_moov+default_base_moof", "frag_duration": "300000"}),
    "3gp AMR": ("3gp", "libopencore_amrnb", {}),
    "amr": ("amr", "libopencore_amrnb", {}),
    "webm Opus": ("webm", "libopus", {}),
    "live webm": ("webm", "libopus", {"live": "1"}),
    "mka FLAC": ("matroska", "flac", {}),
    "aac": ("adts", "aac", {}),
    "mov PCM": ("mov", "pcm_u8", {}),
    "caf IMA": ("caf", "adpcm_ima_qt", {}),
}


def encode(form: str, channels: np.ndarray, rate: int | None = None, **coding: str) -> bytes:
    """Encode (channels, samples), at 16 kHz where that can be; `coding` holds options of the coder."""
    container, coder, options = PHONE_FORMATS[form]
    rate = rate or (8000 if "amr" in coder else 16_000)
    file, layout = io.BytesIO(), "mono" if len(channels) == 1 else "stereo"
    with av.open(file, "w", format=container, options=options) as output:
        track = output.add_stream(coder, rate=rate, layout=layout, options=coding)
        track.bit_rate = 12_200 if "amr" in coder else 64_000
        coded = track.codec_context
        frame = av.AudioFrame.from_ndarray(channels.astype(np.float32), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        cutter = av.AudioResampler(format=coded.format, layout=layout, rate=rate, frame_size=coded.frame_size or 1024)
        for piece in (*cutter.resample(frame), *cutter.resample(None), None):
            output.mux(track.encode(piece))
    return file.getvalue()
