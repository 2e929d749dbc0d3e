"""The treble of voices that a model took for noise goes back: what it took above 4 kHz and nothing below explains.

    heard - said = taken -+- below 4 kHz ----------- how far above its floor? -+
                          |                                                    v
                          +- above 4 kHz - how far above its floor, and above that? - * share - back to said

Noise that comes and goes does so at low and at high frequencies alike. What a model takes for a moment above 4 kHz
alone, while there is a voice, are the consonants of somebody brighter than those that it learnt from.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from denoise_cli.upper_band import energies, frame_count, glided, resampled, running_quantile

BELOW = 8000  # samples a second that hold all below 4 kHz
FLOOR = 30  # per cent of the frames around lie below what counts as the floor of what is taken
ABOVE = 4.0  # times the floor, and the rise below: as much may be taken
VOICE = 0.25  # of the energy that is taken below; where more is kept there is a voice ...
NEAR = 7  # ... and that many frames around


def spared(heard: np.ndarray, said: np.ndarray, rate: int) -> np.ndarray:
    """What a model heard and said, (C, n) of channels that go together -> (C, n), with the treble back."""
    if rate <= BELOW:
        return said
    length, frames, taken = heard.shape[1], frame_count(heard.shape[1], rate), heard - said
    low = resampled(np.concatenate([taken, said]), rate, BELOW)
    high = taken - resampled(low[: len(taken)], BELOW, rate)[:, :length]
    treble = energies(high, rate, frames).sum(0, keepdims=True) + 1e-12
    # First differences of samples: rumble, which no voice has, weighs little.
    both = energies(np.diff(low, prepend=0), BELOW, frames) + 1e-12
    bass, voice = both[: len(taken)].sum(0, keepdims=True), both[len(taken) :].sum(0, keepdims=True)
    rise = np.maximum(1, bass / running_quantile(bass, FLOOR))
    share = np.sqrt(np.minimum(1, ABOVE * running_quantile(treble, FLOOR) * rise / treble))
    voiced = sliding_window_view(np.pad(voice > VOICE * bass, ((0, 0), (NEAR, NEAR))), 2 * NEAR + 1, axis=1)
    share[~np.any(voiced, axis=2)] = 1
    return said + high * (1 - glided(share[0], rate, length))
