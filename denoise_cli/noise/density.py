"""Law: the exact distribution of noise after activations and max-pooling, as one value that layers compose.

Every activation here never decreases, so that it changes places with a maximum: max(h(X₁), h(X₂)) = h(max(X₁, X₂)).
Whatever order they come in, and however often, the result is therefore

    Y = h(T),    T = the largest of n independent N(µ, σ²),    h = hₖ ∘ ... ∘ h₁

and one small value holds all of it: µ, σ, n and the maps. Of n independent inputs all lie below t with probability

    G(t) = Φ((t - µ)/σ)ⁿ        g(t) = (n/σ) Φ((t - µ)/σ)ⁿ⁻¹ φ((t - µ)/σ)

for any µ: the maximum of N(µ, σ²) is µ + σ times the maximum of N(0, 1), and its mean is above µ. A convolution is
exact while Y is Gaussian; what happens after that, layers.py says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from denoise_cli import gaussian
from denoise_cli.errors import UsageError
from denoise_cli.noise.activations import Activation
from denoise_cli.noise.moments import Moments

LARGEST = 1e9  # of mu and sigma, and one over the smallest sigma: beyond it double precision has nothing left
RANGE = 12.0  # standard deviations that a quadrature covers; beyond lies 1e-33 of the mass
NODES = np.polynomial.legendre.leggauss(16)


@dataclass(frozen=True)
class Law:
    """The distribution of h(max of n independent N(mu, sigma²)); `maps` are applied in their order."""

    mu: float = 0.0
    sigma: float = 1.0
    n: int = 1
    maps: tuple[Activation, ...] = ()

    def __post_init__(self) -> None:
        if not (abs(self.mu) <= LARGEST and 1 / LARGEST <= self.sigma <= LARGEST):
            limits = f"mu in -{LARGEST:g}..{LARGEST:g} and a sigma in {1 / LARGEST:g}..{LARGEST:g}"
            raise UsageError(f"a normal distribution needs a {limits}, not {self}")
        if self.n < 1:
            raise UsageError(f"a maximum is taken over 1 or more, not {self.n}")

    def __str__(self) -> str:
        return f"N({self.mu:g}, {self.sigma:g}²)" if self.normal else f"Law(mu={self.mu:g}, sigma={self.sigma:g})"

    @property
    def normal(self) -> bool:
        return self.n == 1 and not self.maps

    def through(self, activation: Activation) -> Law:
        return replace(self, maps=(*self.maps, activation))

    def largest_of(self, n: int) -> Law:
        """Of the maximum of n independent draws from this law."""
        return replace(self, n=self.n * n)

    # --- The map -------------------------------------------------------------------------------------------

    def _h(self, t: np.ndarray) -> np.ndarray:
        for activation in self.maps:
            t = activation(t)
        return t

    def _back(self, y: np.ndarray, count: int | None = None) -> np.ndarray:
        """h⁻¹ of the first `count` maps."""
        for activation in reversed(self.maps[:count]):
            y = activation.inverse(y)
        return y

    @cached_property
    def _flat(self) -> tuple[float, int]:
        """Up to which t h is flat, the end of the last ReLU that acts, and which of the maps that is."""
        ends = [
            (float(self._back(np.asarray(a.flat), i)), i) for i, a in enumerate(self.maps) if a.flat > -math.inf
        ]
        return max(ends, default=(-math.inf, 0))

    @property
    def _floor(self) -> float:
        return self._flat[0]

    @cached_property
    def atom(self) -> tuple[float, float] | None:
        """(value, probability) of the one value that has a probability of its own, or None."""
        floor, which = self._flat
        if floor == -math.inf:
            return None
        value = np.array([self.maps[which].flat])  # from here, not from t: what a ReLU cuts off is 0 to the bit
        for activation in self.maps[which:]:
            value = activation(value)
        return float(value[0]), float(self._below(np.asarray(floor)))

    def _below(self, t: np.ndarray) -> np.ndarray:
        return gaussian.cdf((t - self.mu) / self.sigma) ** self.n

    # --- The distribution ----------------------------------------------------------------------------------

    def cdf(self, y: ArrayLike) -> np.ndarray:
        """P(Y <= y), continuous from the right, on arrays of any shape."""
        y = np.asarray(y, np.float64)
        t = self._back(y)
        if self.atom is None:
            return self._below(t)
        # Rounding in h⁻¹ must not push the atom below the floor.
        return np.where(y < self.atom[0], 0.0, self._below(np.maximum(t, self._floor)))

    def cdf_left(self, y: ArrayLike) -> np.ndarray:
        """P(Y < y), where the floating-point number before y stands for the limit.

        So the values at which tanh and sigmoid saturate are told from those before, as a sample of them is.
        """
        return self.cdf(np.nextafter(np.asarray(y, np.float64), -math.inf))

    def density(self, y: ArrayLike) -> np.ndarray:
        """Of the continuous part: it integrates to one less the probability of the atom."""
        y = np.asarray(y, np.float64)
        t = self._back(y)
        inside = np.isfinite(t) & (t > self._floor)
        t = np.where(inside, t, self.mu)
        slope, at = np.ones_like(t), t
        for activation in self.maps:
            slope, at = slope * activation.slope(at), activation(at)
        z = (t - self.mu) / self.sigma
        g = self.n / self.sigma * gaussian.pdf(z) * gaussian.cdf(z) ** (self.n - 1)
        return np.where(inside & (slope > 0), g / np.where(slope > 0, slope, 1.0), 0.0)

    def quantile(self, p: ArrayLike) -> np.ndarray:
        """The y that P(Y <= y) reaches p at."""
        return self._h(self.mu + self.sigma * gaussian.quantile(np.asarray(p, np.float64) ** (1 / self.n)))

    @cached_property
    def moments(self) -> Moments:
        """By Gauss-Legendre quadrature over z = (t - µ)/σ, cut at every bend of every map; exact to 1e-12.

        E Y^k = ∫ h(µ + σz)^k n Φ(z)ⁿ⁻¹ φ(z) dz: in z nothing is singular, and the atom is part of the integral.
        """
        if self.normal:
            return Moments(self.mu, self.sigma, 0.0, 0.0)
        bends = [self._back(np.array(a.joints, np.float64), i) for i, a in enumerate(self.maps) if a.joints]
        cuts = (np.concatenate([*bends, [self.mu]]) - self.mu) / self.sigma
        cuts = cuts[np.abs(cuts) < RANGE]  # leaves out the infinite ones too
        edges = np.unique(np.concatenate([cuts, np.linspace(-RANGE, RANGE, 49)]))
        half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
        z = (middle + half * NODES[0]).ravel()
        weights = (half * NODES[1]).ravel() * self.n * gaussian.pdf(z) * gaussian.cdf(z) ** (self.n - 1)
        return Moments.of(self._h(self.mu + self.sigma * z), weights)
