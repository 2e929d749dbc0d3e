"""Cut a stream of blocks into windows and tiles with a halo, and put the results back.

    frame rows      |-------- core --------|-------- core --------|
    window    halo |<===== read =====>| halo                           halo rows are context only:
                              halo |<===== read =====>| halo           they are cropped, never blended

Cores start at multiples of the model's grid, so a tile sees its pixels at the phase the whole picture
would give them, and with a halo of the receptive radius the result equals the whole-image result. At the
edge of a frame there is no halo: the model meets the same edge that it would meet in the whole picture.
"""

from __future__ import annotations

from collections import deque
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


def grid(height: int, width: int, halo: int, multiple: int = 1, area: int = 1 << 20) -> tuple[list[Cut], list[Cut]]:
    """Rows and columns that cut (height, width) into tiles of at most about `area` pixels, halo included.

    Of all grids whose tiles are small enough the one that reads the fewest pixels is taken, so a picture
    a little above `area` becomes two halves, not four quarters.
    """
    halo = -(-halo // multiple) * multiple  # as `cuts` rounds it
    area = max(area, (2 * halo + multiple) ** 2 * 2)  # below this, tiles would be all halo
    best: tuple[float, list[Cut], list[Cut]] | None = None
    for count in range(1, max(1, -(-width // (halo + multiple))) + 1):
        columns = cuts(width, -(-width // (count * multiple)) * multiple, halo, multiple)
        across = sum(cut.high - cut.low for cut in columns)
        if best is not None and float(across) * height >= best[0]:
            break  # more columns only read more
        widest = max(cut.high - cut.low for cut in columns)
        tallest = area // widest - 2 * halo
        if area // widest >= height:
            tallest = height
        if tallest < min(multiple, height):
            continue
        rows = cuts(height, tallest, halo, multiple)
        read = float(across) * sum(cut.high - cut.low for cut in rows)
        if best is None or read < best[0]:
            best = (read, rows, columns)
    assert best is not None, "the last count gives tiles of one grid step, which always fit"
    return best[1], best[2]


def peek(blocks: Iterable[np.ndarray], rows: int) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """The first rows (C, rows, W) of blocks (C, n, W), fewer where there are no more; and all blocks, to go on."""
    source, held, seen = iter(blocks), deque[np.ndarray](), 0
    while seen < rows and (block := next(source, None)) is not None:
        held.append(block)
        seen += block.shape[1]

    def everything() -> Iterator[np.ndarray]:
        while held:
            yield held.popleft()
        yield from source

    first = held[0][:, :rows]
    if len(held) > 1:
        last = held[-1][:, : rows - seen + held[-1].shape[1]]
        first = np.concatenate([*list(held)[:-1], last], axis=1)
    return first, everything()


def windows(blocks: Iterable[np.ndarray], rows: list[Cut]) -> Iterator[tuple[Cut, np.ndarray]]:
    """Regroup consecutive blocks (C, n, W) of ONE frame into the windows of `rows`.

    Yields (cut, window) with window (C, cut.high - cut.low, W). What is held is one window, one block, and
    the rows that the next window reads again. Raises ValueError if the blocks end early.
    """
    source = iter(blocks)
    block: np.ndarray | None = next(source, None)
    first = 0  # the row of the frame at which `block` starts
    tail: np.ndarray | None = None  # rows before `first` that the next window reads again
    for cut, following in zip(rows, [*rows[1:], None], strict=True):
        if block is not None and first <= cut.low and cut.high <= first + block.shape[1]:
            yield cut, block[:, cut.low - first : cut.high - first]  # the usual picture is one block: no copy
            continue
        pieces = [] if tail is None else [tail]
        window: np.ndarray | None = None
        filled = 0
        while filled < cut.high - cut.low:
            if pieces:
                piece = pieces.pop()
            elif block is None:
                raise ValueError(f"the data end at row {first} of {rows[-1].stop}")
            else:
                piece = block[:, max(0, cut.low + filled - first) : cut.high - first]
            if window is None:
                window = np.empty((piece.shape[0], cut.high - cut.low, piece.shape[2]), np.float32)
            window[:, filled : filled + piece.shape[1]] = piece
            filled += piece.shape[1]
            del piece
            while block is not None and first + block.shape[1] <= cut.low + filled < rows[-1].stop:
                first += block.shape[1]
                block = None  # let go of it before the next one is read
                block = next(source, None)
        assert window is not None
        tail = None
        yield cut, window
        if following is not None and following.low < first:
            tail = window[:, following.low - cut.low : first - cut.low].copy()  # a view would keep all of it
        del window


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
