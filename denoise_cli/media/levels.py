"""Samples on their way into a file of whole numbers: dithered if asked, rounded to nearest, limited."""

from __future__ import annotations

import numpy as np


def to_levels(frames: np.ndarray, bits: int, dither: np.random.Generator | None = None) -> np.ndarray:
    """Turn (n, C) float32 in [-1, 1] into int32 levels of `bits`, shifted up so that full scale is 2^31.

    `dither` adds noise of a triangular density two steps wide before the rounding, which makes the error a noise
    that knows nothing of the signal: its mean is 0 and its variance a quarter of a step squared, always (Lipshitz,
    Wannamaker and Vanderkooy, "Quantization and Dither", 1992). It is drawn frame by frame, so that the blocks in
    which a recording comes change nothing.

    Raises
    ------
    ValueError
        Where a sample is NaN or infinite.
    """
    check(frames)
    top = 1 << bits - 1
    # float32 holds whole numbers up to 2^24, and scaling by a power of two is exact; fractions need more.
    exact = np.float32 if dither is None and bits <= 24 else np.float64
    scaled = np.multiply(frames, exact(top), dtype=exact)
    if dither is not None:
        scaled += dither.random((*frames.shape, 2), np.float32).sum(axis=2, dtype=exact) - 1
    np.rint(scaled, out=scaled)
    np.clip(scaled, -top, top - 1, out=scaled)
    return scaled.astype(np.int32) << 32 - bits


def check(frames: np.ndarray) -> None:
    if frames.size and not (np.isfinite(frames.min()) and np.isfinite(frames.max())):  # NaN comes through both
        raise ValueError("non-finite samples in the result")
