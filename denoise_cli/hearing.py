"""At what level a model hears a recording: near the one that its card names, whatever the recorder was set to.

A net that was trained on voices of some levels does worse on fainter and on louder ones, so a recording is brought
near the middle of them, and its output back. The gain is by all that was heard so far, or by the segment itself
where that is louder: before the first word nobody has spoken. Pauses do not count. It follows in leaps: every
change is a seam, and what a model makes of two near levels is all but the same.
"""

from __future__ import annotations

import numpy as np

from denoise_cli.metrics.floor import LOWEST, LevelMeter

LOUD = 0.9  # of the frames lie below what counts as the level of a recording
LEAP = 3.0  # dB; a smaller change is not worth a seam
MOST = 40.0  # dB up: beyond it there is nothing but noise


class Hearing:
    """The gain for the segments of one recording, which come in order; one for channels that go together."""

    def __init__(self, rate: int, level: float):
        """`level` is the card's, in dB of full scale."""
        self._rate, self._meter, self._level, self._gain = rate, LevelMeter(rate), level, 0.0

    def gain(self, core: np.ndarray) -> float:
        """The factor for the next segment, whose core is (C, n)."""
        block, alone = np.ascontiguousarray(core)[:, :, None], LevelMeter(self._rate)
        self._meter.add(block)
        alone.add(block)
        if (heard := max(meter.active_level(LOUD) for meter in (self._meter, alone))) > LOWEST:
            wanted = min(self._level - heard, MOST)
            if abs(wanted - self._gain) > LEAP:
                self._gain = wanted
        return float(10 ** (self._gain / 20))
