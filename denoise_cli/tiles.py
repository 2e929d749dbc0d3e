"""Cut a stream of blocks into windows and tiles with a halo, and put the results back.

    frame rows      |-------- core --------|-------- core --------|
    window    halo |<===== read =====>| halo                           halo rows are context only:
                              halo |<===== read =====>| halo           they are cropped, never blended

Cores start at multiples of the model's grid, so a tile sees its pixels at the phase the whole picture
would give them, and with a halo of the receptive radius the result equals the whole-image result. At the
edge of a frame there is no halo: the model meets the same edge that it would meet in the whole picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cut:
    """One interval of an axis: the core [start, stop) and the context read around it [low, high)."""

    start: int
    stop: int
    low: int
    high: int

    @property
    def keep(self) -> slice:
        """Where the core lies within what was read."""
        return slice(self.start - self.low, self.stop - self.low)

    @property
    def read(self) -> slice:
        return slice(self.low, self.high)


def cuts(length: int, core: int, halo: int, multiple: int = 1) -> list[Cut]:
    """Cut [0, length) into nearly equal cores of at most `core`, on the grid of `multiple`.

    Each is read with up to `halo` of context on either side, rounded up to the grid on the left so
    that reading starts on it too.
    """
    if length <= 0:
        return []
    halo = -(-halo // multiple) * multiple
    # What fits is one cut, on the grid or off it.
    count = 1 if length <= core else -(-length // max(multiple, core // multiple * multiple))
    each = -(-length // (count * multiple)) * multiple
    starts = range(0, length, each)
    return [
        Cut(start, min(start + each, length), max(0, start - halo), min(length, start + each + halo))
        for start in starts
    ]


def grid(
    height: int, width: int, halo: int, multiple: int = 1, area: int = 1 << 20
) -> tuple[list[Cut], list[Cut]]:
    """Rows and columns that cut (height, width) into tiles of at most about `area` pixels, halo included.

    Of all grids whose tiles are small enough the one that reads the fewest pixels is taken, so a picture
    a little above `area` becomes two halves, not four quarters.
    """
    area = max(area, (2 * halo + multiple) ** 2 * 2)  # below this, tiles would be all halo
    best: tuple[float, list[Cut], list[Cut]] | None = None
    for count in range(1, max(1, -(-width // (halo + multiple))) + 1):
        columns = cuts(width, -(-width // (count * multiple)) * multiple, halo, multiple)
        widest = max(cut.high - cut.low for cut in columns)
        tallest = area // widest - 2 * halo
        if area // widest >= height:
            tallest = height
        if tallest < min(multiple, height):
            continue
        rows = cuts(height, tallest, halo, multiple)
        read = float(sum(c.high - c.low for c in columns)) * sum(r.high - r.low for r in rows)
        if best is None or read < best[0]:
            best = (read, rows, columns)
    assert best is not None, "the last count gives tiles of one grid step, which always fit"
    return best[1], best[2]


def windows(blocks: Iterable[np.ndarray], rows: list[Cut]) -> Iterator[tuple[Cut, np.ndarray]]:
    """Regroup consecutive blocks (C, n, W) of ONE frame into the windows of `rows`.

    Yields (cut, window) with window (C, cut.high - cut.low, W). No more than one window and one block
    is held. Raises ValueError if the blocks end early.
    """
    held: list[np.ndarray] = []  # consecutive pieces; together they are rows [first, last)
    first = last = 0
    source = iter(blocks)
    for cut in rows:
        while last < cut.high:
            block = next(source, None)
            if block is None:
                raise ValueError(f"the data end at row {last} of {rows[-1].stop}")
            held.append(block)
            last += block.shape[1]
        window = held[0] if len(held) == 1 else np.concatenate(held, axis=1)
        yield cut, window[:, cut.low - first : cut.high - first]
        # What the next window reads again is all that stays.
        later = [other.low for other in rows if other.start > cut.start]
        keep = later[0] if later else cut.high
        held, first = [window[:, keep - first : last - first]], keep


def pad(x: np.ndarray, multiple: int) -> np.ndarray:
    """Mirror (..., H, W) at its bottom and right up to the next multiple; crop the result to undo it."""
    height, width = x.shape[-2:]
    down, right = -height % multiple, -width % multiple
    if not down and not right:
        return x
    if down > height or right > width:  # smaller than what is added: mirrored more than once
        return np.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, down), (0, right)], mode="symmetric")
    y = np.empty((*x.shape[:-2], height + down, width + right), x.dtype)  # a third of np.pad's time
    y[..., :height, :width] = x
    y[..., :height, width:] = x[..., ::-1][..., :right]
    y[..., height:, :] = y[..., height - down : height, :][..., ::-1, :]
    return y
