"""libvips, set up once: quiet, one thread a picture, no cache, trusted loaders only. The only import of pyvips."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from typing import Any

import numpy as np

# Read by libvips when it starts, hence before the import. The pipeline decodes several files at a time, so threads
# inside one file would only get in each other's way.
os.environ.setdefault("VIPS_BLOCK_UNTRUSTED", "1")
os.environ.setdefault("VIPS_WARNING", "0")
os.environ.setdefault("VIPS_CONCURRENCY", "1")

import pyvips

logging.getLogger("pyvips").setLevel(logging.CRITICAL + 1)  # else decoder warnings land on stderr
pyvips.block_untrusted_set(True)  # someone may have imported pyvips before us
# Raw pixels are "untrusted" as there is no header to check. We only ever read our own spool with it, by name.
pyvips.operation_block_set("VipsForeignLoadRaw", False)
pyvips.cache_set_max(0)  # each file is read once: a cache of operations would only grow

FORMATS = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}  # numpy's names -> libvips'
# What libvips says of a damaged file where its decoder has told it nothing.
EMPTY_WORDS = re.compile(
    r"libpng read error|unable to (call \w*load\w*|fetch from region|parse image|read pixels)|bad seek to -?\d+"
)
SPOOL_PIECE = 1 << 24  # bytes
FURTHEST = 1_000_000_000  # bytes; an offset above it libvips takes for none at all, without an error

Error = pyvips.Error
Image = pyvips.Image
Region = pyvips.Region
GValue = pyvips.GValue


def source(fd: int):
    """Read from an open file, wherever its position is, from the start."""
    os.lseek(fd, 0, os.SEEK_SET)  # libvips dups the descriptor, and a dup shares the position
    return pyvips.Source.new_from_descriptor(fd)


def shielded(fd: int):
    """Read from an open file as `source` does, but by calls of read only; hold on to it for as long as the image.

    libvips maps some files into memory, and then a file that shrinks meanwhile ends the process.
    """
    position = 0

    def read(size: int) -> bytes:
        nonlocal position
        try:
            data = os.pread(fd, size, position)
        except OSError:  # cannot pass through C; the decoder meets the end of the file instead
            return b""
        position += len(data)
        return data

    def seek(offset: int, whence: int) -> int:
        nonlocal position
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: position, os.SEEK_END: os.fstat(fd).st_size}[whence]
        position = max(0, origin + offset)
        return position

    custom = pyvips.SourceCustom()
    custom.on_read(read)
    custom.on_seek(seek)
    return custom


def target(fd: int):
    """Write to an open file from the start; it must be readable too, TIFF patches its own offsets."""
    os.lseek(fd, 0, os.SEEK_SET)
    return pyvips.Target.new_to_descriptor(fd)


class Mending:
    """Write to an open file as `target` does, but put what `mend` makes of the first bytes in their place.

    It is called with all that there is so far, and gives None for as long as it needs more. An exception cannot
    pass through C: it is raised where the ``with`` ends.
    """

    def __init__(self, fd: int, mend: Callable[[bytes], bytes | None]):
        os.lseek(fd, 0, os.SEEK_SET)
        self._fd, self._mend, self._held = fd, mend, b""
        self._mended = False
        self._error: Exception | None = None
        self.target = pyvips.TargetCustom()
        self.target.on_write(self._write)

    def _write(self, data: bytes) -> int:
        try:
            whole: bytes | None = data
            if not self._mended:
                self._held += bytes(data)
                whole = self._mend(self._held)
                self._mended = whole is not None
            view = memoryview(whole or b"")
            while view:
                view = view[os.write(self._fd, view) :]
        except Exception as error:
            self._error = self._error or error
            return -1
        return len(data)

    def __enter__(self):
        return self.target

    def __exit__(self, kind: type | None, *raised: object) -> None:
        if self._error is not None:
            raise self._error
        if kind is None and not self._mended:
            raise ValueError("no pixels were written")


def fields(image) -> dict[str, Any]:
    """All metadata of an image as libvips' own values, so that names and values which are no UTF-8 come through."""
    found = {}
    names = pyvips.vips_lib.vips_image_get_fields(image.pointer)
    position = 0
    while names[position] != pyvips.ffi.NULL:
        name = pyvips.ffi.string(names[position])
        value = GValue()
        if pyvips.vips_lib.vips_image_get(image.pointer, name, value.pointer) == 0:
            found[os.fsdecode(name)] = value
        pyvips.glib_lib.g_free(names[position])
        position += 1
    pyvips.glib_lib.g_free(names)
    return found


def set_field(image, name: str, value: Any) -> None:
    """Attach what ``fields`` found to an image that nobody else holds yet."""
    pyvips.vips_lib.vips_image_set(image.pointer, os.fsencode(name), value.pointer)


def from_array(rows: np.ndarray):
    """Wrap (H, W, B) rows as an image, without a copy where they lie in order."""
    height, width, bands = rows.shape
    image = Image.new_from_memory(np.ascontiguousarray(rows), width, height, bands, FORMATS[rows.dtype.name])
    return image.copy(interpretation={1: "b-w", 2: "b-w", 3: "srgb", 4: "srgb"}.get(bands, "multiband"))


def from_spool(fd: int, shape: tuple[int, int, int], dtype: np.dtype):
    """Read (H, W, B) raw samples from an unnamed file, once, from top to bottom.

    libvips maps a piece into memory for as long as it reads from it. In one piece, the whole picture would count
    as ours by the end: 340 MB instead of 70 for 100 megapixels of RGB.
    """
    height, width, bands = shape
    stride = width * bands * dtype.itemsize
    step = max(1, SPOOL_PIECE // stride)
    options = {"format": FORMATS[dtype.name], "access": "sequential"}
    name = f"/dev/fd/{fd}"  # one that opens it once more, with a position of its own

    def piece(y: int):
        rows = min(step, height - y)
        first = min(y, FURTHEST // stride)
        image = Image.rawload(name, width, y - first + rows, bands, offset=first * stride, **options)
        return image.crop(0, y - first, width, rows) if y > first else image

    pieces = [piece(y) for y in range(0, height, step)]
    # All cells of an array are as tall as the tallest, so the last piece, a shorter one, comes with rows below it.
    return Image.arrayjoin(pieces, across=1).crop(0, 0, width, height)


def reason(error: Exception) -> str:
    """Return one line out of an error: libvips stacks lines such as ``pngload: libpng read error``."""
    text = error.detail or error.message if isinstance(error, Error) else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    if isinstance(error, Error):
        line = re.sub(r"^\w+: ", "", line)
        line = f"codec error: {'damaged or cut short' if EMPTY_WORDS.fullmatch(line) else line}"
        if "samples out of range" in line:
            return "samples of this kind are not supported; choose from 8 or 16 bits, or 32-bit float"
        if "bad labq format" in line:
            return "CIELAB colours are not supported; convert the file to RGB"
        if "differs from page 0" in line:
            return "its pages differ in size or in kind; split the file"
    return line.encode("unicode_escape").decode("ascii")
