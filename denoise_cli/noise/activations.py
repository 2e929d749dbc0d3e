"""Activations as maps that never decrease: what they make of a distribution, exactly.

A random variable T with distribution function G and density g goes through y = h(t), h not decreasing. Then

    P(Y <= y) = P(T <= h⁻¹(y)) = G(h⁻¹(y))                                    h⁻¹(y) = sup {t: h(t) <= y}
    f(y)      = g(h⁻¹(y)) / h'(h⁻¹(y))                                        where h rises
    P(Y = c)  = P(T in h⁻¹(c)) > 0                                            where h is flat: an atom

(change of variables; A. Papoulis, "Probability, Random Variables and Stochastic Processes", ch. 5). For T of
N(µ, σ²) each class below writes out what follows. ``inverse`` is h⁻¹ as above: -∞ below all values of h, +∞ above.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from denoise_cli.errors import UsageError


@dataclass(frozen=True)
class Activation:
    """One map h, on arrays of float64 of any shape."""

    name: ClassVar[str]
    width: ClassVar[int] = 1  # inputs a value is made of
    flat: ClassVar[float] = -math.inf  # h is constant up to here
    # Where h bends or turns: a quadrature puts its joints there.
    joints: ClassVar[tuple[float, ...]] = (0, 1, -1, 2, -2, 4, -4, 8, -8, 16, -16)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def inverse(self, y: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def slope(self, x: np.ndarray) -> np.ndarray:
        """h'(x), where h is not flat."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Affine(Activation):
    """y = a t + b, a > 0: f(y) = g((y - b)/a) / a. What a convolution of one weight does to any distribution."""

    name = "affine"
    joints = ()
    scale: float = 1.0
    shift: float = 0.0

    def __call__(self, x):
        return self.scale * x + self.shift

    def inverse(self, y):
        return (y - self.shift) / self.scale

    def slope(self, x):
        return np.full_like(x, self.scale)


@dataclass(frozen=True)
class ReLU(Activation):
    """y = max(t, 0).

    T <= 0 has probability Φ(-µ/σ), and all of it lands on y = 0. Papers often draw the density for y > 0 alone,
    which integrates to Φ(µ/σ) and not to one; the rest is this atom:

        P(Y = 0) = Φ(-µ/σ)        f(y) = φ((y - µ)/σ)/σ, y > 0        F(y) = Φ((y - µ)/σ), y >= 0

    Mean and variance are in moments.rectified.
    """

    name = "relu"
    flat = 0.0
    joints = (0,)

    def __call__(self, x):
        return np.maximum(x, 0.0)

    def inverse(self, y):
        return np.where(y < 0, -math.inf, y)

    def slope(self, x):
        return np.ones_like(x)


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """y = t for t > 0, a t below, a > 0: two halves of normal densities, no atom, a step of the density at 0.

        f(y) = φ((y - µ)/σ)/σ, y > 0        f(y) = φ((y/a - µ)/σ)/(aσ), y < 0

    With a = 0 it is ReLU; with a < 0 it would fold the axis, and is refused. See moments.leaky_rectified.
    """

    name = "leaky-relu"
    joints = (0,)
    alpha: float = 0.01

    def __post_init__(self) -> None:
        if not (0 < self.alpha < math.inf):
            raise UsageError(f"leaky-relu: its slope below zero must be positive, not {self.alpha:g}")

    def __call__(self, x):
        return np.where(x > 0, x, self.alpha * x)

    def inverse(self, y):
        return np.where(y > 0, y, y / self.alpha)

    def slope(self, x):
        return np.where(x > 0, 1.0, self.alpha)

    def __str__(self) -> str:
        return f"{self.name}({self.alpha!r})"


@dataclass(frozen=True)
class Tanh(Activation):
    """y = tanh t, in (-1, 1); dy/dt = 1 - y².

        F(y) = Φ((artanh y - µ)/σ)        f(y) = φ((artanh y - µ)/σ) / (σ (1 - y²))

    It is zero at both ends; for µ = 0 it has one hump where σ² <= 1/2 and two where σ² is larger: with t = artanh
    y, (ln f)' = (2 tanh t - t/σ²)/(1 - y²), whose sign at a small t is that of 2 - 1/σ². No moments in closed form.
    """

    name = "tanh"

    def __call__(self, x):
        return np.tanh(x)

    def inverse(self, y):
        with np.errstate(divide="ignore"):
            return np.arctanh(np.clip(y, -1, 1))

    def slope(self, x):
        return 1 / np.cosh(np.clip(x, -350, 350)) ** 2  # 1 - tanh² would cancel


@dataclass(frozen=True)
class Sigmoid(Activation):
    """y = 1/(1 + exp(-t)), in (0, 1); dy/dt = y (1 - y). Y is logit-normal (Aitchison and Shen 1980).

        F(y) = Φ((logit y - µ)/σ)        f(y) = φ((logit y - µ)/σ) / (σ y (1 - y))

    For µ = 0 one hump where σ² <= 2, two where it is larger. No moments in closed form but the mean 1/2 at µ = 0.
    """

    name = "sigmoid"

    def __call__(self, x):
        return np.exp(-np.logaddexp(0, -x))  # never overflows, and is right to the last digits near 0, too

    def inverse(self, y):
        y = np.clip(y, 0, 1)
        with np.errstate(divide="ignore"):
            return np.log(y) - np.log1p(-y)

    def slope(self, x):
        return 0.25 / np.cosh(np.clip(0.5 * x, -350, 350)) ** 2
