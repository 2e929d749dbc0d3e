"""BMP, PNM and TGA: formats which this libvips does not know. They are read whole, as arrays of (H, W, B).

Pillow reads them, except for binary PNM: Pillow cuts its 16-bit colours to 8 without a word, and 40 lines of
header are all there is to it. It would cut those of plain PNM too, which are refused.
"""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import numpy as np
from PIL import BmpImagePlugin, Image, PpmImagePlugin, TgaImagePlugin

# The plugins are called by name: `Image.open` would try all of its forty formats and warn of sizes that we allow.
READERS: dict[str, Any] = {
    "bmp": BmpImagePlugin.BmpImageFile,
    "ppm": PpmImagePlugin.PpmImageFile,
    "tga": TgaImagePlugin.TgaImageFile,
}
EXACT = {"1": "L", "L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA"}  # mode in the file -> mode we work in

_GAP = rb"(?:\s|#[^\n]*\n)+"
_NEXT = re.compile(rb"\s*P[1-7]\s")  # another picture behind the pixels of one
_PNM = re.compile(rb"P([2356])" + _GAP + rb"(\d+)" + _GAP + rb"(\d+)" + _GAP + rb"(\d+)\s")
LONGEST_HEAD = 1 << 16  # bytes of a PNM before its pixels, comments and all


class Opened:
    """A picture whose size is known and whose pixels are not read yet."""

    def __init__(self, file: BinaryIO, format: str):
        self._file = file
        self._pnm = _binary(file) if format == "ppm" else None
        if self._pnm:
            kind, self.width, self.height, self._top = (int(group) for group in self._pnm.groups())
            self._bands = 3 if kind == 6 else 1
        else:
            file.seek(0)
            self._image: Image.Image = READERS[format](file)
            self.width, self.height = self._image.size

    def array(self) -> np.ndarray:
        """Read the pixels: (H, W, B) uint8 or uint16."""
        return self._pnm_array(self._pnm) if self._pnm else self._pillow_array()

    def _pnm_array(self, header: re.Match[bytes]) -> np.ndarray:
        dtype = np.dtype(np.uint8 if self._top == 255 else ">u2")
        size = self.width * self.height * self._bands * dtype.itemsize
        self._file.seek(header.end())
        pixels = self._file.read(size)
        if len(pixels) < size:
            raise ValueError(f"truncated: {len(pixels)} of {size} bytes of pixels")
        if _NEXT.match(self._file.read(64)):
            raise ValueError("several pictures in one file, of which only the first could be read: split them")
        rows = np.frombuffer(pixels, dtype).reshape(self.height, self.width, self._bands)
        return rows.astype(dtype.newbyteorder("="), copy=False)

    def _pillow_array(self) -> np.ndarray:
        image = self._image
        mode = EXACT.get(image.mode)
        if image.mode == "P":
            mode = "RGBA" if image.has_transparency_data else "RGB"
        if mode is None:
            raise ValueError(f"pixels of mode {image.mode} are not supported; choose from {', '.join(EXACT)}, P")
        array = np.asarray(image.convert(mode))
        return array[:, :, np.newaxis] if array.ndim == 2 else array

    def dpi(self) -> tuple[float, float] | None:
        return None if self._pnm else self._image.info.get("dpi")


def _binary(file: BinaryIO) -> re.Match[bytes] | None:
    """The header of a binary PNM of gray levels or colours; None for Pillow to read it. ValueError: nobody does."""
    file.seek(0)
    start = file.read(LONGEST_HEAD)
    header = _PNM.match(start)
    if header is None:
        if start[:2] in (b"P2", b"P3", b"P5", b"P6"):
            raise ValueError("no width, height and maximum at the beginning of this PNM")
        return None
    plain, top = header[1] in b"23", int(header[4])
    if plain and top > 255:
        raise ValueError(f"plain PNM with a maximum of {top} is not supported; write it as a binary one")
    if not plain and top not in (255, 65535):
        raise ValueError(f"PNM with a maximum of {top} is not supported; only 255 and 65535 are")
    return None if plain else header


def save(array: np.ndarray, file: BinaryIO, format: str, dpi: tuple[float, float]) -> None:
    """Write an (H, W, B) array; the formats table has checked that the format can hold it."""
    height, width, bands = array.shape
    if format == "ppm":
        top = np.iinfo(array.dtype).max
        file.write(b"P%d\n%d %d\n%d\n" % (6 if bands == 3 else 5, width, height, top))
        file.write((array if array.dtype == np.uint8 else array.astype(">u2")).data)
        return
    image = Image.fromarray(array[:, :, 0] if bands == 1 else array)
    image.save(file, format.upper(), dpi=dpi)
