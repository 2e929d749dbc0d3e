"""How far noise in a recording is lowered where nobody says: to 56 dB below the voice, by 8 to 52 dB.

A model that looks for noise finds some in every recording: the room of a good one, breath, the sharp end of an s.
What lies that far below the voice is not heard beside it, so most of it may stay, and with it what was voice after
all; what is louder goes as far as always. The voice is measured over all that was heard so far, or over a segment
where it is louder; the noise over the last and the next half second, so that a bark in a quiet room goes down like
one on a street.
"""

from __future__ import annotations

import numpy as np

from denoise_cli.metrics.floor import LOWEST, SegmentLevels
from denoise_cli.upper_band import FRAME, energies, frame_centres, frame_count, glided, running_quantile

BELOW = 56.0  # dB below the voice where noise is left alone; measured: less costs clean voices, more noisy ones
LEAST, MOST = 8.0, 52.0  # dB
VOICE = 0.9  # of the frames of what the model kept lie below what counts as the level of the voice
NOISE = 70  # per cent of the frames of what it took, likewise: a sibilant is shorter than the rest, a bark is not
GLIDE = 1.0  # seconds over which a new level of the voice takes over
FAINTEST = 1e-12  # power of digital silence, -120 dB


class Gentle:
    """The share of what a model took that stays, along one recording whose segments come in order.

    One for channels that go together.
    """

    def __init__(self, rate: int):
        self._rate, self._kept = rate, SegmentLevels(rate)
        self._voice: float | None = None  # dB of full scale, up to the last segment

    def left(self, x: np.ndarray, y: np.ndarray, core: slice) -> np.ndarray:
        """Input and output of a segment with its context, (C, N) -> (n,) float32 in [0, 1] for its core."""
        self._kept.add(y[:, core])
        voice = max(meter.level(VOICE) for meter in (self._kept.so_far, self._kept.alone))
        before = voice if self._voice is None else self._voice
        self._voice = None if voice == LOWEST else voice  # silence before the first word is no level to glide from
        frames = frame_count(x.shape[1], self._rate)
        taken = x - y
        taken -= taken.mean(axis=1, keepdims=True)  # an offset is not noise
        power = energies(taken, self._rate, frames).mean(axis=0, keepdims=True) / (FRAME * self._rate)
        noise = 10 * np.log10(running_quantile(power, NOISE)[0] + FAINTEST)
        centres = frame_centres(frames, self._rate)
        heard = np.interp(centres, [core.start, core.start + GLIDE * self._rate], [before, voice])
        lowered = np.clip(noise - (heard - BELOW), LEAST, MOST)
        return glided(10 ** (-lowered / 20), self._rate, x.shape[1])[core]
