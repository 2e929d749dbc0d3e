"""At what level a model hears a recording: near the one that its card names, whatever the recorder was set to.

A net that was trained on voices of some levels does worse on fainter and on louder ones, so a recording is brought
near the middle of them, and its output back. The gain is by all that was heard so far, or by a segment alone
where a second of that, or more, stands out: before the first word nobody has spoken. It follows in leaps: every
change is a seam, and what a model makes of two near levels is all but the same.
"""

from __future__ import annotations

import numpy as np

from denoise_cli.metrics.floor import LOWEST, LevelMeter, SegmentLevels

LOUD = 0.9  # of the frames lie below what counts as the level of a recording
WORDS = 1.0  # seconds that must be as loud to count as a voice: a door that slams is over sooner
STANDS_OUT = 10.0  # dB above all that was heard so far
LEAP = 3.0  # dB; a smaller change is not worth a seam
MOST = 40.0  # dB up: beyond it there is nothing but noise


class Hearing:
    """The gain for the segments of one recording, which come in order; one for channels that go together."""

    def __init__(self, rate: int, level: float):
        """`level` is the card's, in dB of full scale."""
        self._heard, self._level, self._gain = SegmentLevels(rate), level, 0.0

    def gain(self, core: np.ndarray) -> float:
        """The factor for the next segment, whose core is (C, n)."""
        self._heard.add(core)
        heard, words = self._heard.so_far.level(LOUD), _words(self._heard.alone)
        if (spoken := _words(self._heard.so_far)) > LOWEST:  # less than `heard` where a gate has emptied the pauses
            heard = min(heard, spoken)
        if words > heard + STANDS_OUT:
            heard = words
        if heard > LOWEST:
            wanted = min(self._level - heard, MOST)
            if abs(wanted - self._gain) > LEAP:
                self._gain = wanted
        return float(10 ** (self._gain / 20))


def _words(meter: LevelMeter) -> float:
    """The level of what may be a voice, in dB of full scale: it lasts a second or, where that is less, a tenth."""
    return meter.loudest(min(WORDS, (1 - LOUD) * meter.seconds))
