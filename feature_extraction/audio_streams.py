"""Streams of compressed sound, page by page and frame by frame: whether all of it is there, and undamaged.

Ogg numbers its pages and sums them up (RFC 3533), FLAC numbers its frames (RFC 9639), MP3 does neither, but LAME
writes the number of frames and a sum of their bytes before the first. libsndfile decodes past
what is missing without a word.
"""

import re
import struct
import zlib
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np


class DamageError(ValueError):
    """A sound is not whole. The text tells why, in words that follow the file's name."""


@dataclass
class Sound:
    """One sound of a file: what to decode, and what must come out."""

    content: Any  # bytes that the decoder is to read, and which hold nothing else
    end: int  # where the sound ends in what was examined
    frames: int | None = None  # samples per channel, where the container tells them or they were counted
    size: int = 0  # bytes of uncompressed samples that are there; 0 for compressed ones
    missing: int = 0  # bytes of samples that are stated and not there
    surplus: int = 0  # bytes that follow and are neither sound nor a known kind of tag
    notes: list[str] = field(default_factory=list)  # what to tell of a sound that can be used
    kind: str = ""  # of the file, where libsndfile does not decode it


# Ogg

_BACKWARDS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg_stream(content: Any) -> Sound:
    """Check the pages of one link of an Ogg file; a further link is a sound of its own."""
    position, number, begun = 0, 0, False  # begun: whether pages of sound followed the first pages
    sequences: dict[bytes, int] = {}
    unfinished: set[bytes] = set()
    while content[position : position + 4] == b"OggS":
        header = content[position : position + 27]
        lacing = content[position + 27 : position + 27 + header[-1]] if len(header) == 27 else b""
        end = position + 27 + len(lacing) + sum(lacing)
        if len(header) < 27 or len(lacing) < header[26] or end > len(content):
            raise DamageError("truncated, its last page is not whole")
        if header[5] & 2 and begun:  # the first page of a further link
            break
        number += 1
        page = content[position:end]
        if _ogg_checksum(page[:22] + bytes(4) + page[26:]) != int.from_bytes(page[22:26], "little"):
            raise DamageError(f"damaged, the checksum of its page {number} is wrong")
        serial, sequence = header[14:18], int.from_bytes(header[18:22], "little")
        if header[5] & 2:
            unfinished.add(serial)
        elif serial not in unfinished or sequence != sequences[serial] + 1:
            raise DamageError(f"damaged, pages are missing before its page {number}")
        else:
            begun = True
        sequences[serial] = sequence
        if header[5] & 4:
            unfinished.remove(serial)
        position = end
    if content.find(b"OggS", position) > position:
        raise DamageError(f"damaged, what follows its page {number} is no page")
    if unfinished:
        raise DamageError("truncated, its last page is missing")
    return Sound(content[:position], position)


def _ogg_checksum(page: bytes) -> int:
    """Sum up a page as Ogg does: as zip does, but from 0 and with the bits in the other order."""
    backwards = zlib.crc32(page.translate(_BACKWARDS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(backwards.to_bytes(4, "little").translate(_BACKWARDS), "big")


# FLAC

_FLAC_RATES = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
_FLAC_MARK = b"fLaC\0\0\0\x22"  # and the beginning of the block that always comes first


def flac_stream(content: Any) -> Sound:
    """Count the frames of a FLAC file, and check that it ends where the last one ends.

    The decoder checks each frame's sum, but replaces frames that are missing with silence.
    """
    start, last_block = 4, False
    while not last_block:
        head = content[start : start + 4]
        if len(head) < 4:
            raise DamageError("truncated, it ends before the first sample")
        last_block = head[0] >= 0x80
        start += 4 + int.from_bytes(head[1:], "big")
    packed = int.from_bytes(content[18:26], "big")  # 20 bits of rate, 3 of channels, 5 of width, 36 of length
    stated = packed & (2**36 - 1)
    following = content.find(_FLAC_MARK, start)
    end = following if following > 0 else len(content)
    mark = content[start : start + 2]
    first = content[start : start + 4]
    samples = number = first_block = 0
    position = last = start
    while 0 <= position < end:
        header = content[position : position + 16]
        # What no frame of this stream can have is sorted out first: any bytes may look like a mark.
        if len(header) > 5 and (header[2] ^ first[2]) & 15 == 0 and (header[3] ^ first[3]) & 15 == 0:
            counted = samples if header[1] & 1 else number
            block = _flac_block(header, counted)
            if block:
                first_block = first_block or block
                samples, number, last = samples + block, number + 1, position
        position = content.find(mark, position + 2)
    notes = []
    if mark not in (b"\xff\xf8", b"\xff\xf9") or len(first) < 4 or samples < stated:
        raise DamageError(f"truncated or damaged, {samples} of {stated} samples are there")
    # The decoder believes the header, which no sum protects; each frame says the same again, or refers to it.
    rate, channels, bits = packed >> 44, (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    rate_code, channel_code = first[2] & 15, first[3] >> 4
    said_again = (
        dict(enumerate(_FLAC_RATES)).get(rate_code) or rate,
        channel_code + 1 if channel_code < 8 else 2,
        {1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}.get(first[3] >> 1 & 7, bits),
    )
    least, most = struct.unpack(">HH", content[8:12])
    if said_again != (rate, channels, bits) or not least <= most or (number > 1 and not least <= first_block <= most):
        notes.append("its header contradicts its frames")
    tag = 128 if content[end - 128 : end - 125] == b"TAG" else 0
    if checksum_16(content[last : end - tag]):
        notes.append("its last frame is followed by something that is no part of it")
    part = content if end == len(content) else content[:end]
    if not stated:  # by who wrote into a pipe; the decoder wants to know
        part = content[:18] + (packed | samples).to_bytes(8, "big") + content[26:end]
    return Sound(part, end, frames=samples, notes=notes)


def _flac_block(header: bytes, number: int) -> int:
    """Return how many samples a frame of this number holds; 0 if this is none."""
    if number < 0x80:  # coded as UTF-8 does, but of up to 36 bits
        coded = bytes([number])
    else:
        length = next(length for length in range(2, 8) if number < 1 << (5 * length + 1))
        lead = 0xFF00 >> length & 0xFF | number >> 6 * (length - 1)
        coded = bytes([lead, *(0x80 | number >> 6 * i & 0x3F for i in range(length - 2, -1, -1))])
    after = 4 + len(coded)
    kind, rate = header[2] >> 4, header[2] & 15
    end = after + {6: 1, 7: 2}.get(kind, 0) + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if header[4:after] != coded or len(header) <= end or kind == 0:
        return 0
    remainder = 0
    for byte in header[: end + 1]:  # with the sum itself, over which the remainder is 0
        remainder = _sum_table(8, 0x07)[remainder ^ byte]
    if remainder:
        return 0
    if kind < 6:
        return 192 if kind == 1 else 576 << (kind - 2)
    return 256 << (kind - 8) if kind > 7 else 1 + int.from_bytes(header[after : after + kind - 5], "big")


@cache
def _sum_table(bits: int, polynomial: int) -> list[int]:
    """What each byte becomes in a sum of so many bits."""
    table = []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> (bits - 1) else 0)) & ((1 << bits) - 1)
        table.append(value)
    return table


_ROW_BYTES = 40


def checksum_16(content: bytes) -> int:
    """Compute the sum of 16 bits that FLAC and LAME use (x^16 + x^15 + x^2 + 1, from 0), of many rows at a time."""
    after_pair, after_row = _pair_tables()
    padded = bytes(-len(content) % _ROW_BYTES) + content  # zeros in front change nothing
    pairs = np.frombuffer(padded, ">u2").astype(np.uint16).reshape(-1, _ROW_BYTES // 2)  # (rows, pairs)
    sums = np.zeros(len(pairs), np.uint16)
    for column in np.ascontiguousarray(pairs.T):
        sums = after_pair[sums ^ column]
    total = 0
    for row_sum in sums.tolist():
        total = after_row[total] ^ row_sum
    return total


@cache
def _pair_tables() -> tuple[np.ndarray, list[int]]:
    """What each sum of 16 bits becomes by two further bytes, and by a row of them."""
    table = np.array(_sum_table(16, 0x8005), np.uint16)
    every = np.arange(1 << 16, dtype=np.uint16)
    once = (every << 8) ^ table[every >> 8]
    pair = row = (once << 8) ^ table[once >> 8]
    for _ in range(_ROW_BYTES // 2 - 1):
        row = pair[row]
    return pair, row.tolist()


# MP3

_MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_MPEG_BITRATES = {  # kbit/s, by whether it is version 1 and by layer
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RESUMPTION = 1 << 20  # bytes after what is no frame within which a further one would be found


def mpeg_stream(content: Any) -> Sound:
    """Count the frames of an MP3 file, between which nothing may stand; a further file is a sound of its own.

    The decoder believes an estimate of the length where no tag states it, and skips what it cannot read.
    """
    head = content[:4]
    first, samples = _mpeg_frame(head, head)
    if not first:  # free format, or no MP3: the decoder will tell
        return Sound(content, len(content), notes=[UNCHECKED.format("MP3 of free format")])
    newest, mono = head[1] & 8 == 8, head[3] >= 0xC0  # of version 1 of the standard
    tag_at = {(True, True): 21, (True, False): 36, (False, True): 13, (False, False): 21}[newest, mono]
    tags = {match.start() - tag_at for match in re.finditer(b"Xing|Info", content)}  # where tagged frames begin
    tagged = 0 in tags
    sizes: dict[bytes, int] = {}
    position, count, size = first if tagged else 0, 0, 0
    while True:
        header = content[position : position + 4]
        if (size := sizes.get(header, -1)) < 0:
            size = sizes[header] = _mpeg_frame(header, head)[0]
        # A tag begins a further file.
        if not 0 < size <= len(content) - position or (position in tags and position):
            break
        count += 1
        position += size
    notes = []
    end = position
    if end < len(content) and end not in tags:
        following = after_tags(content, end)
        if following == end or not _mpeg_frame(content[following : following + 4], head)[0]:
            search = end
            while (search := content.find(head[:2], search + 1, end + _RESUMPTION)) > 0:
                size_there, _ = _mpeg_frame(content[search : search + 4], head)
                beyond = search + size_there
                if size_there and (beyond == len(content) or _mpeg_frame(content[beyond : beyond + 4], head)[0]):
                    raise DamageError(f"damaged, what follows its frame {count} is no frame")
            other = content[end : end + 4]
            if following == end and _mpeg_frame(other, other)[0]:
                notes.append(f"its frames are of another kind after the first {count}")
        if size:
            notes.append("its last frame is not whole and is left out")
            end = len(content)
    tag = content[:first] if tagged else b""
    frames, problem = _lame_tag(tag, tag_at, content, position)
    if problem or (not tagged and content[tag_at + 120 : tag_at + 124] == b"LAME"):
        notes.append(problem or "the tag in its first frame is damaged")
    if tagged and frames is not None and count == frames - 1 and not size:  # some programs count the tag
        notes.append("its tag states one frame more than there is")
    elif tagged and frames is not None and count <= frames:
        return Sound(content if end == len(content) else content[:end], end, notes=notes)
    if head[1] & 6 != 2:  # layers I and II have no tags
        return Sound(content if end == len(content) else content[:end], end, frames=count * samples, notes=notes)
    stated = _mpeg_preface(head, tag_at, samples, count)
    return Sound(stated + content[len(tag) : end], end, frames=count * samples, notes=notes)


def _mpeg_preface(head: bytes, tag_at: int, samples: int, count: int) -> bytes:
    """Make a frame that states the true number of frames, and a silent one, which the tag tells the decoder to drop.

    The decoder then has nothing to estimate, and begins with the first of the samples, as it does without a tag.
    """
    size = 0
    for bitrate in range(1, 15):  # the smallest frame that holds the tag
        kind = bytes([0xFF, head[1] | 1, bitrate << 4 | head[2] & 0x0D, head[3]])
        size, _ = _mpeg_frame(kind, head)
        if size >= tag_at + 48:
            break
    delay = 529  # of every decoder, which takes it off the beginning and puts it to the end
    tag = b"Xing" + (1).to_bytes(4, "big") + (count + 1).to_bytes(4, "big")
    tag += b"LAME3.100".ljust(21, b"\0") + (samples - delay << 12 | delay).to_bytes(3, "big")
    return (kind + bytes(tag_at - 4) + tag).ljust(size, b"\0") + kind.ljust(size, b"\0")


def _mpeg_frame(header: bytes, head: bytes) -> tuple[int, int]:
    """Return how many bytes and samples a frame has; (0, 0) if it is none, or of another kind than the first."""
    same = (
        len(header) == 4
        and header[0] == 0xFF
        and not (header[1] ^ head[1]) & 0xFE
        and not (header[2] ^ head[2]) & 0x0C
        and (header[3] >= 0xC0) == (head[3] >= 0xC0)
    )
    return _mpeg_size(header[1] | 1, header[2]) if same else (0, 0)


@cache
def _mpeg_size(kind: int, rates: int) -> tuple[int, int]:
    version, layer, bitrate, rate = kind >> 3 & 3, 4 - (kind >> 1 & 3), rates >> 4, rates >> 2 & 3
    if kind < 0xE0 or version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0, 0
    bits = 1000 * _MPEG_BITRATES[version == 3, layer][bitrate]
    hertz = _MPEG_RATES[version][rate]
    padding = rates >> 1 & 1
    if layer == 1:
        return (12 * bits // hertz + padding) * 4, 384
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples // 8 * bits // hertz + padding, samples


def _lame_tag(tag: bytes, tag_at: int, content: Any, end: int) -> tuple[int | None, str]:
    """Read the number of frames from the first frame's tag, and say what its checksums find."""
    flags = tag[tag_at + 7] if len(tag) > tag_at + 12 else 0
    frames = int.from_bytes(tag[tag_at + 8 : tag_at + 12], "big") if flags & 1 else None
    extension = tag_at + 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    if tag and frames is None:
        return None, "the tag in its first frame does not say how long it is"
    if tag[extension : extension + 3] not in (b"LAM", b"Lav") or len(tag) < extension + 36:
        return frames, ""
    length = int.from_bytes(tag[extension + 28 : extension + 32], "big")
    music, whole = tag[extension + 32 : extension + 34], tag[extension + 34 : extension + 36]
    # FFmpeg sums up 190 bytes in every case, the sum's own place, still empty, and what follows the frame among them.
    blank = (tag[: extension + 34] + bytes(2) + tag[extension + 36 :])[:190].ljust(190, b"\0")
    if whole not in (_lame_checksum(tag[: extension + 34]), _lame_checksum(blank)):
        return None, "the tag in its first frame is damaged"
    # What is cut is found by the number of frames.
    if length == end and _lame_checksum(content[len(tag) : end]) != music:
        return frames, "the checksum of its frames is wrong: they were damaged or edited"
    return frames, ""


def _lame_checksum(content: bytes) -> bytes:
    """Sum up bytes with the bits in the other order, as LAME does."""
    return checksum_16(content.translate(_BACKWARDS)).to_bytes(2, "little").translate(_BACKWARDS)


# Tags

UNCHECKED = "whether it is whole is not checked in a file of this kind ({}); convert it to WAV or FLAC"


def after_tags(content: Any, position: int) -> int:
    """Skip what programs write before and after a sound: ID3, APE and Lyrics3 tags, and zeros that fill up."""
    while position < len(content):
        start = content[position : position + 32]
        if start[:3] == b"ID3" and len(start) > 10:
            length = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(start[6:10], (21, 14, 7, 0), strict=True))
            position += length + (10 if start[5] & 0x10 else 0)
        elif start[:3] == b"TAG" and len(content) - position <= 128 + 227:
            return len(content)
        elif start[:8] == b"APETAGEX":
            position += 32 + int.from_bytes(start[12:16], "little")
        elif start[:11] == b"LYRICSBEGIN":
            return len(content)
        else:
            rest = content[position : position + (1 << 14)]
            blank = len(rest) - len(rest.lstrip(b"\0"))
            if not blank:
                break
            position += blank
    return min(position, len(content))
