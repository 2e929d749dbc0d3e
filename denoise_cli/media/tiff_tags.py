"""What libvips leaves out of a TIFF: who made it, when and where, GeoTIFF, EXIF, tags of which one program knows.

    header -> page by libvips -> page by libvips          as it is written, and then:
    header -> entries by libvips and of the source -> entries by libvips and of the source

libvips knows a handful of tags, those of the first page, and writes them into every page. So each page gets a new
directory at the end of the file, where the tags stand that its own source has besides; the old one stays behind as
a few hundred bytes that nothing points to. A source may be damaged or hostile: a tag whose value is not there is
left out, and so is all that goes past `MOST_BYTES`.

EXIF is a TIFF: what it says of the picture goes from one to the other where a format becomes another.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Set
from itertools import islice
from typing import BinaryIO

import numpy as np

from denoise_cli.media import tiff
from denoise_cli.media.tiff import IFD, IFD8, LONG, LONG8, SLONG, SLONG8, Directory, Entry, Form

MOST_BYTES = 1 << 26  # of all pages together: values that are copied, and entries that are looked at
ENTRY_BYTES = 64  # that an entry counts for, since a million of them take seconds
MOST_ENTRIES = 4096  # of a directory; libtiff takes one with more for damaged
MOST_OFFSET = 1 << 32  # of a classic TIFF
POINTERS = (34665, 34853, 40965)  # tags that tell where another directory is: EXIF, GPS, Interop
DEEPEST = 2  # a page, its EXIF, the Interop of that

# How the samples of the source are stored; those of the output are stored in its own way (TIFF 6.0; TIFF/FX; DNG).
STRUCTURE = {
    *(282, 283, 296),  # the resolution, see RESOLUTION
    *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266),  # kind of page, sizes, bits, compression, bit order
    *(273, 277, 278, 279, 280, 281, 284, 288, 289, 559),  # strips, planes, smallest and largest sample, free bytes
    *(292, 293, 326, 327, 328, 34908, 34909, 34910, 400, 401, 402, 403, 404, 405, 433, 434),  # fax
    *(317, 320, 322, 323, 324, 325, 330, 332, 333, 334, 336, 338, 339, 340, 341, 346),  # tiles, colour map, inks
    *(347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 50674),  # JPEG, YCbCr, LERC
    37724,  # Photoshop's layers: the picture once more, as it was, and it would be shown instead of this one
    *(50706, 50707, 50933),  # that this is a DNG, which it is no longer; profiles by their offsets
}
BITS, PHOTOMETRIC = 258, 262
CURVES = {290, 291, 301, 321, 342}  # what a sample of so many bits, of this photometric kind, stands for
SHORTER = {LONG8: (LONG, "u"), SLONG8: (SLONG, "i")}  # what only BigTIFF has; libtiff may refuse a page for it
IPTC = 33723  # bytes, even where they are called numbers
# What libvips writes, yet of the first page only, up to the first NUL, or (IPTC, in 8.18) a quarter of it. Where
# that is not what the source says, the source's own takes its place: text, XMP, Photoshop's, ICC.
OWN = {270, 700, IPTC, 34377, 34675}
EXIF = b"Exif\0\0"  # before the TIFF that it is
ABOUT = {270, 271, 272, 305, 306, 315, 33432, *POINTERS}  # texts of EXIF's first directory (EXIF 2.32, table 4)
MOST_EXIF = 50_000  # bytes; a segment of a JPEG holds 65,533
RESOLUTION = {282, 283, 296}  # image_sink.py looks after it where all pages have the same


def carry(source: BinaryIO, output: BinaryIO, pages: int | None = None) -> None:
    """Give every page of a TIFF by libvips the tags of the same page in another TIFF that it has not got yet.

    Where there are none, the output stays as it is. `pages` are looked at, or all.
    """
    copy = _Copy(source, output, MOST_BYTES)
    resolutions = {
        tuple(tiff.value(source, e, ENTRY_BYTES) for e in page.entries if e.tag in RESOLUTION)
        for page in islice(tiff.directories(source), pages)
    }
    own = OWN | RESOLUTION if len(resolutions) > 1 else OWN
    link = 0  # where the offset of a page stands, if the page before it was moved
    both = zip(tiff.directories(source), tiff.directories(output), strict=False)
    for old, new in islice(both, pages):
        link = link or new.link
        further = copy.page(old, new, own)
        if further:
            there = {e.tag: new.form.entry.pack(e.tag, e.type, e.count, e.field) for e in new.entries}
            at, end = copy.directory(new.form, there | further, new.next)
            output.seek(link)
            output.write(new.form.offset.pack(at))
            link = end
        else:
            link = 0
        if copy.is_full:
            break


def exif(source: BinaryIO) -> bytes:
    """What the first page of a TIFF says of the picture and its camera, as EXIF of other formats; or nothing."""
    page = next(tiff.directories(source), None)
    if page is None:
        return b""
    form, output = Form("<", False), io.BytesIO(struct.pack("<2sHI8x", b"II", 42, 0))
    copy = _Copy(source, output, MOST_EXIF)
    entries = copy._entries(page, form, {entry.tag for entry in page.entries} - ABOUT, MOST_ENTRIES, DEEPEST)
    if not entries:
        return b""
    at, _ = copy.directory(form, entries, 0)
    output.seek(4)
    output.write(form.offset.pack(at))
    return EXIF + output.getvalue()


class _Copy:
    """Values from one file to the end of another, until so many bytes of them are there."""

    def __init__(self, source: BinaryIO, output: BinaryIO, room: int):
        self._source, self._output = source, output
        self._room = room

    @property
    def is_full(self) -> bool:
        return self._room < 0

    def page(self, old: Directory, new: Directory, own: Set[int]) -> dict[int, bytes]:
        """The entries, by their tags, that a page is to have besides those that it has, or in place of them."""
        if not new.form.big:  # half of what is left: directories and bytes to fill up with come on top
            self._room = min(self._room, (MOST_OFFSET - self._output.seek(0, os.SEEK_END)) // 2)
        told, there = ({entry.tag: entry for entry in page.entries} for page in (old, new))
        same = {
            tag
            for tag in {*OWN, BITS, PHOTOMETRIC} & told.keys() & there.keys()
            if self._same(told[tag], there[tag])
        }
        left_out = (STRUCTURE | there.keys()) - own | same
        if not {BITS, PHOTOMETRIC} <= same:
            left_out |= CURVES
        return self._entries(old, new.form, left_out, MOST_ENTRIES - len(there), DEEPEST)

    def directory(self, form: Form, entries: dict[int, bytes], next: int) -> tuple[int, int]:
        """Write one; return where it begins, and where the offset of the next stands."""
        data = form.count.pack(len(entries)) + b"".join(entries[tag] for tag in sorted(entries))
        at = self._append(data + form.offset.pack(next))
        return at, at + len(data)

    def _same(self, old: Entry, new: Entry) -> bool:
        """Whether both hold the same bytes, or too many to tell."""
        if old.size != new.size:
            return False
        data = tiff.value(self._source, old, MOST_BYTES)
        return data is None or _turned(data, old, new.form) == tiff.value(self._output, new, MOST_BYTES)

    def _entries(self, old: Directory, form: Form, left_out: Set[int], most: int, depth: int) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for entry in old.entries:
            self._room -= ENTRY_BYTES
            if len(found) < most and entry.tag not in left_out and entry.tag not in found:
                packed = self._below(entry, form, depth) if entry.tag in POINTERS else self._entry(entry, form)
                if packed is not None:
                    found[entry.tag] = packed
        return found

    def _entry(self, entry: Entry, form: Form) -> bytes | None:
        data = tiff.value(self._source, entry, self._room)
        if data is None or entry.type in (IFD, IFD8):  # the offset of something that is not copied
            return None
        self._room -= len(data)
        data = _turned(data, entry, form)
        if entry.type in SHORTER and not form.big:
            kind, sign = SHORTER[entry.type]
            long = np.frombuffer(data, f"{form.order}{sign}8")
            short = long.astype(f"{form.order}{sign}4")
            exact = bool((short == long).all())
            return self._packed(form, entry.tag, kind, entry.count, short.tobytes()) if exact else None
        return self._packed(form, entry.tag, entry.type, entry.count, data)

    def _below(self, entry: Entry, form: Form, depth: int) -> bytes | None:
        """Copy the directory that an entry points to; loops end at the depth."""
        offset = tiff.value(self._source, entry, min(self._room, entry.form.offset.size))
        below = tiff.directory(self._source, entry.form, entry.form.number(offset)) if depth and offset else None
        entries = self._entries(below, form, frozenset(), MOST_ENTRIES, depth - 1) if below else {}
        if not entries:
            return None
        at, _ = self.directory(form, entries, 0)
        short, long = (IFD, IFD8) if entry.type in (IFD, IFD8) else (LONG, LONG8)
        return self._packed(form, entry.tag, long if form.big else short, 1, form.offset.pack(at))

    def _packed(self, form: Form, tag: int, type: int, count: int, data: bytes) -> bytes:
        field = data if len(data) <= form.offset.size else form.offset.pack(self._append(data))
        return form.entry.pack(tag, type, count, field)

    def _append(self, data: bytes) -> int:
        end = self._output.seek(0, os.SEEK_END)
        self._output.write(bytes(end % 2) + data)  # values begin at even offsets
        return end + end % 2


def _turned(data: bytes, entry: Entry, form: Form) -> bytes:
    """A value in the byte order of the output."""
    width = tiff.WIDTHS[entry.type]
    if entry.form.order == form.order or width == 1 or entry.tag == IPTC:
        return data
    return np.frombuffer(data, f"u{width}").byteswap().tobytes()
