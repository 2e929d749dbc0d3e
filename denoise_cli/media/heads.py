"""What libvips leaves out or rewrites at the beginning of a PNG or a JPEG: gamma, texts, EXIF, the resolution.

    signature IHDR | gAMA cHRM eXIf tEXt ... of the source | IDAT ... IEND
    SOI | JFIF, EXIF, comment of the source | ICC, XMP, IPTC by libvips ... EOI

libvips reads of a PNG what stands before the pixels, cuts keywords off at the first space, and knows nothing of
gamma and of HDR; of EXIF it writes what it understands, without a maker's notes. So whatever does not depend on how
pixels are stored is copied as it stands, wherever it stood.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import takewhile
from typing import BinaryIO

SIGNATURE = 8  # bytes of a PNG before its first chunk
LONGEST = 1 << 24  # bytes of all chunks or segments that are kept, heads included
MOST = 10_000  # chunks or segments that are looked at
BLOCK = 1 << 20  # bytes of pixels that are looked at in one go
# PNG, third edition, chapter 11; of each but the texts there is one.
COLOUR = {b"cHRM", b"gAMA", b"iCCP", b"sRGB", b"cICP", b"mDCV", b"cLLI"}
TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
KEPT = {*COLOUR, *TEXTS, b"eXIf", b"pHYs"}
SOI, EOI = b"\xff\xd8", b"\xff\xd9"
JFIF, EXIF, COMMENT = b"\xff\xe0JFIF\0", b"\xff\xe1Exif\0", b"\xff\xfe"
FRAMES = tuple(bytes([0xFF, kind]) for kind in (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC)))
ENDS = {0x00, 0x01, *range(0xC0, 0xC4), *range(0xC5, 0xCC), *range(0xCD, 0xDB)}  # of what stands before the pixels


def read_at(file: BinaryIO, at: int, size: int) -> bytes:
    """Bytes of a file; fewer, or none, where it does not reach so far."""
    if at < 0:
        return b""
    file.seek(at)
    return file.read(size)


def kept(file: BinaryIO) -> bytes:
    """The chunks of a PNG that hold for a copy of other pixels, end to end; damaged ones are left out."""
    found: list[bytes] = []
    seen: set[bytes] = set()
    room = LONGEST
    for head in _chunks(file):
        size, name = int.from_bytes(head[:4], "big"), head[4:]
        if _goes_along(name) and not (name in seen and name not in TEXTS) and 12 + size <= room:
            body = file.read(size)
            crc = file.read(4)
            if len(body) == size and crc == struct.pack(">I", zlib.crc32(name + body)):
                found.append(head + body + crc)
                seen.add(name)
                room -= 12 + size
    return b"".join(found)


def names(file: BinaryIO) -> set[bytes]:
    """What chunks a PNG has before its pixels."""
    return {head[4:] for head in takewhile(lambda head: head[4:] != b"IDAT", _chunks(file))}


def is_followed(file: BinaryIO) -> bool:
    """Whether another PNG begins where this one ends."""
    ends = any(head[4:] == b"IEND" for head in _chunks(file))
    return ends and file.read(4 + SIGNATURE)[4:] == b"\x89PNG\r\n\x1a\n"


def has_twin(file: BinaryIO) -> bool:
    """Whether another JPEG, no smaller than this one, begins where it ends: the next of a camera's stream.

    A smaller one is a preview that a camera put there without telling.
    """
    for _, start, frame in found(file, *FRAMES):
        file.seek(start + len(frame))
        end = _behind_end(file)
        if end is None or read_at(file, end, 3) != SOI + b"\xff":
            return False
        return any(_area(other) >= _area(frame) for _, _, other in found(file, *FRAMES, start=end))
    return False


def _area(frame: bytes) -> int:
    """Pixels of the picture to which a frame header belongs."""
    height, width = struct.unpack(">HH", frame[5:9].ljust(4, b"\0"))
    return height * width


def _behind_end(file: BinaryIO) -> int | None:
    """Where the picture ends in whose compressed pixels the file stands: there 0xFF comes before 0, or counts."""
    at, last = file.tell(), b""
    while block := file.read(BLOCK):
        place = (last + block).find(EOI)
        if place >= 0:
            return at - len(last) + place + len(EOI)
        at, last = at + len(block), block[-1:]
    return None


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    """The heads of a PNG's chunks, size and name; the file stands at the chunk's own bytes."""
    position = SIGNATURE
    for _ in range(MOST):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            break
        yield head
        if head[4:] == b"IEND":
            break
        position += 12 + int.from_bytes(head[:4], "big")


def _goes_along(name: bytes) -> bool:
    """Whether a chunk is among those kept, or is a private one whose name says that it may be copied."""
    private = name.isalpha() and name[:2].islower() and name[3:].islower()
    return name in KEPT or private


def with_chunks(start: bytes, extra: bytes) -> bytes | None:
    """The start of a PNG with other chunks before its pixels; None where that does not reach so far yet."""
    position = SIGNATURE
    while position + 8 <= len(start):
        if start[position + 4 : position + 8] == b"IDAT":
            return start[: SIGNATURE + 25] + extra + start[position:]  # 25 bytes of IHDR
        position += 12 + int.from_bytes(start[position : position + 4], "big")
    return None


def segments(file: BinaryIO) -> bytes:
    """The JFIF segment of a JPEG, those of its EXIF (a long one has several), and its comments, end to end."""
    kept: list[bytes] = []
    room = LONGEST
    for kind, _, segment in found(file, JFIF, EXIF, COMMENT):
        if not (kind == JFIF and kept) and room >= len(segment):  # JFIF is the first one
            kept.append(segment)
            room -= len(segment)
    return b"".join(kept)


def found(file: BinaryIO, *kinds: bytes, start: int = 0) -> Iterator[tuple[bytes, int, bytes]]:
    """The segments of a JPEG up to its frame header that are of one of `kinds`: which one, where, as they stand.

    The JPEG begins at `start` of the file.
    """
    position = start + len(SOI)
    for _ in range(MOST):
        file.seek(position)
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF or (head[1] in ENDS and head[:2] not in FRAMES):
            break
        if head[1] == 0xFF:  # a byte to fill up with
            position += 1
            continue
        size = int.from_bytes(head[2:], "big")
        body = file.read(size - 2) if size >= 2 else b""
        if len(body) < size - 2 or size < 2:
            break
        kind = next((kind for kind in kinds if (head[:2] + body).startswith(kind)), None)
        if kind is not None:
            yield kind, position, head + body
        if head[:2] in FRAMES:
            break
        position += 2 + size


def with_segments(start: bytes, extra: bytes) -> bytes | None:
    """The start of a JPEG with other segments before its own; None where there is none yet."""
    return start[: len(SOI)] + extra + start[len(SOI) :] if len(start) >= len(SOI) else None


def jfif(dpi: tuple[float, float] | None) -> bytes:
    """A JFIF segment; None, or numbers that it cannot hold: only the shape of a pixel is known."""
    density = [round(value) for value in dpi or (0, 0)]
    known = all(1 <= value <= 0xFFFF for value in density)
    return struct.pack(
        ">2sH5sHBHHBB", b"\xff\xe0", 16, b"JFIF\0", 0x0101, known, *(density if known else (1, 1)), 0, 0
    )
