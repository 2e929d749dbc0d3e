"""Another sample rate, block by block. The only part of media that knows soxr."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from denoise_cli.errors import BackendError

try:
    import soxr
except ImportError as error:
    raise BackendError("resampling needs soxr, which is not installed; run: pip install soxr") from error


class Resampler:
    """(n, C) float32 frames in, resampled ones out; exactly round(n * new / old), one at least, none delayed."""

    def __init__(self, old: int, new: int, channels: int):
        self.step = max(256, min(1 << 16, (1 << 16) * old // new))  # frames to push at a time, lest a piece be huge
        self._ratio = Fraction(new, old)
        self._stream = soxr.ResampleStream(old, new, channels, dtype="float32", quality="VHQ")
        self._empty = np.empty((0, channels), np.float32)
        self._pushed = self._given = 0

    def push(self, frames: np.ndarray) -> np.ndarray:
        self._pushed += len(frames)
        return self._counted(self._stream.resample_chunk(np.ascontiguousarray(frames)))

    def finish(self) -> np.ndarray:
        """Return what is still inside, or what rounding leaves of it."""
        rest = self._stream.resample_chunk(self._empty, last=True)
        wanted = max(min(1, self._pushed), round(self._pushed * self._ratio))
        missing = max(0, wanted - self._given)
        return self._counted(np.pad(rest[:missing], ((0, missing - len(rest[:missing])), (0, 0))))

    def _counted(self, frames: np.ndarray) -> np.ndarray:
        self._given += len(frames)
        return frames
