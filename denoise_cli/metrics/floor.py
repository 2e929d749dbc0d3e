"""How much noise one recording carries, with nothing to compare it to: `LevelMeter`."""

from __future__ import annotations

import math

import numpy as np

FRAME = 0.05  # seconds: shorter than the gaps between words, longer than the period of any voice
QUIETEST = 0.1  # the share of the frames that lies below what counts as the floor
LOWEST = -120.0  # dB of full scale: what digital silence reads as
STEP = 0.1  # dB, resolution of the histogram
BLANKS = 0.25  # share of frames without a single step in them from which a recording counts as silent between words


class LevelMeter:
    """Estimates the noise floor of a recording that arrives in pieces; memory does not grow.

    Call ``add`` with each (C, n, 1) block and ask ``floor`` at any time. In the spirit of R. Martin, "Noise power
    spectral density estimation based on optimal smoothing and minimum statistics", IEEE Trans. SAP 9(5),
    2001: speech and music pause, noise does not, so the floor is what the quietest tenth of all frames of
    50 ms reaches. Kept as a histogram in steps of 0.1 dB, so that the blocks may be of any size.

    The level is the root mean square of the frame, its mean taken away, in dB of full scale: a square wave between
    -1 and 1 reads 0 dB, a sine of amplitude 1 reads -3 dB. Frames without a sound at all, as an editor
    leaves them before and after a recording, say nothing of its noise and are left out, unless a quarter
    is like that: then a gate has emptied the pauses.

    Reads too high where nothing ever pauses, and a quarter of a dB too low in white noise, the lower edge of
    whose scatter it takes.
    """

    def __init__(self, rate: int) -> None:
        self._rate, self._frame = rate, max(1, round(FRAME * rate))  # samples
        self._counts = np.zeros(round(-LOWEST / STEP) + 1, np.int64)  # frames at LOWEST, LOWEST + STEP, ... 0 dB
        self._blank = 0  # frames in which nothing moves
        self._rest: np.ndarray | None = None  # (C, fewer than a frame), waiting for the next block

    def add(self, block: np.ndarray) -> None:
        """Take the next (C, n, 1) float32 block; n may be anything, C stays the same."""
        if block.ndim != 3 or block.shape[2] != 1:
            raise ValueError(f"a level meter takes (C, n, 1) blocks, not {block.shape}")
        x = block[:, :, 0]
        if self._rest is not None:
            x = np.concatenate([self._rest, x], axis=1)
        whole = x.shape[1] // self._frame * self._frame
        self._rest = x[:, whole:].copy()
        if whole and x.shape[0]:
            self._count(x[:, :whole].reshape(x.shape[0], -1, self._frame))

    def floor(self) -> float:
        """The noise floor in dB of full scale, from -120 for silence to 0; -120 where no whole frame was seen."""
        if self._blank > BLANKS * (int(self._counts.sum()) + self._blank):
            return LOWEST
        return self.level(QUIETEST)

    def level(self, share: float) -> float:
        """What that share of the frames with a sound lies below, in dB of full scale; -120 without any."""
        heard = int(self._counts.sum())
        if heard == 0:
            return LOWEST
        return _decibels(int(np.searchsorted(np.cumsum(self._counts), share * heard)))

    @property
    def seconds(self) -> float:
        """Of all frames, with a sound or without."""
        return (int(self._counts.sum()) + self._blank) * self._frame / self._rate

    def loudest(self, seconds: float) -> float:
        """What so many seconds of frames reach or exceed, in dB of full scale; -120 where less has a sound."""
        below = int(self._counts.sum()) - max(1, math.ceil(seconds * self._rate / self._frame))
        if below < 0:
            return LOWEST
        return _decibels(int(np.searchsorted(np.cumsum(self._counts), below, side="right")))

    def _count(self, frames: np.ndarray) -> None:
        """(C, N, L) -> one more in the histogram for each of the N frames that holds a sound."""
        # A mean in float64 is that of a constant frame to the bit; what is left after it float32 holds well.
        moved = frames - frames.mean(axis=2, keepdims=True, dtype=np.float64).astype(np.float32)
        power = np.einsum("cnl,cnl->cn", moved, moved).astype(np.float64).mean(axis=0) / frames.shape[2]
        heard = power[power > 0]
        self._blank += len(power) - len(heard)
        decibels = 10 * np.log10(np.maximum(heard, 10 ** (LOWEST / 10)))
        places = np.rint((np.minimum(decibels, 0) - LOWEST) / STEP).astype(np.intp)
        self._counts += np.bincount(places, minlength=len(self._counts))


def _decibels(place: int) -> float:
    """What a place of the histogram stands for."""
    return round(LOWEST + STEP * place, 1)


class SegmentLevels:
    """The levels of a recording that comes in segments: of all that was heard so far, and of the last one alone."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self.so_far, self.alone = LevelMeter(rate), LevelMeter(rate)

    def add(self, segment: np.ndarray) -> None:
        """Take the next (C, n)."""
        block = np.ascontiguousarray(segment)[:, :, None]
        self.alone = LevelMeter(self._rate)
        for meter in (self.so_far, self.alone):
            meter.add(block)


def noise_level(x: np.ndarray, rate: int) -> float:
    """The noise floor of a whole (C, T) recording in dB of full scale; see `LevelMeter`."""
    meter = LevelMeter(rate)
    meter.add(x[:, :, None])
    return meter.floor()
