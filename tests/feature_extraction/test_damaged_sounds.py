"""What a file states against what is there: cut, damaged and joined files, wrong headers, pipes, too much."""

import io
import os
import re
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from feature_extraction.audio_decoding import audio_duration, load_audio
from feature_extraction.audio_streams import checksum_16
from tests.feature_extraction.sound_fuzz import FORMATS, attempts
from tests.fuzzing import fuzz
from tests.subprocess_tools import PROJECT_ROOT

NOISE = (0.1 * np.random.default_rng(0).standard_normal(48000)).astype(np.float32)


def encode(samples: np.ndarray, container: str, subtype: str, rate: int = 16000, **options: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype, **options)
    return file.getvalue()


WAV, OPUS = encode(NOISE, "WAV", "PCM_16"), encode(NOISE, "OGG", "OPUS")
FLAC, AU = encode(NOISE, "FLAC", "PCM_16"), encode(NOISE, "AU", "PCM_16")
MP3 = encode(np.r_[3 * NOISE[:16000], np.zeros(176000)], "MP3", "MPEG_LAYER_III", bitrate_mode="VARIABLE")


CAF, VOC = encode(NOISE, "CAF", "PCM_16"), encode(NOISE, "VOC", "PCM_16")
VOC_IN_BLOCKS = VOC[:27] + (40012).to_bytes(3, "little") + VOC[30:40042] + b"\2"
VOC_IN_BLOCKS += (56000).to_bytes(3, "little") + VOC[40042:]


def tagged_by_ffmpeg(mp3: bytes) -> bytes:
    """Put FFmpeg's name and sum into LAME's tag: the sum of 190 bytes, its own place being empty."""
    place = mp3.find(b"LAME")
    tag = mp3[:place] + b"Lavf" + mp3[place + 4 : place + 34] + bytes(2) + mp3[place + 36 : 190]
    backwards = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    total = checksum_16(tag.translate(backwards)).to_bytes(2, "little").translate(backwards)
    return tag[: place + 34] + total + tag[place + 36 :] + mp3[190:]


def without_tag(mp3: bytes) -> bytes:
    return mp3[mp3.find(mp3[:2], mp3.find(b"Xing")) :]


def stating(content: bytes, place: int, number: int, order: str = "<I") -> bytes:
    return content[:place] + struct.pack(order, number) + content[place + struct.calcsize(order) :]


def flipped(content: bytes, place: float = 0.5) -> bytes:
    place = int(place * len(content))
    return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


def without_piece(content: bytes, mark: bytes, number: int) -> bytes:
    """Leave out one of the pieces, pages or frames, that begin with a mark."""
    starts = [match.start() for match in re.finditer(mark, content)]
    return content[: starts[number]] + content[starts[number + 1] :]


def duration(content: bytes) -> float:
    with warnings.catch_warnings(action="ignore"):
        return audio_duration(content)


# What is given, how many samples it holds, and of what one is warned: of nothing, if that is empty.
WHOLE = {
    "MP3 whose tag is lost": (without_tag(MP3), 192000 + 1536, ""),  # with what the tag says is to be left out
    "MP3 whose tag is lost, and which begins quietly": (
        without_tag(encode(np.r_[np.zeros(176000), 3 * NOISE[:16000]], "MP3", "MPEG_LAYER_III")), 193536, "",
    ),
    "MP3 with other tags": (b"ID3\4\0\0\0\0\0\x05title" + MP3 + b"TAG" + bytes(125), 192000, ""),
    **{f"WAV that states {n} bytes": (stating(WAV, 40, n), 48000, f"states {n} bytes")
       for n in (0, 96044, 2_000_000_000, 192_000)},
    "MP3 as FFmpeg tags it": (tagged_by_ffmpeg(MP3), 192000, ""),
    "VOC in blocks, as FFmpeg writes it": (VOC_IN_BLOCKS, 48000, ""),
    "WAV of a pipe": (stating(stating(WAV, 4, 0xFFFFFFFF), 40, 0xFFFFFFFF), 48000, ""),
    "WAV with a tail": (WAV + b"LIST\4\0\0\0abcd", 48000, ""),
    "WAV of an odd size that is not filled up": (
        stating(WAV, 40, 95999)[:-1] + b"LIST\4\0\0\0abcd", 47999, "its last sample is not whole",
    ),
    "WAV with zeros": (WAV + bytes(512), 48000, ""),
    "WAV with a few strange bytes": (WAV + b"strange", 48000, "7 bytes follow"),
    "WAV of contradictions": (stating(WAV, 22, 2, "<H"), 24000, "contradicts itself"),
    "WAV without its last bytes": (WAV[:-20], 47990, r"0\.6 ms of sound are missing"),
    "SPHERE at a rate of old corpora": (encode(NOISE, "NIST", "PCM_16", 12500), 61440, ""),
    "AIFF of 24 bits and an odd size": (encode(NOISE[:47999], "AIFF", "PCM_24"), 47999, ""),
    "AU without a size": (stating(AU, 8, 0xFFFFFFFF, ">I"), 48000, ""),
    "AU that states 0 bytes": (stating(AU, 8, 0, ">I"), 48000, "states 0 bytes"),
    "CAF without a size": (stating(CAF, CAF.find(b"data") + 4, -1, ">q"), 48000, ""),
    "FLAC without a length": (FLAC[:21] + bytes([FLAC[21] & 0xF0]) + bytes(4) + FLAC[26:], 48000, ""),
    "a format that is not checked": (encode(NOISE, "PAF", "PCM_16"), 48000, "not checked"),
    "16 bits in 32": (encode((NOISE * 32768).astype(np.int32), "WAV", "PCM_32"), 48000, "give them as int16"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WHOLE)
def test_sounds_that_are_whole_are_decoded_whatever_their_headers_say(kind: str) -> None:
    content, samples, told = WHOLE[kind]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(load_audio(content)) == samples
    assert bool(caught) == bool(told)
    assert all(re.search(told, str(warning.message)) for warning in caught)
    assert duration(content) == samples / 16000


JOINED = [
    *("OGG OPUS", "OGG VORBIS", "FLAC PCM_16", "WAV PCM_16", "MP3 MPEG_LAYER_III", "AIFF PCM_16", "AU PCM_16"),
    *("NIST PCM_16", "VOC PCM_16", "CAF PCM_16", "CAF ALAC_16", "W64 PCM_16", "RF64 PCM_16"),
]


@pytest.mark.parametrize("form", JOINED)
def test_joined_files_are_decoded_part_by_part_and_cut_ones_are_refused(form: str) -> None:
    content = encode(NOISE, *form.split())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = load_audio(content)
        np.testing.assert_array_equal(load_audio(content + content), np.tile(whole, 2))
    assert duration(content + content) == 6.0
    with pytest.raises(ValueError, match=r"^bytes: (truncated|damaged|no audio file)"):
        load_audio(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"^bytes: (truncated|damaged|no audio file)"):
        load_audio(content + content[: len(content) // 2])


REFUSED = {
    "Opus without its last bytes": (OPUS[:-20], "truncated, its last page is not whole"),
    "Opus of which a bit flipped": (flipped(OPUS), "damaged, the checksum of its page 4 is wrong"),
    "Opus without a page": (
        without_piece(OPUS, b"OggS", 2), "pages are missing before its page 3",
    ),
    "Opus with something between": (OPUS.replace(b"OggS", b"?OggS", 4)[1:], "what follows its page 1 is no page"),
    "FLAC of which a bit flipped": (flipped(FLAC), "damaged"),
    "FLAC without a frame": (without_piece(FLAC, rb"\xff\xf8..[\0-\x0b]", 4), "damaged, 16384 of 48000 samples"),
    "MP3 without a few bytes": (MP3[:8000] + MP3[8100:], "damaged, what follows its frame"),
    "MP3 of a second only": (MP3[: len(MP3) // 3], "truncated"),
    "WAV of which the half is there": (WAV[:48000], "truncated, 23978 of 48000 samples"),
    "WAV that states less than there is": (stating(WAV, 40, 32000), "64000 bytes follow its sound"),
    "WAV and a stranger": (WAV + NOISE.tobytes(), "192000 bytes follow its sound"),
    "WAV joined with another rate": (WAV + encode(NOISE, "WAV", "PCM_16", 8000), "joined of sounds at 16000 and 8000"),
    "VOC of several sounds": (VOC[:-1] + VOC[26:], "several sounds"),
    "tags without a sound": (b"ID3\4\0\0\0\0\0\5title", "truncated, it ends before"),
    "tags beyond the end": (b"ID3\4\0\0\1\0\0\0" + MP3, "truncated, it ends before"),
    "many tiny sounds": (encode(NOISE[:4], "WAV", "PCM_16") * 5000, "more than 100 sounds"),
    "WAV of 40 channels": (stating(stating(WAV, 22, 40, "<H"), 32, 80, "<H"), "40 channels"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "length", "told"),
    [("NIST", 0.5, "2[0-9]+ of 48000"), ("WAV", 44, "none of its"), ("VOC", 0.5, "2[0-9]+ of 4[78]")],
)
def test_what_is_there_is_counted_alike(kind: str, length: float, told: str) -> None:
    content = encode(NOISE, kind, "PCM_16")
    content = content[: int(length * len(content)) if length < 1 else int(length)]
    said = []
    for read in (load_audio, audio_duration):
        with pytest.raises(ValueError, match=f"truncated, {told}.* samples are there") as caught:
            read(content)
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("kind", REFUSED)
def test_sounds_that_are_not_whole_are_refused(kind: str) -> None:
    content, complaint = REFUSED[kind]
    with pytest.raises(ValueError, match=f"^bytes: .*{complaint}"), warnings.catch_warnings(action="ignore"):
        load_audio(content)


def test_no_ogg_file_without_its_end_is_scored() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        clip = encode(NOISE[: int(random.integers(16000, 48000))], "OGG", "OPUS")
        with pytest.raises(ValueError, match="truncated, its last page"):
            load_audio(clip[:-20])


def test_checksum_of_16_bits() -> None:
    assert checksum_16(b"123456789") == 0xFEE8  # the check value that is published of CRC-16/UMTS
    assert checksum_16(bytes(100) + b"123456789") == 0xFEE8


def test_a_share_of_the_fuzzing(tmp_path: Path) -> None:
    assert len(FORMATS) == 42
    found = fuzz(attempts(tmp_path), range(5 * len(FORMATS)), seed=7)
    assert found["refused"] > 50 and found["whole"] > 50 and found["told"] > 20


def test_the_decoded_length_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(3601 * 1000, np.int16), 1000)
    assert path.stat().st_size < 50_000
    for read in (load_audio, audio_duration):
        with pytest.raises(ValueError, match=r"long\.flac: holds more than 3600 s of sound, .*max_seconds"):
            read(path)
        with pytest.raises(ValueError, match=r"more than 1\.5 s"):
            read(path, max_seconds=1.5)
    assert audio_duration(path, max_seconds=None) == 3601.0
    with pytest.raises(ValueError, match="more than 4 s"):  # of all parts together
        load_audio(WAV + WAV, max_seconds=4)
    assert len(load_audio(WAV, max_seconds=None)) == 48000
    for nonsense in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=r"max_seconds=\S+ must be a positive number"):
            load_audio(WAV, max_seconds=nonsense)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "pipe.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    code = """
import sys
from dataset_scripts.audio_files import clip_durations
from dataset_scripts.audio_leaks import samples_digest
from feature_extraction import load_audio
from pathlib import Path
for name in sys.argv[1:]:
    path = Path(name)
    for read in (load_audio, samples_digest, clip_durations):
        try:
            read(*{samples_digest: [{"path": name}], clip_durations: [[path], True, None]}.get(read, [path]))
        except ValueError as error:
            assert f"{path}: is no regular file" in str(error), error
        else:
            raise AssertionError(path)
"""
    names = [str(tmp_path / name) for name in ("pipe.wav", "link.wav", "zero.wav")]
    subprocess.run([sys.executable, "-c", code, *names], cwd=PROJECT_ROOT, check=True, timeout=120)


# Channels


STEREO: dict[str, tuple[Callable[[], list[np.ndarray]], int | None]] = {  # which channel is taken: none, the average
    "opposite": (lambda: [NOISE, -NOISE], 0),
    "opposite and louder": (lambda: [0.5 * NOISE, -NOISE], 1),
    "opposite, with an offset": (lambda: [NOISE + 0.3, 0.3 - NOISE], 0),
    "four, opposite by pairs": (lambda: [NOISE, -NOISE, 2 * NOISE, -2 * NOISE], 2),
    "the same": (lambda: [NOISE, NOISE], None),
    "quieter": (lambda: [NOISE, 0.01 * NOISE], None),
    "one silent": (lambda: [NOISE, 0 * NOISE], None),
    "opposite offsets": (lambda: [NOISE + 0.3, NOISE - 0.3], None),
    "unlike": (lambda: list(NOISE.reshape(2, -1)), None),
    "eight, unlike": (lambda: list(NOISE.reshape(8, -1)), None),
}


@pytest.mark.parametrize("kind", STEREO)
@pytest.mark.parametrize("source", ["array", "file"])
def test_channels_do_not_cancel_unseen(kind: str, source: str) -> None:
    channels, taken = np.stack(STEREO[kind][0]()), STEREO[kind][1]  # (channels, samples)
    given = {"array": channels, "sampling_rate": 16000}
    if source == "file":
        given = encode(channels.T, "WAV", "FLOAT")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mixed = load_audio(given)
        chosen = load_audio(given, channel=0)
    expected = channels.mean(axis=0) if taken is None else channels[taken]
    np.testing.assert_allclose(mixed, expected, atol=1e-6)
    np.testing.assert_array_equal(chosen, channels[0])
    assert [f"channel {taken}, the louder, is taken" in str(warning.message) for warning in caught] == [True] * (
        taken is not None
    )


@pytest.mark.parametrize("channel", [2, -1, True, 0.0])
def test_channels_that_are_not_there(channel: object) -> None:
    for given in (encode(np.stack([NOISE, NOISE], 1), "WAV", "PCM_16"), {"array": NOISE, "sampling_rate": 16000}):
        with pytest.raises(ValueError, match=r"channel=\S+ was asked for, and there (is channel|are channels) 0"):
            load_audio(given, channel=channel)


def test_arrays_whose_numbers_mean_something_else() -> None:
    sixteen = (NOISE * 32768).astype(np.int32)
    with pytest.warns(UserWarning, match=r"array: samples reach \S+ of full scale only\. .*give them as int16"):
        load_audio({"array": sixteen, "sampling_rate": 16000})
    masked = np.ma.masked_greater(NOISE, 0.3)
    with pytest.raises(ValueError, match=r"array: \d+ of 48000 samples are masked.*filled"):
        load_audio({"array": masked, "sampling_rate": 16000})
    np.testing.assert_array_equal(load_audio({"array": np.ma.array(NOISE), "sampling_rate": 16000}), NOISE)
