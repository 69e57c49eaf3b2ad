"""Sounds as phones and browsers record them: all of what was recorded, or a word about it."""

import io
import re
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from feature_extraction.audio_decoding import audio_duration, decode_audio, load_audio, load_audio_blocks
from tests.feature_extraction.phone_sounds import PHONE_FORMATS, av, encode
from tests.feature_extraction.sound_fuzz import phone_attempts
from tests.fuzzing import fuzz


def recording(seconds: float = 1.3, rate: int = 16_000) -> np.ndarray:
    """Make tones that go up and down, of which each place is another: (1, samples)."""
    time = np.arange(int(seconds * rate)) / rate
    loudness = 0.3 + 0.2 * np.sin(2 * np.pi * 3.7 * time)
    return (loudness * np.sin(2 * np.pi * (300 * time + 60 * np.sin(2 * np.pi * 1.3 * time)))).astype(np.float32)[None]


def rate_of(form: str) -> int:
    return 8000 if "amr" in PHONE_FORMATS[form][1] else 16_000


# Samples by which the beginning may be late, and be too many: of coders whose containers cannot say what to leave out.
DELAYS = {"aac": 1024, "fragments of mp4": 1024, "amr": 60}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", PHONE_FORMATS)
def test_all_that_was_recorded_is_decoded_at_its_place(form: str, tmp_path: Path) -> None:
    (sound,), rate = recording(rate=rate_of(form)), rate_of(form)
    (path := tmp_path / "clip.bin").write_bytes(encode(form, sound[None]))
    samples, decoded_rate = decode_audio(path)
    # Opus is at 48 kHz, whatever it was made of.
    scale = decoded_rate / rate
    assert decoded_rate in (rate, 48_000) and samples.dtype == np.float32
    late = DELAYS.get(form, 0)
    assert -2 <= len(samples) - scale * len(sound) <= 2 + (late and 1024 + late)
    assert audio_duration(path) == len(samples) / decoded_rate
    decoded = load_audio(path, rate)[late:][: len(sound)]
    part = slice(800, 9000)
    likeness = [np.corrcoef(decoded[800 + lag : 9000 + lag], sound[part])[0, 1] for lag in range(-200, 201)]
    assert max(likeness) > (0.6 if rate == 8000 else 0.95)  # AMR keeps what one hears, and not the wave
    assert abs(int(np.argmax(likeness)) - 200) <= (40 if rate == 8000 else 2)


@pytest.mark.parametrize("form", [form for form in PHONE_FORMATS if rate_of(form) != 8000])
def test_channels_are_mixed_and_chosen(form: str, tmp_path: Path) -> None:
    sound = np.concatenate([recording(), 0.01 * recording()[:, ::-1]])
    content = encode(form, sound)
    left, right, mix = (load_audio(content, channel=channel) for channel in (0, 1, None))
    np.testing.assert_allclose(mix, (left + right) / 2, atol=1e-6)
    (path := tmp_path / "clip.bin").write_bytes(content)
    np.testing.assert_allclose(np.concatenate([*load_audio_blocks(path)]), mix, atol=1e-6)
    assert np.std(left) > 20 * np.std(right)
    with pytest.raises(ValueError, match="channel=2 was asked for, and there are channels 0 to 1"):
        load_audio(content, channel=2)


@pytest.mark.parametrize("form", PHONE_FORMATS)
def test_the_limit_of_length_holds(form: str, tmp_path: Path) -> None:
    (path := tmp_path / "clip.bin").write_bytes(encode(form, recording(3, rate_of(form))))
    for read in (load_audio, audio_duration):
        with pytest.raises(ValueError, match=r"clip\.bin: holds more than 1\.5 s of sound, the limit"):
            read(path, max_seconds=1.5)
        read(path, max_seconds=None)


@pytest.mark.parametrize("form", PHONE_FORMATS)
def test_what_is_cut_is_refused_or_told(form: str) -> None:
    content = encode(form, recording(rate=rate_of(form)))
    whole = len(load_audio(content))
    random = np.random.default_rng(0)
    for end in random.integers(1, len(content), 40).tolist():
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                samples = load_audio(content[:end])
        except ValueError as error:
            assert str(error).startswith("bytes: ")
        else:
            a_stream_and_at_a_frame = form in ("amr", "aac", "live webm", "fragments of mp4")
            assert told or a_stream_and_at_a_frame or len(samples) == whole, end


@pytest.mark.parametrize("form", PHONE_FORMATS)
def test_joined_files_are_all_decoded(form: str) -> None:
    content = encode(form, recording(rate=rate_of(form)))
    assert len(load_audio(content + content, rate_of(form))) == 2 * len(load_audio(content, rate_of(form)))


@pytest.mark.filterwarnings("error")
def test_what_makers_of_phones_add_is_passed_over() -> None:
    content = encode("m4a AAC", recording())
    more = (3008).to_bytes(4, "big") + b"sefd" + bytes(range(250)) * 12
    assert np.array_equal(load_audio(content + more), load_audio(content))
    wav = io.BytesIO()
    soundfile.write(wav, recording()[0], 16_000, format="WAV")
    assert len(load_audio(content + more + wav.getvalue())) == pytest.approx(2 * 20_800, abs=20)
    with pytest.raises(ValueError, match=r"bytes: \d+ bytes follow its sound that are no part of it"):
        load_audio(content + more[:-500])


def test_a_share_of_the_fuzzing(tmp_path: Path) -> None:
    found = fuzz(phone_attempts(tmp_path), range(20 * len(PHONE_FORMATS)), seed=7)
    assert found["refused"] > 50 and found["whole"] > 50 and found["told"] > 5


@pytest.mark.parametrize("form", PHONE_FORMATS)
def test_without_the_package_the_error_names_it(form: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (path := tmp_path / "clip.bin").write_bytes(encode(form, recording(rate=rate_of(form))))
    monkeypatch.setattr(av, "__version__", "17.2.0")
    with pytest.raises(ValueError, match=r"and 17\.2\.0 of it is too old: install"):
        load_audio(path)
    monkeypatch.setitem(sys.modules, "av", None)
    for read in (load_audio, audio_duration):
        with pytest.raises(ValueError, match=r"clip\.bin: is of .*not here: .*`pip install 'av>=18'`.*`formats`"):
            read(path)


def aac_in_caf() -> bytes:
    """Put AAC into Apple's container, as iPhones do and FFmpeg does not."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack(">q", len(content)) + content

    def part(tag: int, content: bytes) -> bytes:
        return bytes([tag, 0x80, 0x80, 0x80, len(content)]) + content

    sound = recording()
    with av.open(io.BytesIO(encode("m4a AAC", sound)), format="mov") as file:
        packets = [bytes(packet) for packet in file.demux(file.streams.audio[0]) if packet.size]
        settings = file.streams.audio[0].codec_context.extradata
    filling = len(packets) * 1024 - 1024 - sound.shape[1]
    table = struct.pack(">qqii", len(packets), sound.shape[1], 1024, filling)
    table += b"".join(bytes([0x80 | len(packet) >> 7, len(packet) & 0x7F]) for packet in packets)
    description = part(3, bytes(3) + part(4, b"\x40\x15" + bytes(11) + part(5, settings)) + part(6, b"\2"))
    head = chunk(b"desc", struct.pack(">d4s5I", 16_000.0, b"aac ", 0, 0, 1024, 1, 0))
    data = chunk(b"data", bytes(4) + b"".join(packets))
    return b"caff\0\1\0\0" + head + chunk(b"kuki", description) + chunk(b"pakt", table) + data


@pytest.mark.filterwarnings("error")
def test_aac_in_caf_is_what_it_is_in_m4a() -> None:
    caf, m4a = load_audio(aac_in_caf()), load_audio(encode("m4a AAC", recording()))
    assert caf.shape == (20_800,)
    assert np.array_equal(caf[: len(m4a)], m4a[: len(caf)])
    with pytest.raises(ValueError, match="bytes: truncated"):
        load_audio(aac_in_caf()[:-2000])


@pytest.mark.filterwarnings("error")
def test_pauses_in_which_a_telephone_sends_nothing() -> None:
    speech = np.concatenate([recording(rate=8000)[0], np.zeros(24_000)])[None]
    content = encode("amr", speech, dtx="1")
    assert len(content) < len(encode("amr", speech))
    samples = load_audio(content, 8000)
    assert abs(len(samples) - speech.shape[1]) <= 160
    assert np.abs(samples[-8000:]).max() < 0.01


@pytest.mark.filterwarnings("error")
def test_wide_band_amr() -> None:
    # No coder is at hand: silence by frames that say that none was sent, and noise by random ones.
    random = np.random.default_rng(0)
    frames = [bytes([15 << 3 | 4]), bytes([8 << 3 | 4]) + random.bytes(60), bytes([2 << 3 | 4]) + random.bytes(32)]
    assert load_audio(b"#!AMR-WB\n" + b"".join(frames * 7)).shape == (21 * 320,)


def film(*sounds: np.ndarray) -> bytes:
    """Make a picture of half a second, with tracks of sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        pictures = output.add_stream("mpeg4", rate=20, width=64, height=64, pix_fmt="yuv420p")
        tracks = [output.add_stream("aac", rate=16_000, layout="mono") for _ in sounds]
        for _ in range(10):
            output.mux(pictures.encode(av.VideoFrame(64, 64, "yuv420p")))
        output.mux(pictures.encode(None))
        for track, sound in zip(tracks, sounds, strict=True):
            for begin in range(0, sound.shape[1] - 1023, 1024):
                frame = av.AudioFrame.from_ndarray(sound[:, begin : begin + 1024], format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 16_000, begin
                output.mux(track.encode(frame))
            output.mux(track.encode(None))
    return file.getvalue()


def test_of_a_film_the_sound_is_taken() -> None:
    with warnings.catch_warnings(action="error"):
        assert len(load_audio(film(recording()))) == pytest.approx(20_480, abs=20)
    with pytest.warns(UserWarning, match="bytes: the first of its 2 tracks of sound is taken"):
        load_audio(film(recording(), recording()))
    with pytest.raises(ValueError, match=r"bytes: no sound is in it, but 1 track\(s\) of something else"):
        load_audio(film())


def after_block(content: bytes, block: int) -> int:
    """Return where a block of Matroska ends that begins at a place."""
    width = 9 - content[block + 1].bit_length()
    return block + 1 + width + (int.from_bytes(content[block + 1 : block + 1 + width], "big") & (1 << 7 * width) - 1)


def test_what_lacks_between_is_told() -> None:
    content = encode("live webm", recording(4))
    # As browsers write it, who do not know how large a cluster will be.
    content = re.sub(rb"(?<=\x1f\x43\xb6\x75)[\x40-\x7f].", b"\x7f\xff", content, flags=re.DOTALL)
    assert len(load_audio(content)) == 64_000
    begin = end = content.index(b"\xa3", len(content) // 2)
    for _ in range(4):  # blocks of 20 ms
        end = after_block(content, end)
        assert content[end] == 0xA3
    with pytest.warns(UserWarning, match=r"bytes: its time stamps tell of \d+ ms more than its samples make"):
        load_audio(content[:begin] + content[end:])


def test_a_part_of_unknown_size_that_has_one_ends_the_walk() -> None:
    content = encode("webm Opus", recording())
    for place in (4, content.index(b"\xe7", content.index(b"\x1f\x43\xb6\x75")) + 1):  # of the first, of one within
        width = 9 - content[place].bit_length()
        unknown = ((1 << 7 * width + 1) - 1).to_bytes(width, "big")
        with pytest.raises(ValueError, match=r"bytes: (truncated|damaged)"):
            load_audio(content[:place] + unknown + content[place + width :])
