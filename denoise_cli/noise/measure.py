"""Statistics of the noise at one layer over many draws, in one pass and bounded memory.

A unit is one value of a layer: one place of one channel. Its noise is d = a(noisy) - a(clean). With n draws:

- each unit has a mean (the shift that the noise brings, for a network is no straight line) and a variance;
- skewness, kurtosis and the distance from a Gaussian are those of units standardised by their own mean and
  variance: whether the noise at one place is Gaussian. Few draws a unit and many units: the estimates of n draws
  are corrected for n, and the distance is measured from what n standardised Gaussian draws would give (Thompson's
  tau);
- `ks_channel` is the distance from one Gaussian for all of a channel: a mixture of Gaussians of unequal widths is
  not Gaussian, so that it may be far off where every unit is close.

All units count for variances and correlations; for the shape of the distribution some 260,000 values are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from denoise_cli import gaussian

KEPT = 1 << 18  # values of a layer that are kept for its distribution
CHANNELS = 256  # of more, so many are looked at for correlation


@dataclass(frozen=True)
class Noise:
    """What came of one layer. Shapes: mean and variance as the layer's, (1, ...)."""

    mean: np.ndarray  # of the activation over the draws
    variance: np.ndarray
    std: float  # root of the mean variance of the units, in the layer's own units
    shift: float  # rms of E a(noisy) - a(clean) over the units, what chance adds taken off
    snr: float  # dB: variance of the clean activation over that of the noise
    skewness: float  # mean over the units
    skewness_size: float  # rms over the units: skews of unlike sign do not cancel
    kurtosis: float  # excess
    ks: float
    ks_channel: float
    neighbours: float  # rms correlation of next neighbours, over channels and both directions
    channels: float  # rms correlation of two channels at one place
    silent: float  # share of units without any noise
    sample: np.ndarray  # kept values, standardised by unit


class Meter:
    """Takes one draw after the other of one layer."""

    def __init__(self, clean: np.ndarray, draws: int, seed: int = 0):
        if draws < 8:
            raise ValueError(f"a distribution needs 8 draws or more, not {draws}")
        self._shape, self.clean = clean.shape, _planes(clean)
        c, self._draws = len(self.clean), draws
        self._sum, self._squares = np.zeros_like(self.clean), np.zeros_like(self.clean)
        self._products = [np.zeros(c), np.zeros(c)]  # of vertical and horizontal neighbours
        self._some = np.linspace(0, c - 1, min(c, CHANNELS)).astype(int)
        self._gram = np.zeros((len(self._some),) * 2)
        rng = np.random.default_rng(seed)
        count = min(self.clean.size, max(1, KEPT // draws))
        self._picked = np.sort(rng.choice(self.clean.size, count, replace=False))
        self._kept = np.empty((draws, count), np.float32)
        self._seen = 0

    def add(self, noisy: np.ndarray) -> None:
        d = _planes(noisy) - self.clean
        self._sum += d
        self._squares += d * d
        for products, (a, b) in zip(self._products, _neighbours(d), strict=True):
            products += np.einsum("chw,chw->c", a, b)
        flat = d.reshape(len(d), -1)[self._some]
        self._gram += flat @ flat.T
        self._kept[self._seen] = d.reshape(-1)[self._picked]
        self._seen += 1

    def result(self) -> Noise:
        n = self._seen
        assert n == self._draws, f"{n} of {self._draws} draws"
        mean = self._sum / n
        variance = np.maximum(self._squares - n * mean**2, 0) / (n - 1)
        power = float(variance.mean(dtype=np.float64))
        excess = float((mean.astype(np.float64) ** 2).mean()) - power / n
        # A distribution: of the units by themselves, and of all in a channel together.
        per_unit = variance.reshape(-1)[self._picked]
        alive = per_unit > 1e-12 * power
        own_mean = mean.reshape(-1)[self._picked]
        r = ((self._kept - own_mean) / np.sqrt(np.maximum(per_unit, 1e-38) * (n - 1) / n))[:, alive]
        channel = self._picked // (self.clean[0].size)
        whole_mean = mean.mean(axis=(1, 2))
        whole = (self._squares.mean(axis=(1, 2)) / n - whole_mean**2)[channel]
        loud = whole > 1e-12 * power
        z = (self._kept[:, loud] - whole_mean[channel][loud]) / np.sqrt(whole[loud])
        third = np.mean(r**3, axis=0) if r.size else np.full(1, math.nan)
        g1 = math.sqrt(n * (n - 1)) / (n - 2) * third  # unbiased for a Gaussian (Joanes and Gill 1998)
        chance = 6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3))  # variance of g1 of a Gaussian
        g2 = float(np.mean(np.square(r * r))) - 3 if r.size else math.nan
        return Noise(
            mean=(self.clean + mean).reshape(self._shape), variance=variance.reshape(self._shape),
            std=math.sqrt(power), shift=math.sqrt(max(excess, 0.0)), snr=self._snr(power),
            skewness=float(g1.mean()),
            skewness_size=math.sqrt(max(float((g1**2).mean()) - chance, 0.0)) if r.size else math.nan,
            kurtosis=(n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * g2 + 6),
            ks=_ks(r, *_tau(n)) if r.size else math.nan, ks_channel=_ks(z, *_NORMAL) if z.size else math.nan,
            neighbours=self._between_neighbours(mean, variance), channels=self._between_channels(mean, variance),
            silent=float(np.mean(variance <= 1e-12 * power)) if power else 1.0, sample=r,
        )  # fmt: skip

    def _snr(self, power: float) -> float:
        places = self.clean[0].size > 1
        signal = float(self.clean.var(axis=(1, 2)).mean() if places else self.clean.var())
        return 10 * math.log10(signal / power) if signal > 0 and power > 0 else math.nan

    def _between_neighbours(self, mean: np.ndarray, variance: np.ndarray) -> float:
        n, squares = self._draws, []
        for products, (m1, m2), (v1, v2) in zip(
            self._products, _neighbours(mean), _neighbours(variance), strict=True
        ):
            if m1[0].size == 0:
                continue
            covariance = (products - n * np.einsum("chw,chw->c", m1, m2)) / (n - 1)
            power = np.sqrt(v1.sum(axis=(1, 2)) * v2.sum(axis=(1, 2)))
            rho = covariance[power > 0] / power[power > 0]
            squares.append(np.maximum(rho**2 - 1 / (m1[0].size * (n - 1)), 0))  # less what chance alone gives
        every = np.concatenate(squares) if squares else np.empty(0)
        return math.sqrt(every.mean()) if every.size else math.nan

    def _between_channels(self, mean: np.ndarray, variance: np.ndarray) -> float:
        n, m = self._draws, mean.reshape(len(mean), -1)[self._some]
        covariance = (self._gram - n * (m @ m.T)) / (n - 1)
        power = variance.sum(axis=(1, 2))[self._some]
        on = power > 0
        if on.sum() < 2:
            return math.nan
        rho = covariance[np.ix_(on, on)] / np.sqrt(np.outer(power[on], power[on]))
        others = rho[~np.eye(len(rho), dtype=bool)]
        return math.sqrt(max(float((others**2).mean()) - 1 / (m.shape[1] * (n - 1)), 0.0))


def _planes(x: np.ndarray) -> np.ndarray:
    """(1, ...) -> (C, H, W): what is flat has one place a channel."""
    x = x[0] if x.shape[0] == 1 else x
    return x.reshape(len(x), -1, x.shape[-1]) if x.ndim > 1 else x.reshape(-1, 1, 1)


def _neighbours(x: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    return (x[:, 1:], x[:, :-1]), (x[:, :, 1:], x[:, :, :-1])


def _tau(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Grid and distribution function of (x - mean)/std, both of the same n Gaussian draws, std with 1/n.

    r = u √(n-1), u on [-1, 1] with density in proportion to (1 - u²)^((n-4)/2) (W. R. Thompson 1935).
    """
    u = np.linspace(-1, 1, 20_001)
    density = (1 - u * u) ** ((n - 4) / 2)
    area = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return u * math.sqrt(n - 1), area / area[-1]


_GRID = np.linspace(-8, 8, 16_001)
_NORMAL = (_GRID, gaussian.cdf(_GRID))


def _ks(values: np.ndarray, grid: np.ndarray, cdf: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance of values from a distribution function given on a grid."""
    ordered = np.sort(values, axis=None)
    theory = np.interp(ordered, grid, cdf)
    ranks = np.arange(len(ordered) + 1) / len(ordered)
    return float(max(np.abs(ranks[1:] - theory).max(), np.abs(ranks[:-1] - theory).max()))
