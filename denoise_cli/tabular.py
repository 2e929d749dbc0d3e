"""Tables and series through the model: rows in blocks, or long segments of time that overlap.

    table     |--- rows ---|--- rows ---|              a row needs no other
    series    |-------- core --------|-------- core --------|
                  |<====== read ======>| halo          context, cropped

The graph takes and gives the columns' own units and knows a missing value by its NaN. What happens to the known
values is decided here: a file that holds missing values is imputed, and what is known stays as it is; one that
holds none is denoised, and every value is the model's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from denoise_cli.card import ModelCard
from denoise_cli.errors import InputError
from denoise_cli.segments import cut
from denoise_cli.session import Session
from denoise_cli.signal import Header
from denoise_cli.workers import Options, Tile, Workers

CORE = 1 << 16  # rows of a segment of a series, about


def imputes(options: Options, has_missing: bool) -> bool:
    """Whether only missing values are replaced: as asked for, or where there are any."""
    return has_missing if options.impute is None else options.impute


def imputed(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The model's values where one is missing, else the file's own."""
    return np.where(np.isnan(x), y, x)


def rows(
    blocks: Iterable[np.ndarray], header: Header, workers: Workers, options: Options, impute: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (input, output) of consecutive rows, (F, n, 1) each; no output holds a NaN."""
    session = workers.session(header)
    if header.channels != session.card.channels:
        raise InputError(f"has {header.channels} columns, and the model takes {session.card.channels}")
    pieces = _whole(blocks) if header.kind == "table" else _overlapping(blocks, session.card)
    ahead: deque[_Piece] = deque()
    for piece in pieces:
        piece.submit(session, workers)
        ahead.append(piece)
        del piece
        if len(ahead) > len(workers.threads):
            yield ahead.popleft().join(options.strength, impute)
    while ahead:
        yield ahead.popleft().join(options.strength, impute)


def _whole(blocks: Iterable[np.ndarray]) -> Iterator[_Piece]:
    for block in blocks:
        x = block[:, :, 0]
        yield _Piece(x, x.T, slice(0, x.shape[1]), transposed=True)


def _overlapping(blocks: Iterable[np.ndarray], card: ModelCard) -> Iterator[_Piece]:
    multiple = card.multiple
    halo = -(-card.halo // multiple) * multiple  # so that a segment starts on the model's grid
    length = max(CORE // multiple * multiple, multiple, halo)
    for left, core, right in cut(blocks, length, halo):
        x = np.concatenate([left, core, right], axis=1)
        # What is beyond the end is missing, as any other gap is.
        padded = np.pad(x, ((0, 0), (0, -x.shape[1] % multiple)), constant_values=np.nan)
        yield _Piece(core, padded, slice(left.shape[1], left.shape[1] + core.shape[1]))


@dataclass
class _Piece:
    """Some rows on their way through the session."""

    core: np.ndarray  # (F, n), what is to be answered
    x: np.ndarray  # what the model sees: (n, F), or (F, n) with context
    keep: slice  # where the core lies in it
    transposed: bool = False
    y: np.ndarray | None = None

    def submit(self, session: Session, workers: Workers) -> None:
        self._tile = Tile(session, np.ascontiguousarray(self.x), self._deliver)
        workers.submit(self._tile)

    def _deliver(self, y: np.ndarray) -> None:
        self.y = (y.T if self.transposed else y)[:, self.keep]

    def join(self, strength: float, impute: bool) -> tuple[np.ndarray, np.ndarray]:
        """The core's input and output, (F, n, 1) each; waits for the model."""
        self._tile.done.result()
        assert self.y is not None, "the tile is done"
        y = self.y
        if impute:
            y = imputed(self.core, y)
        elif strength < 1:
            y = np.where(np.isnan(self.core), y, self.core + np.float32(strength) * (y - self.core))
        return self.core[:, :, None], np.ascontiguousarray(y)[:, :, None]
