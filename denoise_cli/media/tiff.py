r"""The directories of a TIFF, one a page: what libvips does not tell of them, and cannot leave out.

II*\0 offset -> count | tag type count value ... | offset of the next
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, Literal

NEW_SUBFILE_TYPE, REDUCED, SUB_IFDS = 254, 1, 330
COMPRESSION, RESOLUTION_UNIT, EXTRA_SAMPLES = 259, 296, 338
TILE_OFFSETS, TILE_SIZES = 324, 325
NAMES = {1: "none", 5: "lzw", 8: "deflate", 32946: "deflate", 32773: "packbits"}  # of compressions, in libvips
NO_UNIT = 1
MOST_BYTES = 1 << 24  # of the places of all tiles of a page
MOST = 1 << 16  # entries of a directory, and directories, that are looked at
LONG, SLONG, IFD, LONG8, SLONG8, IFD8 = 4, 9, 13, 16, 17, 18
WIDTHS = {  # type -> bytes of one number
    **{1: 1, 2: 1, 3: 2, LONG: 4, 5: 4, 6: 1, 7: 1, 8: 2, SLONG: 4, 10: 4, 11: 4, 12: 8},
    **{IFD: 4, LONG8: 8, SLONG8: 8, IFD8: 8},
}
FRACTIONS = (5, 10)  # types of two numbers a value


@dataclass(frozen=True)
class Form:
    """How a TIFF writes its numbers."""

    order: Literal["<", ">"]  # of bytes, as struct has it
    big: bool  # BigTIFF, with offsets of 64 bits

    @cached_property
    def entry(self) -> struct.Struct:
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))

    @cached_property
    def count(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @cached_property
    def offset(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "I"))

    def number(self, data: bytes) -> int:
        return int.from_bytes(data, "little" if self.order == "<" else "big")


@dataclass(frozen=True)
class Entry:
    """A tag of a page."""

    tag: int
    type: int
    count: int
    field: bytes  # the value, or where it stands if it is longer than this
    place: int  # of the field: bytes from the beginning of the file
    form: Form

    @property
    def value(self) -> int:
        """What it says if it is one short number."""
        return self.form.number(self.field[:2])

    @property
    def size(self) -> int:
        """Bytes of the value; 0 of a type that nobody knows."""
        return self.count * WIDTHS.get(self.type, 0) * (2 if self.type in FRACTIONS else 1)

    @property
    def where(self) -> int:
        return self.place if self.size <= len(self.field) else self.form.number(self.field)


@dataclass(frozen=True)
class Directory:
    """A page, or what one of its tags points to."""

    form: Form
    entries: list[Entry]
    next: int  # where the next one begins; 0: there is none
    whole: bool  # nothing of it lies beyond the end of the file
    link: int  # where the offset of this one stands; 0: in a tag


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    """As many bytes as are there, wherever that may be."""
    file.seek(min(at, file.seek(0, os.SEEK_END)))
    return file.read(size)


def directory(file: BinaryIO, form: Form, at: int, link: int = 0) -> Directory | None:
    """What begins at an offset, as far as the file has it."""
    head = _read(file, at, form.count.size)
    if len(head) < form.count.size:
        return None
    count = min(form.number(head), MOST)
    begin = at + len(head)
    body = _read(file, begin, count * form.entry.size)
    fields = form.entry.iter_unpack(body[: len(body) // form.entry.size * form.entry.size])
    first = begin + form.entry.size - form.offset.size
    entries = [
        Entry(tag, type, n, field, first + index * form.entry.size, form)
        for index, (tag, type, n, field) in enumerate(fields)
    ]
    tail = _read(file, begin + count * form.entry.size, form.offset.size)
    whole = len(tail) == form.offset.size  # it stands at the end
    return Directory(form, entries, form.number(tail) if whole else 0, whole, link)


def directories(file: BinaryIO) -> Iterator[Directory]:
    """Each page, as far as the file has them; nothing of what is no TIFF."""
    start = _read(file, 0, 16)
    if start[:2] not in (b"II", b"MM") or len(start) < 16:
        return
    order: Literal["<", ">"] = "<" if start[:2] == b"II" else ">"
    form = Form(order, struct.unpack(order + "H", start[2:4])[0] == 43)
    link = form.offset.size  # 4 or 8, as it happens
    offset = form.number(start[link : 2 * link])
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) < MOST:
        seen.add(offset)
        page = directory(file, form, offset, link)
        if page is None:
            return
        yield page
        link = offset + form.count.size + len(page.entries) * form.entry.size
        offset = page.next


def is_cut(file: BinaryIO) -> bool:
    """Whether a directory or a tile is cut off, or lies where the file has ended.

    libvips reads the pages before such a directory, and makes such a tile black.
    """
    page, length = None, file.seek(0, os.SEEK_END)
    for page in directories(file):
        tiles = zip(_numbers(file, page, TILE_OFFSETS), _numbers(file, page, TILE_SIZES), strict=False)
        if not page.whole or any(start + size > length for start, size in tiles):
            return True
    return page is not None and page.next >= length


def is_tiled(file: BinaryIO) -> bool:
    """Whether a page is in tiles, not in strips of rows."""
    return any(entry.tag == TILE_OFFSETS for page in directories(file) for entry in page.entries)


def is_preview(file: BinaryIO) -> bool:
    """Whether the first page is a smaller form of one that a tag points to: of the sensor's in DNG, NEF, ARW."""
    page = next(directories(file), None)
    if page is None or not _numbers(file, page, SUB_IFDS):
        return False
    return any(number & REDUCED for number in _numbers(file, page, NEW_SUBFILE_TYPE))


def _numbers(file: BinaryIO, page: Directory, tag: int) -> list[int]:
    """All whole numbers of a tag; none of one that is not there."""
    for entry in page.entries:
        width = WIDTHS.get(entry.type, 0)
        if entry.tag == tag and (data := value(file, entry, MOST_BYTES)):
            return [entry.form.number(data[at : at + width]) for at in range(0, len(data), width)]
    return []


def value(file: BinaryIO, entry: Entry, most: int) -> bytes | None:
    """The bytes of a value as they stand; None of one that is longer than `most`, or is not there."""
    if entry.type not in WIDTHS or entry.size > most:
        return None
    if entry.size <= len(entry.field):
        return entry.field[: entry.size]
    data = _read(file, entry.where, entry.size)
    return data if len(data) == entry.size else None


def compression(file: BinaryIO) -> str:
    """Return the first page's compression as libvips names it; "deflate" for those that we do not write again.

    JPEG in TIFF becomes deflate (a second lossy generation helps nobody), fax codes too (they hold one bit only).
    """
    page = next(directories(file), None)
    if page is None:
        return "deflate"
    return next((NAMES.get(entry.value, "deflate") for entry in page.entries if entry.tag == COMPRESSION), "none")


def is_unspecified(file: BinaryIO, extra: int) -> bool:
    """Whether the first page says of so many bands past its colours that they are no alpha, but something else."""
    page = next(directories(file), None)
    told = [entry for entry in page.entries if entry.tag == EXTRA_SAMPLES] if page else []
    return bool(told) and value(file, told[0], 2 * extra) == bytes(2 * extra)


def without_unit(file: BinaryIO) -> None:
    """Say of every page that its resolution has no unit: only the shape of a pixel is known, not its size."""
    for unit in _found(file, RESOLUTION_UNIT):
        _write(file, unit.place, struct.pack(unit.form.order + "H", NO_UNIT))


def without_alpha(file: BinaryIO) -> None:
    """Say of every page that the bands past its colours are unspecified; libvips takes all of them for alpha."""
    for extra in _found(file, EXTRA_SAMPLES):
        _write(file, extra.where, bytes(extra.size))


def _found(file: BinaryIO, tag: int) -> list[Entry]:
    return [entry for page in directories(file) for entry in page.entries if entry.tag == tag]


def _write(file: BinaryIO, at: int, data: bytes) -> None:
    file.seek(at)  # through the file, not beside it: what it has read already would otherwise be read again
    file.write(data)
