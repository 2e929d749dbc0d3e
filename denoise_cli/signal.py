"""What flows through the package: a file is a stream of blocks along its first axis.

    Source --blocks()--> (C, n, W) float32 ... --write()--> Sink --commit()--> one whole file

A thumbnail is one block; a 900-megapixel scan is many, and takes no more memory than one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, Protocol, runtime_checkable

import numpy as np

Kind = Literal["image", "audio", "table", "series"]


@dataclass(frozen=True)
class Header:
    """What is known of a file before its first block is read."""

    kind: Kind
    channels: int  # signal channels in the blocks; alpha is not one of them. Of a table: columns that are modelled
    length: int | None  # rows of ONE frame (pictures), samples (audio), rows (tables); None: unknown until the end
    width: int = 1  # columns of a picture; 1 for audio
    frames: int = 1  # pages or animation frames; a block never crosses from one into the next
    groups: tuple[tuple[int, ...], ...] = ((0,),)  # channels that belong together: ((0, 1, 2),) for RGB
    step: float = 0.0  # distance of two neighbouring levels in block units: 1/255, 1/65535; 0 for float
    rate: int | None = None  # samples per second, audio only
    format: str = ""  # the container: "png", "jpeg", "tiff", "wav", ...
    white: bool = False  # pictures: a model for white noise is the better one; no source knows, sight.py looks

    @classmethod
    def picture(cls, shape: tuple[int, ...], step: float = 0.0) -> Header:
        """Of an array (C, H, W): three channels are taken for RGB, any others each for itself."""
        channels, height, width = shape
        groups = ((0, 1, 2),) if channels == 3 else tuple((c,) for c in range(channels))
        return cls("image", channels, height, width, groups=groups, step=step)

    def stored(self, x: np.ndarray) -> np.ndarray:
        """What reading back gives after writing: rounded to steps and clipped; a float file (step 0) keeps all."""
        if not self.step:
            return x
        levels = np.float32(round(1 / self.step))
        low, high = (-levels, levels - 1) if self.kind == "audio" else (np.float32(0), levels)
        return (x * levels).round().clip(low, high) / levels

    @property
    def size(self) -> int | None:
        """Pixels or samples in the whole file, all frames together, channels not counted."""
        return None if self.length is None else self.frames * self.length * self.width


@dataclass(frozen=True)
class Signal:
    """A whole file in memory.

    data: float32, (C, H, W) for pictures in [0, 1], (C, T, 1) for audio in [-1, 1], (columns, rows, 1) for tables
    and series in their own units, NaN where a value is missing.
    Frames of an animation stand below each other along H.
    """

    data: np.ndarray
    header: Header
    extras: Mapping[str, Any] = field(default_factory=dict)  # what must survive: EXIF, ICC, tags, ...


@runtime_checkable
class Source(Protocol):
    """An open input. ``header`` is there at once; ``blocks`` may be read once, in order."""

    header: Header
    file: BinaryIO  # seekable; a decoder reads the same descriptor, so use pread to look at its bytes

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield (C, n, W) float32 blocks, consecutive along the second axis, none crossing a frame.

        Raises InputError where the file is damaged or holds non-finite samples; NaN is a missing value in tables.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class Sink(Protocol):
    """An output in the making. Nothing stands at its final path until ``commit``."""

    def write(self, block: np.ndarray) -> None:
        """Append one (C, n, W) float32 block; values are clipped and rounded to the file's own depth."""
        ...

    def commit(self) -> None: ...

    def discard(self) -> None:
        """Drop what was written and leave no trace; safe to call after ``commit``."""
        ...


def gather(source: Source) -> Signal:
    """Read a whole source into memory: data is (C, frames * H, W) float32."""
    blocks = list(source.blocks())
    data = blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)
    return Signal(data, source.header)
