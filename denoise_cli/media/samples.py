"""Samples on their way between a file and a block.

    (n, W, C) uint8 | uint16 | float32   --to_block-->   (C, n, W) float32, full scale = 1
                                        <--to_rows--

Both directions walk over strips that stay in the processor's cache: a megapixel of 8-bit RGB takes about 4 ms
in and 3 ms out, against 5 and 12 ms for the plain NumPy expressions, which also need several times the memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

STRIP = 1 << 18  # samples; the float32 strip is then 1 MiB
FLOAT_LIMIT = 16.0  # a float picture beyond this is not in [0, 1]: 8-bit values saved as float reach 255


@dataclass(frozen=True)
class Depth:
    """How a file stores one sample."""

    bits: int  # 8, 10, 12, 16; 32 is float
    dtype: Any
    levels: int  # the largest integer; 0 for float
    shift: int = 0  # libvips hands 10 and 12 bits over in the upper bits of 16

    @property
    def step(self) -> float:
        return 1 / self.levels if self.levels else 0.0

    @property
    def scale(self) -> int:
        """The stored value that means 1.0."""
        return self.levels << self.shift


DEPTHS = {
    8: Depth(8, np.uint8, 255),
    10: Depth(10, np.uint16, 1023, shift=6),
    12: Depth(12, np.uint16, 4095, shift=4),
    16: Depth(16, np.uint16, 65535),
    32: Depth(32, np.float32, 0),
}


def to_block(rows: np.ndarray, channels: int, depth: Depth) -> np.ndarray:
    """Turn (n, W, B) interleaved rows into a (channels, n, W) float32 block; further bands are left out."""
    n, width, _ = rows.shape
    block = np.empty((channels, n, width), np.float32)
    strip = _strip(channels, width)
    for y in range(0, n, strip):
        planes = rows[y : y + strip, :, :channels].transpose(2, 0, 1)
        if not depth.levels:
            block[:, y : y + strip] = planes
            continue
        # Transposing the integers first, then converting, moves a quarter of the bytes through the transpose.
        np.divide(np.ascontiguousarray(planes), np.float32(depth.scale), out=block[:, y : y + strip])
    return block


def to_rows(block: np.ndarray, depth: Depth) -> np.ndarray:
    """Turn a (C, n, W) block into (n, W, C) rows of the file's own type: rounded to even, clipped, never NaN.

    Raises
    ------
    ValueError
        Where the block holds a NaN or, for a float file, an infinity.
    """
    channels, n, width = block.shape
    rows = np.empty((n, width, channels), depth.dtype)
    strip = _strip(channels, width)
    work = np.empty((channels, min(strip, n), width), np.float32)
    for y in range(0, n, strip):
        part = block[:, y : y + strip]
        if not depth.levels:
            if not np.isfinite(part).all():
                raise ValueError("non-finite samples in the result")
            rows[y : y + strip] = part.transpose(1, 2, 0)
            continue
        scaled = work[:, : part.shape[1]]
        np.multiply(part, np.float32(depth.levels), out=scaled)
        np.rint(scaled, out=scaled)
        np.clip(scaled, 0, depth.levels, out=scaled)
        try:
            with np.errstate(invalid="raise"):  # the cast itself tells of a NaN, at no cost
                whole = scaled.astype(depth.dtype)
        except FloatingPointError:
            raise ValueError("non-finite samples in the result") from None
        if depth.shift:
            whole <<= depth.shift
        for c in range(channels):  # a plane at a time: numpy writes strided bytes faster than it permutes axes
            rows[y : y + strip, :, c] = whole[c]
    return rows


def fault(rows: np.ndarray, channels: int, first_row: int) -> str | None:
    """Say what is wrong with float rows, or None: samples must be finite and nominally in [0, 1]."""
    low, high = float(rows.min()), float(rows.max())  # NaN comes through both
    if not np.isfinite(low + high):
        bad = ~np.isfinite(rows).all(axis=(1, 2))
        if bad.any():
            return f"non-finite samples in row {first_row + int(bad.argmax())}"
    colours = rows[:, :, :channels]
    peak = max(abs(float(colours.min())), abs(float(colours.max())))
    return f"float samples reach {peak:g}; scale them to [0, 1]" if peak > FLOAT_LIMIT else None


def _strip(channels: int, width: int) -> int:
    return max(1, STRIP // (channels * width))
