"""Sound decoded block by block is the sound decoded at once: its samples, its warnings and its errors."""

import itertools
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from feature_extraction.audio_decoding import load_audio, load_audio_blocks, warn_assumed_rate
from tests.feature_extraction.test_audio_decoding import BAD_BYTES, BAD_SOURCES, SOURCES, tone
from tests.feature_extraction.test_damaged_sounds import REFUSED, STEREO, WAV, WHOLE, encode

CASES: dict[str, Callable[[Path], Any]] = {
    **{f"source: {kind}": SOURCES[kind] for kind in SOURCES},
    **{f"bad source: {kind}": lambda wav, kind=kind: BAD_SOURCES[kind][0] for kind in BAD_SOURCES},
    **{f"bad bytes: {kind}": lambda wav, kind=kind: BAD_BYTES[kind][0] for kind in BAD_BYTES},
    **{f"whole: {kind}": lambda wav, kind=kind: WHOLE[kind][0] for kind in WHOLE},
    **{f"refused: {kind}": lambda wav, kind=kind: REFUSED[kind][0] for kind in REFUSED},
    **{
        f"channels: {kind}": lambda wav, kind=kind: encode(np.stack(STEREO[kind][0]()).T, "FLAC", "PCM_16")
        for kind in STEREO
    },
    "joined": lambda wav: WAV + WAV,
    "joined of two rates": lambda wav: WAV + encode(tone(), "WAV", "PCM_16", 8000),
    "of one sample": lambda wav: encode(tone()[1:2], "WAV", "PCM_16", 192_000),
    "silent": lambda wav: encode(np.zeros(100), "WAV", "PCM_16"),
    "samples of 16 bits as floats": lambda wav: encode(tone() * 32768, "WAV", "FLOAT"),
    "no sound": lambda wav: encode(tone() * 1e20, "WAV", "FLOAT"),
}


def outcome(read: Callable[[], np.ndarray]) -> tuple[Any, list[str]]:
    """What comes of reading a sound: its samples or its error, and what is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_assumed_rate.cache_clear()
        try:
            result = read().tobytes()
        except Exception as error:
            result = type(error), str(error)
    return result, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("kind", CASES)
def test_blocks_are_the_whole(kind: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", tone(), 16000)
    make = CASES[kind]
    at_once = outcome(lambda: load_audio(make(tmp_path / "clip.wav")))
    assert outcome(lambda: np.concatenate(list(load_audio_blocks(make(tmp_path / "clip.wav"))))) == at_once
    content = make(tmp_path / "clip.wav")
    if isinstance(content, bytes):
        (tmp_path / "file.wav").write_bytes(content)
        at_once = outcome(lambda: load_audio(tmp_path / "file.wav"))
        assert outcome(lambda: np.concatenate(list(load_audio_blocks(tmp_path / "file.wav")))) == at_once


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_long_files_come_in_blocks(form: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for rate, channels in itertools.product((16000, 44100), (1, 2)):
        path = tmp_path / f"{rate} {channels}.{form.lower()}"
        sound = 0.1 * random.standard_normal((30 * rate, channels))
        soundfile.write(path, sound, rate, format=form)
        for channel in (None, *range(channels)):
            blocks = list(load_audio_blocks(path, channel=channel))
            assert len(blocks) > 1
            np.testing.assert_array_equal(np.concatenate(blocks), load_audio(path, channel=channel))
        with pytest.raises(ValueError, match="more than 20 s"):
            list(load_audio_blocks(path, max_seconds=20))


def test_the_first_nan_is_found_in_its_block(tmp_path: Path) -> None:
    sound = np.resize(tone(), 600_000)
    sound[500_000] = np.nan
    soundfile.write(tmp_path / "clip.wav", sound, 16000, subtype="FLOAT")
    with pytest.raises(ValueError, match="the first at index 500000;"):
        list(load_audio_blocks(tmp_path / "clip.wav"))


def test_no_more_than_a_few_blocks_are_held(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.resize(tone(), 200 * 44100), 44100)
    tracemalloc.start()
    try:
        assert sum(map(len, load_audio_blocks(path))) == 200 * 16000
        assert tracemalloc.get_traced_memory()[1] < 8e6  # at once: 35 MB, and 13 MB of the result
    finally:
        tracemalloc.stop()
