"""What goes wrong in a WebP by way of libvips and libwebp: frames that look alike, and EXIF.

libwebp merges such frames, and here they come apart again. No option stops it, and where all frames are alike it
writes a still picture. So all frames go in with one delay, and that of a frame which comes out tells how many it
stands for. Then the real delays are put in, and after the frame its likes, which draw nothing.

    ANMF 300 ms   ->   ANMF 70 ms, ANMF 250 ms (clear pixels), ANMF 100 ms (clear pixels)

After: RFC 9649, "WebP Image Format", sections 2.7 (chunks) and 3 (the bits of VP8L).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from denoise_cli.media import vips
from denoise_cli.media.beside import Target

EVEN = 100  # ms, of each frame on its way in, and of one that has no delay; libvips makes 100 of 10 and less
LONGEST = (1 << 24) - 1  # ms
ANIMATED, ALPHA = 0x02, 0x10  # flags of VP8X
DISPOSE = 0x01  # flag of ANMF: the frame is wiped out after its time; no flag: it is drawn over what is there
# VP8L behind its size: alpha is there, nothing is transformed, each of five codes has one symbol, 0, of no bits.
CLEAR = 1 << 28, b"\x88\x88\x08"

Chunk = tuple[bytes, "bytes | memoryview"]


@dataclass(frozen=True)
class Frame:
    """A chunk ANMF."""

    place: bytes  # offset and size less one, four numbers of 24 bits
    delay: int  # ms
    flags: int
    data: bytes | memoryview

    @staticmethod
    def of(payload: bytes | memoryview) -> Frame:
        return Frame(bytes(payload[:12]), int.from_bytes(payload[12:15], "little"), payload[15], payload[16:])

    def clear(self) -> Frame:
        """A frame in this one's place that changes nothing while it is shown."""
        width, height = (int.from_bytes(self.place[i : i + 3], "little") for i in (6, 9))
        bits, codes = CLEAR
        pixels = b"\x2f" + struct.pack("<I", width | height << 14 | bits) + codes
        return replace(self, flags=self.flags & DISPOSE, data=_packed(b"VP8L", pixels))

    def chunk(self) -> Chunk:
        head = self.place + self.delay.to_bytes(3, "little") + bytes([self.flags])
        return b"ANMF", head + bytes(self.data)


def save(image, target: Target, options: dict[str, Any]) -> None:
    """Write an image of several pages, each with its own delay in the field ``delay``, in ms."""
    count = image.height // image.get_page_height()
    delays = [*(image.get("delay") if image.get_typeof("delay") else ())][:count]
    delays += [EVEN] * (count - len(delays))
    image = image.copy()
    image.set_type(vips.GValue.array_int_type, "delay", [EVEN] * count)
    image.webpsave_target(vips.target(target.fileno()), **options)
    file = target.file
    file.seek(0)
    chunks = list(_chunks(memoryview(file.read())[12:]))
    if not any(kind == b"ANMF" for kind, _ in chunks):
        size = image.width, image.get_page_height()
        chunks = list(_animated(chunks, size, count, image.get("loop") if image.get_typeof("loop") else 0))
    file.seek(0)
    file.truncate()
    file.write(bytes(12))
    for kind, payload in _apart(chunks, delays):
        file.write(_packed(kind, payload))
    length = file.tell()
    file.seek(0)
    file.write(struct.pack("<4sI4s", b"RIFF", length - 8, b"WEBP"))


def put_exif(file: BinaryIO, exif: bytes) -> None:
    """Put the EXIF of the source in the place of what libvips made of it: without a maker's notes, and with more.

    It stands behind all pixels; what follows, XMP, moves.
    """
    position = 12
    while len(head := _at(file, position, 8)) == 8:
        kind, size = struct.unpack("<4sI", head)
        end = position + 8 + size + size % 2
        if kind == b"EXIF":
            following = _at(file, end, -1)
            file.seek(position)
            file.write(_packed(b"EXIF", exif) + following)
            length = file.tell()
            file.truncate()
            file.seek(4)
            file.write(struct.pack("<I", length - 8))
            return
        position = end
    raise ValueError("no EXIF was written")


def _at(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def _apart(chunks: Iterable[Chunk], delays: Sequence[int]) -> Iterator[Chunk]:
    """The chunks with as many frames as there are delays, each with its own."""
    chunks = list(chunks)
    shares = [Frame.of(payload).delay // EVEN for kind, payload in chunks if kind == b"ANMF"]
    if sum(shares) != len(delays) or not all(shares):
        raise ValueError(f"{sum(shares)} of {len(delays)} frames were written")
    clear = len(shares) < len(delays)
    times = iter([min(max(0, delay), LONGEST) for delay in delays])
    for kind, payload in chunks:
        if kind == b"VP8X" and clear:
            yield kind, bytes([payload[0] | ALPHA]) + payload[1:]
        elif kind == b"ANMF":
            frame = Frame.of(payload)
            shown = frame.delay // EVEN
            for n in range(shown):
                each = frame.clear() if n else frame
                # Only the last may wipe out what all of them show.
                flags = each.flags if n == shown - 1 else each.flags & ~DISPOSE
                yield replace(each, delay=next(times), flags=flags).chunk()
        else:
            yield kind, payload


def _animated(chunks: Iterable[Chunk], size: tuple[int, int], count: int, loop: int) -> Iterator[Chunk]:
    """A still picture as an animation of one frame, which stands for `count`."""
    held = dict(chunks)
    edges = b"".join((side - 1).to_bytes(3, "little") for side in size)
    flags = held[b"VP8X"][0] if b"VP8X" in held else 0
    yield b"VP8X", bytes([flags | ANIMATED, 0, 0, 0]) + edges
    if b"ICCP" in held:
        yield b"ICCP", held[b"ICCP"]
    yield b"ANIM", struct.pack("<IH", 0, min(max(0, loop), 0xFFFF))
    data = b"".join(_packed(kind, held[kind]) for kind in (b"ALPH", b"VP8 ", b"VP8L") if kind in held)
    yield Frame(bytes(6) + edges, count * EVEN, 0x02, data).chunk()
    for kind in (b"EXIF", b"XMP "):
        if kind in held:
            yield kind, held[kind]


def _chunks(data: memoryview) -> Iterator[Chunk]:
    while len(data) >= 8:
        kind, size = struct.unpack("<4sI", data[:8])
        yield kind, data[8 : 8 + size]
        data = data[8 + size + size % 2 :]


def _packed(kind: bytes, payload: bytes | memoryview) -> bytes:
    return struct.pack("<4sI", kind, len(payload)) + bytes(payload) + bytes(len(payload) % 2)
