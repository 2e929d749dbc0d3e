"""Is the noise of a picture white Gaussian noise of one strength: drawn for each sample by itself?

So is what programs add and what some sensors give; what a camera's JPEG holds is not. There, demosaicking,
smoothing and compression have tied neighbours and channels together, and bright parts are noisier than dark ones.
One strength is meant over all brightnesses and channels; where in the picture it lies is not looked at. Uniform and
Laplacian noise pass too, for a sum of 64 draws of them is Gaussian, and the models are good for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from denoise_cli.metrics.patches import PATCH, clipped, coefficients, frequencies, median, orders, sample, surviving
from denoise_cli.metrics.pictures import STEPS

LEAST = 128  # patches it takes
CUT = 0.3  # share of pixels at 0 or 1 above which a patch is left out: noise that was cut off is no longer Gaussian
KEPT = 8  # one patch of so many is flat enough
LOWEST = 14  # frequencies, i + j up to 4 of an 8x8 DCT, whose energy says how flat a patch is
GROUPS = 4  # of patches, from dark to bright

# Ranges over pictures of the training set, given these noises, and PolyU's 100 pairs; what comes of them is in
# benchmarks/white.py.
STRONG, TOO_STRONG = 4.0, 80.0  # 8-bit steps; on fainter noise a model for white noise is not always the better one
SLOPE = 0.85, 1.2  # white noise 0.9 to 1.1, what cameras write 1.7 and more, mosaics and dithering 0.7
RISE = 0.94  # white noise 0.95 to 1.1, more on texture; sharpened noise 0.90 to 0.95
BALANCE = 1.2  # white noise 1.0 to 1.1
CORRELATION = 0.3  # white noise 0 to 0.2, what cameras write 0.6 and more
SPREAD = 1.25  # Gaussian noise 1.0 to 1.2, where every quarter has flat patches; Poisson noise 1.2 to 2.5
KURTOSIS = 3.5  # Gaussian noise 2.9 to 3.2; a few grains of salt and pepper, 4 and more
BOTH = 0.009  # Gaussian noise to 0.001 at a std of 50; a tenth of salt and pepper, 0.01 and more


@dataclass(frozen=True)
class NoiseTraits:
    """What tells kinds of noise apart, in the flattest patches of a picture."""

    std: float  # 8-bit steps
    slope: float  # energy at i + j = 9 and 10 over that at 12 and more, of an 8x8 DCT; white: 1
    rise: float  # energy at i + j = 5 to 8 over that above; white: about 1
    balance: float  # std in the channel where it is largest, over where it is smallest; all alike: 1
    correlation: float  # of two channels, the largest, without sign; one channel: 0
    spread: float  # std at the brightness where it is largest, over where it is smallest; everywhere alike: 1
    kurtosis: float  # Gaussian: 3
    both: float  # share of pixels at 0, or at 1 if they are fewer, in the same patch

    @property
    def white(self) -> bool:
        """Whether it is white Gaussian noise of one strength, neither faint nor beyond all measure."""
        return (
            STRONG <= self.std <= TOO_STRONG
            and SLOPE[0] <= self.slope <= SLOPE[1]
            and self.rise >= RISE
            and self.balance <= BALANCE
            and self.correlation <= CORRELATION
            and self.spread <= SPREAD
            and self.kurtosis <= KURTOSIS
            and self.both <= BOTH
        )


def traits(x: np.ndarray) -> NoiseTraits | None:
    """Those of the noise of a (C, H, W) float32 picture in [0, 1]; None where there is too little to tell by.

    Ten milliseconds for a picture of any size. As in NoiseMeter, patches are chosen by their low frequencies and
    judged by their high ones, which white noise has independent of each other.
    """
    if x.shape[0] == 0 or min(x.shape[1:]) < PATCH:
        return None
    patches = sample(x)
    cut = clipped(patches)
    usable = cut.max(axis=0) <= CUT
    patches, left = patches[:, usable], surviving(cut[:, usable])[:, :, None]
    channels, count, _ = patches.shape
    if count < LEAST or not np.abs(patches).max() < 100:  # not, so that NaN is nothing to tell by either
        return None
    low, high = frequencies()

    def high_of(which: np.ndarray) -> np.ndarray:
        found = coefficients(patches[:, which].reshape(-1, PATCH**2), high)
        return found.reshape(channels, len(which), -1) / np.sqrt(left[:, which])

    low_energy = np.square(coefficients(patches.reshape(-1, PATCH**2), low)).reshape(channels, count, -1)
    roughness = (low_energy[:, :, :LOWEST] / left**2).mean(axis=(0, 2))  # divided twice as in NoiseMeter
    by_brightness = np.argsort(patches.mean(axis=(0, 2)), kind="stable")
    levels = [
        np.square(high_of(_least(roughness, group))).mean() for group in np.array_split(by_brightness, GROUPS)
    ]
    best = _least(roughness, np.arange(count))
    c = high_of(best)
    energy = np.square(c)
    power, each, order = energy.mean(axis=(0, 1)), energy.mean(axis=(1, 2), keepdims=True), orders()
    if min(*levels, power.min(), each.min()) <= 0:
        return None  # somewhere nothing varies
    return NoiseTraits(
        std=STEPS * float(np.sqrt(median(power))),
        slope=float(power[order <= 10].mean() / power[order >= 12].mean()),
        rise=float((low_energy[:, best, LOWEST:] / left[:, best]).mean() / power.mean()),
        balance=float(np.sqrt(each.max() / each.min())),
        correlation=_correlation(c.reshape(channels, -1)),
        spread=float(np.sqrt(max(levels) / min(levels))),
        kurtosis=float(np.square(energy / each).mean()),
        both=float(np.minimum(*((patches[:, best] == end).mean(axis=2) for end in (0, 1))).mean()),
    )


def white_std(x: np.ndarray) -> float | None:
    """The std, in [0, 1], of the noise of a (C, H, W) float32 picture; None where ``NoiseTraits.white`` is not."""
    found = traits(x)
    return found.std / STEPS if found is not None and found.white else None


def is_white(x: np.ndarray) -> bool:
    """Whether a (C, H, W) float32 picture in [0, 1] has white Gaussian noise, everywhere alike and not faint."""
    return white_std(x) is not None


def _least(roughness: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The flattest of these patches, one of KEPT."""
    return among[np.argsort(roughness[among], kind="stable")[: len(among) // KEPT]]


def _correlation(rows: np.ndarray) -> float:
    """The largest correlation of two rows, of either sign, without it; what varies around 0 needs no mean."""
    unit = rows / np.sqrt(np.square(rows).mean(axis=1, keepdims=True))
    return max((float(abs((one * other).mean())) for one, other in combinations(unit, 2)), default=0.0)
