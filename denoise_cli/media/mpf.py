"""Pictures behind the first one of a JPEG: a gain map, by which a phone shows a photograph in HDR; previews; views.

    SOI ... MPF: an index ... EOI | SOI gain map EOI | SOI preview EOI | video ...
            for each picture its type, its size, and where it begins, counted from inside the segment

A gain map says how much brighter each place is on a screen that can show it, which is as true of the picture
without its noise. It goes along, with all that stands behind the first picture, as it is; only previews, which
show the noise, are left out. After: CIPA DC-007-2009, "Multi-Picture Format"; Android's "Ultra HDR Image Format"
1.1; ISO 21496-1.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from denoise_cli.media import beside, heads, tiff
from denoise_cli.media.heads import EOI, SOI, read_at

INDEX = b"\xff\xe2MPF\0"
GAIN_MAP = b"\xff\xe2urn:iso:std:iso:ts:21496:-1\0"  # in the first picture: by which version of ISO 21496-1
HEAD = 8  # bytes of an index segment before what offsets are counted from: marker, size, MPF\0
VERSION, COUNT, ENTRIES = 0xB000, 0xB001, 0xB002  # tags of the index
UNDEFINED, PREVIEW, VIEW = 0x000000, 0x010000, 0x020000  # types; the lowest bits say which preview or view
LISTED = "IIIHH"  # attributes, size, offset, two numbers of others
MOST = 1000  # pictures of an index that are looked at


class Listed(NamedTuple):
    """A picture in an index."""

    attributes: int  # flags, format and type
    size: int  # bytes
    start: int  # in the file
    depends: tuple[int, int]  # numbers, from 1, of pictures that belong to this one; 0: none

    @property
    def type(self) -> int:
        return self.attributes & 0xFFFFFF

    @property
    def end(self) -> int:
        return self.start + self.size

    def is_a(self, kind: int) -> bool:
        return self.type & 0xFF0000 == kind


def has_views(file: BinaryIO) -> bool:
    """Whether a JPEG is a panorama, a stereo pair or a turn, of which a decoder sees the first view only."""
    return any(picture.is_a(VIEW) for picture in listed(file))


def listed(file: BinaryIO) -> list[Listed]:
    """The pictures in the index of a JPEG, as far as it has them; what it says of them may be wrong."""
    return [each for _, start, segment in heads.found(file, INDEX) for each in _entries(segment, start)]


@dataclass(frozen=True)
class Behind:
    """What goes along behind the first picture of a JPEG: ranges of the source, and the pictures in them."""

    source: BinaryIO
    ranges: tuple[tuple[int, int], ...] = ()
    pictures: tuple[Listed, ...] = ()  # the first one, and those behind it that are kept
    told: bytes = b""  # the segment of ISO 21496-1

    @property
    def head(self) -> bytes:
        """Segments for the new file, the index last: it has room for what ``attach`` will know."""
        return self.told + _segment(each._replace(start=0) for each in self.pictures) if self.pictures else b""

    def attach(self, target: BinaryIO) -> None:
        """Put all behind the new first picture, in whose file the head is, and tell in the index where that is."""
        if not self.pictures:
            return
        _, index, _ = next(heads.found(target, INDEX))
        size = target.seek(0, os.SEEK_END)
        moves = []
        for start, end in self.ranges:
            moves.append((start, end, target.tell() - start))
            beside.copy(self.source, start, end - start, target)
        first, *others = self.pictures
        moved = [
            each._replace(start=each.start + by - index - HEAD)
            for each in others
            for start, end, by in moves
            if start <= each.start < end
        ]
        target.seek(index)
        target.write(_segment([first._replace(size=size), *moved]))


def behind(file: BinaryIO) -> Behind:
    """What is to go along with a JPEG: nothing where no gain map, or what else may be one, stands behind it."""
    pictures = listed(file)
    if not pictures or read_at(file, pictures[0].size - len(EOI), len(EOI)) != EOI:
        return Behind(file)  # it does not say where the first one ends, or not truly
    begin, length = pictures[0].size, file.seek(0, os.SEEK_END)
    there = [
        each
        for each in pictures[1:]
        if begin <= each.start < each.end <= length and read_at(file, each.start, len(SOI)) == SOI
    ]
    ranges = _without(begin, length, [each for each in there if each.is_a(PREVIEW)])
    kept = [each for each in there if any(start <= each.start and each.end <= end for start, end in ranges)]
    if not any(each.type == UNDEFINED for each in kept):
        return Behind(file)
    numbers = {pictures.index(each) + 1: new for new, each in enumerate([pictures[0], *kept], 1)}
    renumbered = [
        each._replace(depends=(numbers.get(each.depends[0], 0), numbers.get(each.depends[1], 0)))
        for each in (pictures[0], *kept)
    ]
    told = b"".join(segment for _, _, segment in heads.found(file, GAIN_MAP))
    return Behind(file, tuple(ranges), tuple(renumbered), told)


def _without(start: int, end: int, left_out: Iterable[Listed]) -> list[tuple[int, int]]:
    """The ranges of what lies from start to end and in none of these."""
    ranges = []
    for each in sorted(left_out, key=lambda each: each.start):
        ranges.append((start, each.start))
        start = max(start, each.end)
    return [(low, high) for low, high in [*ranges, (start, end)] if low < high]


def _entries(segment: bytes, start: int) -> Iterator[Listed]:
    """Those of an index segment that begins at a place of the file."""
    index = segment[HEAD:]
    pages = tiff.directories(io.BytesIO(index))
    entry = next((entry for page in pages for entry in page.entries if entry.tag == ENTRIES), None)
    if entry is None or len(index) < entry.place + 4:
        return
    (at,) = struct.unpack_from(entry.form.order + "I", index, entry.place)
    pack = struct.Struct(entry.form.order + LISTED)
    whole = index[at : at + min(entry.count, pack.size * MOST)]
    for attributes, size, offset, *depends in pack.iter_unpack(whole[: len(whole) // pack.size * pack.size]):
        yield Listed(attributes, size, start + HEAD + offset, (depends[0], depends[1]))


def _segment(pictures: Iterable[Listed]) -> bytes:
    """An index segment; here the `start` of a picture is counted from inside it, and that of the first is 0."""
    entries = b"".join(
        struct.pack(">" + LISTED, each.attributes, each.size, each.start * (n > 0), *each.depends)
        for n, each in enumerate(pictures)
    )
    count = len(entries) // struct.calcsize(LISTED)
    tags = struct.pack(">HHI4s", VERSION, 7, 4, b"0100") + struct.pack(">HHII", COUNT, 4, 1, count)
    tags += struct.pack(">HHII", ENTRIES, 7, len(entries), 8 + 2 + 3 * 12 + 4)
    index = struct.pack(">2sHIH", b"MM", 42, 8, 3) + tags + bytes(4) + entries
    return INDEX[:2] + struct.pack(">H", HEAD - 2 + len(index)) + INDEX[2:] + index
