r"""The directories of a TIFF, one a page: what libvips does not tell of them, and cannot leave out.

II*\0 offset -> count | tag type count value ... | offset of the next
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

COMPRESSION, RESOLUTION_UNIT = 259, 296
NAMES = {1: "none", 5: "lzw", 8: "deflate", 32946: "deflate", 32773: "packbits"}  # of compressions, in libvips
NO_UNIT = 1
MOST = 1 << 16  # entries of a directory, and directories, that are looked at


@dataclass(frozen=True)
class Entry:
    """A tag of a page: where its value stands, and what it says if it is one short number."""

    tag: int
    value: int
    place: int  # bytes from the beginning of the file
    order: str  # of the bytes of numbers, as struct has it


def directories(file: BinaryIO) -> Iterator[list[Entry]]:
    """The entries of each page, as far as the file has them; nothing of what is no TIFF."""
    file.seek(0)
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None or len(start) < 16:
        return
    big = struct.unpack(order + "H", start[2:4])[0] == 43
    offset = struct.unpack(order + ("8xQ" if big else "4xI"), start[: 16 if big else 8])[0]
    entry, count_of, next_of = (
        struct.Struct(order + f) for f in (("HHQ8s", "Q", "Q") if big else ("HHI4s", "H", "I"))
    )
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) < MOST:
        seen.add(offset)
        file.seek(min(offset, 1 << 62))
        head = file.read(count_of.size)
        if len(head) < count_of.size:
            return
        count = min(count_of.unpack(head)[0], MOST)
        body = file.read(count * entry.size)
        value_at = offset + count_of.size + entry.size - (8 if big else 4)
        yield [
            Entry(tag, struct.unpack(order + "H", value[:2])[0], value_at + index * entry.size, order)
            for index, (tag, _, _, value) in enumerate(
                entry.iter_unpack(body[: len(body) // entry.size * entry.size])
            )
        ]
        tail = file.read(next_of.size)
        offset = next_of.unpack(tail)[0] if len(tail) == next_of.size else 0


def compression(file: BinaryIO) -> str:
    """Return the first page's compression as libvips names it; "deflate" for those that we do not write again.

    JPEG in TIFF becomes deflate (a second lossy generation helps nobody), fax codes too (they hold one bit only).
    """
    page = next(directories(file), None)
    if page is None:
        return "deflate"
    return next((NAMES.get(entry.value, "deflate") for entry in page if entry.tag == COMPRESSION), "none")


def without_unit(file: BinaryIO) -> None:
    """Say of every page that its resolution has no unit: only the shape of a pixel is known, not its size."""
    units = [entry for page in directories(file) for entry in page if entry.tag == RESOLUTION_UNIT]
    for unit in units:
        os.pwrite(file.fileno(), struct.pack(unit.order + "H", NO_UNIT), unit.place)
