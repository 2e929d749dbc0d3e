"""How much noise one picture carries, with nothing to compare it to: `NoiseMeter` and `noise_std`."""

from __future__ import annotations

import math

import numpy as np

from denoise_cli.metrics.patches import PATCH, clipped, coefficients, frequencies, median, sample, surviving
from denoise_cli.metrics.pictures import STEPS

FLATTEST = 256  # of them kept; about 6 % of one block, fewer of many
CLIPPED = 0.6  # share of pixels at 0 or 1 above which a patch says nothing of its noise
BLANK = 0.75  # share above which it says that there is none: noise around a limit clips about half
BLANKS = 0.25  # share of blank patches from which the picture counts as free of noise


class NoiseMeter:
    """Estimates the noise of a picture that arrives in pieces; memory does not grow.

    Call ``add`` with each (C, n, W) block and ask ``std`` at any time. The method is that of
    N. Ponomarenko, V. Lukin, M. Zriakhov, A. Kaarna, J. Astola, "An automatic approach to lossy
    compression of AVIRIS images", IGARSS 2007, as analysed by M. Colom and A. Buades, IPOL 3, 2013:

    1. take the 8x8 discrete cosine transform of many patches;
    2. keep the patches with the least energy in the LOW frequencies: those are the flat ones;
    3. read the variance of the noise off their HIGH frequencies, each averaged over the patches, by the
       median over the frequencies.

    White noise has independent low and high frequencies, so that choosing by the first does not bias
    the second; and the flattest patches of two blocks together are among the flattest of each, which
    is why pieces merge without loss.

    Added here, because stored pictures clip: noise around a dark or a bright area is cut off at 0 or 1
    and looks weaker than it is. The share of cut pixels tells by how much, see ``surviving``.

    Where nearly the whole picture lies at 0 or 1, up to a sixth too low: clipped noise is no longer Gaussian.
    Blind to noise coarser than about three pixels (resampled or demosaiced pictures read too low), and
    fooled by texture that fills every patch (reads too high).
    """

    def __init__(self) -> None:
        self._seen = self._blank = 0  # patches
        self._flatness = np.empty(0, np.float32)  # of the kept patches, least energy first is best
        self._high = np.empty((0, len(frequencies()[1])), np.float32)  # their high-frequency energies
        self._short: np.ndarray | None = None  # rows too few for a patch, waiting for the next block

    def add(self, block: np.ndarray) -> None:
        """Look at one (C, n, W) float32 block in [0, 1]; n may be anything, C and W stay the same."""
        if block.ndim != 3:
            raise ValueError(f"a noise meter takes (C, H, W) blocks, not {block.shape}")
        if self._short is not None:
            block = np.concatenate([self._short, block], axis=1)
        self._short = block.copy() if block.shape[1] < PATCH else None
        if min(block.shape[1:]) < PATCH or block.shape[0] == 0:
            return
        patches = sample(block).reshape(-1, PATCH**2)
        cut = clipped(patches)
        self._seen += len(patches)
        self._blank += int(np.count_nonzero(cut > BLANK))
        usable = cut <= CLIPPED
        patches, left = patches[usable], surviving(cut[usable])
        low, high = frequencies()
        # Dividing twice prefers patches that needed no mending over equally flat ones that did.
        flatness = np.mean(np.square(coefficients(patches, low)), axis=1) / left**2
        best = _least(flatness)
        energies = np.square(coefficients(patches[best], high)) / left[best, None]
        flatness = np.concatenate([self._flatness, flatness[best]])
        energies = np.concatenate([self._high, energies])
        best = _least(flatness)
        self._flatness, self._high = flatness[best], energies[best]

    @property
    def blank(self) -> bool:
        """Whether so much stands at pure black or white that the picture counts as free of noise."""
        return self._blank > BLANKS * self._seen

    def std(self) -> float:
        """Standard deviation of the noise in 8-bit steps; 0.0 where no 8x8 patch was seen."""
        if self.blank or len(self._high) == 0:
            return 0.0
        # Half of what there was to choose from: a tiny picture has too few patches to keep 256 flat ones.
        flat = np.argsort(self._flatness, kind="stable")[: max(1, self._seen // 2)]
        return STEPS * math.sqrt(median(self._high[flat].mean(axis=0)))


def noise_std(x: np.ndarray) -> float:
    """Estimated standard deviation of the noise in a (C, H, W) picture in [0, 1], in 8-bit steps.

    A few milliseconds for a picture of any size; 0.0 for pictures narrower or lower than 8 pixels and for
    those that stand at pure black or white in a quarter of their area. See ``NoiseMeter``.
    """
    meter = NoiseMeter()
    meter.add(x)
    return meter.std()


def _least(values: np.ndarray) -> np.ndarray:
    """Positions of the FLATTEST smallest values, in no order; all of them where there are no more."""
    return np.argpartition(values, FLATTEST - 1)[:FLATTEST] if len(values) > FLATTEST else np.arange(len(values))
