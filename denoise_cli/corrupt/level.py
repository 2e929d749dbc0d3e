"""The active level of a recording: how loud it is where it is not silent."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

FRAME = 0.032  # seconds
BELOW = 35.0  # dB under the loudest frame; what is quieter is a pause
STEP = 0.01  # dB; how finely the powers of frames are told apart
FLOOR = -240.0  # dB; below it is digital silence, whatever the depth
CEILING = 160.0  # dB; float files may hold more than full scale


class ActiveLevelMeter:
    """Root mean square over the frames of 32 ms that are less than 35 dB under the loudest.

    In the spirit of ITU-T P.56: pauses do not count, so that silence before, between or after the words
    changes nothing. The power of a frame is the mean over its channels. Frames are counted in a histogram in
    steps of 0.01 dB: memory is constant, and whole numbers add up alike however the stream is cut.
    """

    def __init__(self, rate: int):
        self._frame = max(1, round(rate * FRAME))
        self._samples = np.zeros(round((CEILING - FLOOR) / STEP) + 1, np.int64)  # by power of their frame
        self._rest: np.ndarray | None = None
        self.length = 0  # samples seen, channels not counted

    def add(self, block: np.ndarray) -> None:
        """Hear a (C, n) or (C, n, 1) block."""
        x = block.reshape(block.shape[0], -1)
        self.length += x.shape[1]
        if self._rest is not None:
            x = np.concatenate([self._rest, x], axis=1)
        count = x.shape[1] // self._frame
        whole = x[:, : count * self._frame].reshape(len(x), count, self._frame)
        self._count(np.square(whole, dtype=np.float64).mean(axis=(0, 2)), self._frame)
        self._rest = x[:, count * self._frame :].copy()

    def _count(self, power: np.ndarray, samples: int) -> None:
        heard = power[power > 10 ** (FLOOR / 10)]
        bins = np.rint((10 * np.log10(heard) - FLOOR) / STEP).astype(np.int64)
        np.add.at(self._samples, np.minimum(bins, len(self._samples) - 1), samples)

    def rms(self) -> float:
        """The active level, full scale = 1; 0.0 for silence. After the last block only."""
        if self._rest is not None and self._rest.size:
            self._count(np.square(self._rest, dtype=np.float64).mean()[None], self._rest.shape[1])
            self._rest = None
        (heard,) = np.nonzero(self._samples)
        if len(heard) == 0:
            return 0.0
        active = heard[heard >= heard[-1] - round(BELOW / STEP)]
        samples = self._samples[active]
        return math.sqrt(float(samples @ 10 ** ((FLOOR + active * STEP) / 10)) / float(samples.sum()))


def active_level(blocks: Iterable[np.ndarray], rate: int) -> float:
    """Measure a whole stream of (C, n, 1) blocks; see ``ActiveLevelMeter``."""
    meter = ActiveLevelMeter(rate)
    for block in blocks:
        meter.add(block)
    return meter.rms()
