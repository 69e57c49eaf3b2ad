"""The files of phones and browsers, which FFmpeg decodes: whether all that they state is there.

FFmpeg looks for whatever it can still read, and does not say what it skipped. So the boxes of MP4, the elements of
Matroska and the frames of AMR and AAC, which follow each other without a gap, are walked through before.
"""

import re
from collections.abc import Callable
from typing import Any

from .audio_streams import DamageError, Sound

# Kinds of file, by the names that messages have for them, and FFmpeg's names for what reads them.
DEMUXERS = {
    "MP4 or M4A": "mov",
    "MP4 in fragments": "mov",
    "WebM or Matroska": "matroska",
    "AMR": "amr",
    "AAC": "aac",
    "CAF": "caf",
}

_BOXES = {
    *(b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"mfra", b"sidx", b"ssix", b"styp", b"uuid"),
    *(b"meta", b"pdin", b"udta", b"emsg", b"prft", b"pnot", b"junk"),
}


def mp4_boxes(content: Any) -> Sound:
    """Check the boxes of an MP4, M4A, 3GP or QuickTime file; the samples' own places are in the index, `moov`."""
    position = held = missing = 0
    names: set[bytes] = set()
    while _is_box(content, position) and not (position and content[position + 4 : position + 8] == b"ftyp"):
        name = content[position + 4 : position + 8]
        size = int.from_bytes(content[position : position + 4], "big")
        if size == 1:
            size = int.from_bytes(content[position + 8 : position + 16], "big")
        end = position + size if size else len(content)
        if end < position + 8:
            raise DamageError(f"damaged, its box {name.decode()} has an impossible size")
        if end > len(content) and name in (b"moov", b"moof"):
            raise DamageError(f"truncated, its index ({name.decode()}) is not whole")
        missing = max(0, end - len(content))
        end -= missing
        held += end - position if name == b"mdat" else 0
        names.add(name)
        position = end
    if b"moov" not in names:
        raise DamageError("truncated, its index (moov) is missing, which most recorders write when they end")
    kind = "MP4 in fragments" if b"moof" in names else "MP4 or M4A"
    return Sound(_part(content, position), position, size=held, missing=missing, kind=kind)


def _is_box(content: Any, position: int) -> bool:
    """Tell whether a box is there: one that is known, or another maker's, and then a whole one."""
    name = content[position + 4 : position + 8]
    whole = 8 <= int.from_bytes(content[position : position + 4], "big") <= len(content) - position
    return name in _BOXES or (whole and re.fullmatch(rb"[ -~]{4}", name) is not None)


_SEGMENT, _CLUSTER, _EBML = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75", b"\x1a\x45\xdf\xa3"
_ELEMENTS = {
    *(_SEGMENT, _CLUSTER, b"\x11\x4d\x9b\x74", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b", b"\x1c\x53\xbb\x6b"),
    *(b"\x19\x41\xa4\x69", b"\x10\x43\xa7\x70", b"\x12\x54\xc3\x67", b"\xec", b"\xbf"),  # of a segment
    *(b"\xe7", b"\x58\x54", b"\xa7", b"\xab", b"\xa3", b"\xa0", b"\xaf"),  # of a cluster
}


def matroska_elements(content: Any) -> Sound:
    """Check the elements of a WebM or Matroska file; browsers do not know how many will follow, and say so."""
    position, first, stop = 0, 0, {_SEGMENT: 0, _CLUSTER: 0}  # where the innermost of each ends, if that is stated
    while position < len(content):
        name, begin, size = _element(content, position)
        if (position and name not in _ELEMENTS) or (size is None and name not in stop):
            if name == _EBML or (stop[_SEGMENT] and position >= stop[_SEGMENT]):
                break
            raise DamageError(f"damaged, what is at its byte {position} is no part of such a file")
        end = begin + size if size is not None else 0
        if position < stop[_CLUSTER] < end:
            raise DamageError(f"damaged, what is at its byte {position} goes beyond the part that it is in")
        if name in stop:
            stop[name] = end
            position = begin
            first = first or (position if name == _CLUSTER else 0)
        else:
            position = end
    missing = max(position, stop[_SEGMENT]) - len(content)
    if not first:
        raise DamageError("truncated, it ends before the first sample")
    position = min(position, len(content))
    return Sound(_part(content, position), position, size=position - first, missing=max(0, missing), kind=_MATROSKA)


_MATROSKA = "WebM or Matroska"


def _element(content: Any, position: int) -> tuple[bytes, int, int | None]:
    """Read the head of an element: its name, where its content begins, and its size, where that is known."""
    width = 9 - content[position].bit_length()
    begin = position + width
    size_width = 9 - content[begin].bit_length() if begin < len(content) else 9
    coded = int.from_bytes(content[begin : begin + size_width], "big")
    unknown = (1 << 7 * size_width) - 1
    size = coded & unknown
    return content[position:begin], begin + size_width, None if size == unknown else size


# Bytes of a frame by the mode that its first byte names, that byte among them; 0 for no mode.
_AMR_BYTES = (13, 14, 16, 18, 20, 21, 27, 32, 6, 7, 6, 6, 0, 0, 0, 1)
_AMR_WIDE_BYTES = (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1)


def amr_frames(content: Any) -> Sound:
    """Count the frames of an AMR file, of 20 ms each; the further modes of narrow-band AMR are other networks'."""
    wide = content[:9] == b"#!AMR-WB\n"
    sizes, position = (_AMR_WIDE_BYTES, 9) if wide else (_AMR_BYTES, 6)

    def size(head: bytes) -> int:
        return 0 if head[0] & 0x83 else sizes[head[0] >> 3]

    return _framed(content, position, 1, size, 320 if wide else 160, "AMR")


def aac_frames(content: Any) -> Sound:
    """Count the frames of an AAC file without a container (ADTS), of 1,024 samples each before any doubling."""
    first = content[:4]

    def size(head: bytes) -> int:
        same = head[:3] == first[:3] and (head[3] ^ first[3]) & 0xF0 == 0 and not head[6] & 3
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        return length if same and length >= 7 else 0

    return _framed(content, 0, 7, size, 1024, "AAC")


def _framed(
    content: Any, position: int, head_size: int, frame_size: Callable[[bytes], int], samples: int, kind: str
) -> Sound:
    """Walk through frames that follow each other and tell their sizes."""
    count = missing = 0
    while len(head := content[position : position + head_size]) == head_size and (size := frame_size(head)):
        if position + size > len(content):
            missing = position + size - len(content)
            break
        position += size
        count += 1
    if not count:
        raise DamageError("truncated, it ends before the first sample")
    notes = ["its last frame is not whole and is left out"] if missing else []
    end = len(content) if missing else position
    part = _part(content, position)
    return Sound(part, end, frames=count * samples, notes=notes, kind=kind)


def _part(content: Any, end: int) -> Any:
    return content if end == len(content) else content[:end]


PHONE_KINDS: tuple[tuple[bytes, Callable[[Any], Sound]], ...] = (
    (rb".{4}(ftyp|moov|mdat|wide|pnot)", mp4_boxes),
    (re.escape(_EBML), matroska_elements),
    (rb"#!AMR(-WB)?\n", amr_frames),
    (rb"\xff[\xf0\xf1\xf8\xf9]", aac_frames),
)
# What libsndfile does not decode of Apple's container.
COMPRESSED_CAF = rb"caff.{4}desc.{16}(?!lpcm|alac|ulaw|alaw)"
