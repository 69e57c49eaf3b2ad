"""Containers of sound: what a file states against what is there, so that nothing is lost or left over unseen.

Recorders and pipes leave sizes that are wrong or unknown while the sound is whole; downloads end early while the sizes
are right; files are joined. libsndfile reads all of these as far as the first size says, and mostly without a word.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .audio_phones import COMPRESSED_CAF, PHONE_KINDS
from .audio_streams import UNCHECKED, DamageError, Sound, after_tags, flac_stream, mpeg_stream, ogg_stream

_MOST_SOUNDS = 100  # in one file
_HUGE = 0x7700_0000  # bytes: more than recordings of speech have, and so a number to be replaced later
_ENDLESS = 0x7FFF_0000  # programs that write into a pipe state about the largest number there is
_FILE_MARKS = (b"RIFF", b"RF64", b"BW64", b"RIFX", b"FORM", b"riff", b"caff")
_PLAIN_AIFC = (b"NONE", b"sowt", b"twos", b"raw ", b"fl32", b"FL32", b"fl64", b"FL64", b"in24", b"in32",
               b"ulaw", b"alaw")  # fmt: skip


def sounds_of(content: Any) -> list[Sound]:
    """Take the content of an audio file (bytes, or a map of it in memory) apart into its sounds, mostly one.

    Raises:
        DamageError: The file is cut or damaged.
    """
    start = after_tags(content, 0) if content[:3] == b"ID3" else 0
    sounds: list[Sound] = []
    while start < len(content):
        part = content[start:] if start else content
        examine = _kind(part[:32])
        if examine is None and sounds:
            sounds[-1].surplus = len(part)
            break
        sound = examine(part) if examine else Sound(part, len(part), notes=[UNCHECKED])
        sounds.append(sound)
        start += sound.end
        if _kind(content[start : start + 32]) is None:
            start = after_tags(content, start)
        if len(sounds) > _MOST_SOUNDS:
            raise DamageError(f"joined of more than {_MOST_SOUNDS} sounds")
    if not sounds:
        raise DamageError("truncated, it ends before the first sample")
    return sounds


# Chunks


@dataclass(frozen=True)
class _Form:
    """How a family of containers writes its chunks."""

    order: str  # of bytes, as struct calls it
    first: int  # where the first chunk begins
    name: int  # bytes of a chunk's name
    size: str  # of a chunk, as struct calls its type
    samples: bytes  # the beginning of the name of the chunk that holds the samples
    whole: int | None = None  # where the size of the whole file is stated
    inclusive: int = 0  # bytes that a chunk's size counts before the chunk's content
    step: int = 2  # chunks begin at multiples of it


_RIFF = _Form("<", 12, 4, "I", b"data", whole=4)
_RIFX = _Form(">", 12, 4, "I", b"data", whole=4)
_FORM = _Form(">", 12, 4, "I", b"SSND", whole=4)
_SVX = _Form(">", 12, 4, "I", b"BODY", whole=4)
_CAF = _Form(">", 8, 4, "q", b"data", step=1)
_W64 = _Form("<", 40, 16, "Q", b"data", whole=16, inclusive=24, step=8)


def _chunks(content: Any, form: _Form, position: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the chunks from a position on: name, where the content begins, stated size; no further than they go."""
    head = form.name + struct.calcsize(form.order + form.size)
    while _begins_chunk(name := content[position : position + form.name]) and position + head <= len(content):
        (size,) = struct.unpack(form.order + form.size, content[position + form.name : position + head])
        size -= form.inclusive
        yield name, position + head, size
        if size < 0:
            break
        position = _after_chunk(content, form, position + head + size)


def _begins_chunk(name: bytes) -> bool:
    return re.match(rb"[ -~]{4}", name) is not None and name[:4] not in _FILE_MARKS


def _after_chunk(content: Any, form: _Form, end: int) -> int:
    """Find where the next chunk begins; some programs forget to fill up to the step."""
    filled = end + -end % form.step
    return end if not _begins_chunk(content[filled : filled + 4]) and _begins_chunk(content[end : end + 4]) else filled


def _chunked(form: _Form) -> Callable[[Any], Sound]:
    """Make the function that examines a family of containers."""

    def examine(content: Any) -> Sound:
        facts: dict[bytes, bytes] = {}
        for name, begin, size in _chunks(content, form, form.first):
            if name.startswith(form.samples):
                return _samples_of(content, form, begin, size, facts)
            facts.setdefault(name[:4], content[begin : begin + min(size, 64)])
        if content.find(form.samples) < 0:
            raise DamageError("truncated or damaged, it holds no chunk of samples")
        return Sound(content, len(content), notes=[UNCHECKED])

    return examine


def _samples_of(content: Any, form: _Form, begin: int, stated: int, facts: dict[bytes, bytes]) -> Sound:
    """Find how far the samples go that begin at a place."""
    size_type, whole = form.order + form.size, 0
    size_at = begin - struct.calcsize(size_type)
    if form.whole:
        whole = struct.unpack_from(size_type, content[form.whole : form.first])[0] + (0 if form.inclusive else 8)
    if len(facts.get(b"ds64", b"")) >= 16 and stated == 0xFFFFFFFF:  # RF64: what needs more than 32 bits stands here
        whole, stated = struct.unpack_from("<2Q", facts[b"ds64"])
        whole, size_type, size_at = whole + 8, "<Q", content.find(b"ds64") + 16
    there, end = len(content) - begin, begin + stated
    missing, notes = 0, []
    taken = f"its header states {stated} bytes of sound, and the {{}} that are there are taken"
    if not 0 <= stated <= there:
        end = stop = len(content)
        if (begin < whole and abs(whole - len(content)) <= 1) or _HUGE <= stated < _ENDLESS:
            notes.append(taken.format(there))
        elif 0 <= stated < _HUGE:
            missing = stated - there
        elif stated < 0:  # CAF that was written into a pipe, which the decoder refuses
            content = content[:size_at] + struct.pack(size_type, there) + content[begin:]
    else:
        stop = min(_after_chunk(content, form, end), len(content))
        for name, chunk, size in _chunks(content, form, stop):
            if not 0 <= size <= len(content) - chunk:
                break
            facts.setdefault(name[:4], content[chunk : chunk + min(size, 64)])
            stop = min(_after_chunk(content, form, chunk + size), len(content))
        never_filled_in = stated == 0 and stop == begin < len(content)
        if never_filled_in and _kind(content[stop : stop + 32]) is None:
            end = stop = whole if begin < whole <= len(content) else len(content)
            notes.append(taken.format(end - begin))
            number = struct.pack(size_type, end - begin + form.inclusive)
            content = content[:size_at] + number + content[size_at + len(number) :]
    if facts.get(b"fmt ", b"")[:2] == b"\x55\0":  # MP3 in a WAV file
        sound = mpeg_stream(content[begin:end])
        sound.end, sound.missing, sound.size = stop, missing, end - begin
        sound.notes += notes
        return sound
    size = end - begin - 4 * (form == _CAF)
    if form == _FORM:
        size -= 8 + int.from_bytes(content[begin : begin + 4], "big")
    contradictions, frames = _header(form, content[8:12], facts, size)
    whole_or_part = content if stop == len(content) else content[:stop]
    kind = "CAF" if re.match(COMPRESSED_CAF, content[:64], re.DOTALL) else ""
    return Sound(whole_or_part, stop, frames, size, missing, notes=notes + contradictions, kind=kind)


def _header(form: _Form, kind: bytes, facts: dict[bytes, bytes], size: int) -> tuple[list[str], int | None]:
    """Say in what a header contradicts itself, and how many samples per channel it states, where it does."""
    wrong = "its header contradicts itself: {} channels of {} bits do not make {} bytes"
    header = facts.get(b"fmt ", b"")
    if len(header) >= 16:
        code, channels, rate, byte_rate, step, bits = struct.unpack_from(form.order + "HHIIHH", header)
        if code == 0xFFFE and len(header) >= 26:  # the code stands further behind
            (code,) = struct.unpack_from(form.order + "H", header, 24)
        if code in (1, 3, 6, 7):
            if step != channels * ((bits + 7) // 8) or (code in (6, 7) and bits != 8) or (code == 3 and bits < 32):
                return [wrong.format(channels, bits, step)], None
            if byte_rate != rate * step:
                return [
                    f"its header contradicts itself: {rate} Hz at {step} bytes do not make {byte_rate} a second"
                ], None
        # For samples of one size, and of several channels, it is often wrong.
        elif form.whole == 4 and channels == 1 and len(facts.get(b"fact", b"")) >= 4:
            return [], struct.unpack_from(form.order + "I", facts[b"fact"])[0]
    header = facts.get(b"desc", b"")
    if len(header) >= 32:
        step, _, channels, bits = struct.unpack_from(">4I", header, 16)
        if header[8:12] in (b"lpcm", b"ulaw", b"alaw") and step != channels * ((bits + 7) // 8):
            return [wrong.format(channels, bits, step)], None
        if len(facts.get(b"pakt", b"")) >= 16:
            return [], int.from_bytes(facts[b"pakt"][8:16], "big")
    header = facts.get(b"COMM", b"")
    if len(header) >= 22 and header[18:22] == b"ima4":
        channels, packets = struct.unpack_from(">HI", header)
        if packets * 34 * channels != size:
            return [f"its header states {packets} packets, which {size} bytes are not"], None
    if len(header) >= 18 and (kind == b"AIFF" or header[18:22] in _PLAIN_AIFC):
        return [], int.from_bytes(header[2:6], "big")
    return [], None


# Other containers


def _au(content: Any) -> Sound:
    order = ">" if content[:4] == b".snd" else "<"
    if len(content) < 24:
        raise DamageError("truncated, it ends before the first sample")
    begin, stated = struct.unpack_from(order + "II", content[4:12])
    there = len(content) - begin
    if begin < 24 or not content[24:begin].strip(b"\0").isascii():
        raise DamageError("damaged, the sound does not begin where its header says")
    if stated == 0 and there > 0:  # never filled in
        content = content[:8] + struct.pack(order + "I", there) + content[12:]
        note = f"its header states 0 bytes of sound, and the {there} that are there are taken"
        return Sound(content, len(content), size=there, notes=[note])
    if stated >= _ENDLESS:
        return Sound(content, len(content), size=there)
    return _bounded(content, begin, stated)


def _bounded(content: Any, begin: int, stated: int, frames: int | None = None) -> Sound:
    """Make a sound of so many bytes, as far as they are there."""
    size = max(0, min(stated, len(content) - begin))
    end = begin + size
    part = content if end == len(content) else content[:end]
    return Sound(part, end, frames=frames, size=size, missing=stated - size)


def _nist(content: Any) -> Sound:
    begin = re.match(rb"NIST_1A\n\s*(\d+)\n", content[:64])
    header = content[: int(begin[1])] if begin else b""
    found = dict(re.findall(rb"^(sample_count|channel_count|sample_n_bytes) -i (\d+)\s*$", header, re.MULTILINE))
    if b"sample_count" not in found:
        return Sound(content, len(content), notes=[UNCHECKED])
    count, channels, width = (
        int(found.get(name, b"1")) for name in (b"sample_count", b"channel_count", b"sample_n_bytes")
    )
    return _bounded(content, len(header), count * channels * width, count)


def _voc(content: Any) -> Sound:
    """Examine a VOC file, and join its blocks: the decoder takes the beginnings of further ones for samples."""
    position = int.from_bytes(content[20:22], "little")
    before, head, samples = b"", b"", bytearray()
    while kind := content[position] if position < len(content) else 0:  # the mark of the end is left out by some
        begin = position + 4
        end = begin + int.from_bytes(content[position + 1 : begin], "little")
        if kind in (1, 9) and not head:
            before, head = content[:position], content[position : begin + (2 if kind == 1 else 12)]
            samples += content[position + len(head) : end]
        elif kind == 2 and head:
            samples += content[begin:end]
        elif kind not in (4, 5, 8):  # marks, texts, and what precedes a head
            raise DamageError("damaged, or of several sounds with pauses, of which the decoder reads the first only")
        position = end
    size = len(head) - 4 + len(samples)
    if not head or size >= 1 << 24:
        raise DamageError("truncated or damaged, or longer than 16 MB, its blocks make no sound")
    joined = before + head[:1] + size.to_bytes(3, "little") + head[4:] + samples + b"\0"
    missing = max(0, position - len(content))
    return Sound(joined, min(position + 1, len(content)), size=len(samples), missing=missing)


_KINDS: tuple[tuple[bytes, Callable[[Any], Sound]], ...] = (
    (rb"(RIFF|RF64|BW64)....WAVE", _chunked(_RIFF)),
    (rb"RIFX....WAVE", _chunked(_RIFX)),
    (rb"FORM....AIF[FC]", _chunked(_FORM)),
    (rb"FORM....(8SVX|16SV)", _chunked(_SVX)),
    (rb"caff", _chunked(_CAF)),
    (rb"riff.{20}wave", _chunked(_W64)),
    (rb"fLaC", flac_stream),
    (rb"OggS", ogg_stream),
    (rb"\.snd|dns\.", _au),
    (rb"NIST_1A\n", _nist),
    (rb"Creative Voice File\x1a", _voc),
    *PHONE_KINDS,
    (rb"\xff[\xe0-\xff]", mpeg_stream),
)


def _kind(start: bytes) -> Callable[[Any], Sound] | None:
    return next((examine for mark, examine in _KINDS if re.match(mark, start, re.DOTALL)), None)
