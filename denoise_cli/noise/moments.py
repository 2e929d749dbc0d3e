"""Mean and variance of what a layer makes of Gaussian noise: closed forms, and quadrature where there are none.

All functions take arrays that broadcast, so that they serve for one unit and for all of a layer. Variances of sigma
0 are allowed: noise may have died.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from denoise_cli import gaussian

Pair = tuple[np.ndarray, np.ndarray]  # mean, variance


@dataclass(frozen=True)
class Moments:
    mean: float
    std: float
    skewness: float  # of a Gaussian 0; NaN where the standard deviation is 0
    kurtosis: float  # excess: of a Gaussian 0

    @classmethod
    def of(cls, values: np.ndarray, weights: np.ndarray | None = None) -> Moments:
        """Of samples, or of the nodes of a quadrature with weights that add up to one."""
        weights = np.full(len(values), 1 / len(values)) if weights is None else weights
        mean = float(weights @ values)
        centred = values - mean
        second, third, fourth = (float(weights @ centred**k) for k in (2, 3, 4))
        std = math.sqrt(max(second, 0.0))
        if std == 0:
            return cls(mean, 0.0, math.nan, math.nan)
        return cls(mean, std, third / std**3, fourth / second**2 - 3)


def combination(
    weights: ArrayLike, mean: ArrayLike, covariance: ArrayLike, bias: float = 0.0
) -> tuple[float, float]:
    """Mean and variance of wᵀX + b for X = N(m, C): wᵀm + b and wᵀCw. The result is Gaussian, whatever C is.

    Shapes: weights (k,); mean (k,) or one for all; covariance (k, k), or (k,) or one number, the variances of
    independent inputs. The characteristic function of X is exp(i uᵀm - uᵀCu/2); at u = s w it is that of a normal.
    """
    weights = np.atleast_1d(np.asarray(weights, np.float64))
    covariance = np.asarray(covariance, np.float64)
    variance = weights @ covariance @ weights if covariance.ndim == 2 else (weights**2 * covariance).sum()
    return float((weights * np.asarray(mean)).sum() + bias), float(variance)


def weighted_sum(weights: Sequence[float], one: Moments, bias: float = 0.0) -> Moments:
    """Of Σ wᵢXᵢ + b, the Xᵢ independent and alike, of any distribution.

    Cumulants of independent terms add up, and κₖ(wX) = wᵏ κₖ(X); skewness = κ₃/κ₂^1.5, excess kurtosis = κ₄/κ₂².
    The last two fall as 1/√n and 1/n for n equal weights: the central limit theorem at work.
    """
    w = np.asarray(weights, np.float64)
    second = float((w**2).sum())
    mean, std = float(w.sum()) * one.mean + bias, math.sqrt(second) * one.std
    if std == 0:
        return Moments(mean, 0.0, math.nan, math.nan)
    skewness = one.skewness * float((w**3).sum()) / second**1.5
    return Moments(mean, std, skewness, one.kurtosis * float((w**4).sum()) / second**2)


def rectified(mu: ArrayLike, sigma: ArrayLike) -> Pair:
    """Of max(X, 0): the rectified Gaussian (Socci, Lee and Seung 1998).

    With z = µ/σ, ∫₀^∞ x φ((x-µ)/σ)/σ dx = µΦ(z) + σφ(z) and ∫₀^∞ x² ... = (µ² + σ²)Φ(z) + µσφ(z), by parts.
    For µ = 0: mean σ/√(2π), variance σ²(1/2 - 1/(2π)).
    """
    return leaky_rectified(mu, sigma, 0.0)


def leaky_rectified(mu: ArrayLike, sigma: ArrayLike, alpha: float) -> Pair:
    """Of X above zero and αX below: h(X) = (1-α) max(X, 0) + αX.

    Let m be the slope on the side of µ. The part of X beyond the kink, P = max(-X, 0) for µ > 0 and max(X, 0) else,
    is then a small correction to a line, and nothing cancels for |µ| far above σ: h = mX + (1 - α)P, and

        E P = σφ(z) - |µ|Φ(-|z|)      E P² = (µ² + σ²)Φ(-|z|) - |µ|σφ(z)      Cov(X, P) = ∓σ²Φ(-|z|)

    with z = µ/σ, the last by Stein's lemma, Cov(X, k(X)) = σ² E k'(X).
    """
    mu, sigma = np.broadcast_arrays(np.asarray(mu, np.float64), np.asarray(sigma, np.float64))
    z = np.divide(mu, sigma, out=np.where(mu > 0, math.inf, -math.inf), where=sigma > 0)
    over, tail = gaussian.cdf(-np.abs(z)), sigma * gaussian.pdf(z)
    part, square = tail - np.abs(mu) * over, (mu**2 + sigma**2) * over - np.abs(mu) * tail  # E P, E P²
    main, change = np.where(mu > 0, 1.0, alpha), 1.0 - alpha
    covariance = np.where(mu > 0, -1.0, 1.0) * sigma**2 * over
    variance = main**2 * sigma**2 + 2 * main * change * covariance + change**2 * (square - part**2)
    return main * mu + change * part, np.maximum(variance, 0.0)


def smooth(h: Callable[[np.ndarray], np.ndarray], mu: ArrayLike, sigma: ArrayLike, order: int = 32) -> Pair:
    """Of h(X) for a smooth h, such as tanh or sigmoid, by Gauss-Hermite quadrature with `order` nodes.

    E h(X) = π^(-1/2) Σ wᵢ h(µ + √2 σ xᵢ) (Abramowitz and Stegun 25.4.46). For a sigma of several times the width of
    h's bend take more nodes, or density.Law.moments, which cuts the integral at the bends.
    """
    mu, sigma = np.asarray(mu, np.float64), np.asarray(sigma, np.float64)
    nodes, weights = np.polynomial.hermite.hermgauss(order)
    first = second = np.zeros(np.broadcast(mu, sigma).shape)
    centre = h(mu)  # deviations from it do not cancel for a small sigma
    for node, weight in zip(nodes, weights / math.sqrt(math.pi), strict=True):
        value = h(mu + math.sqrt(2) * node * sigma) - centre
        first, second = first + weight * value, second + weight * value**2
    return centre + first, np.maximum(second - first**2, 0.0)


def largest(n: int) -> tuple[float, float] | None:
    """Mean and variance of the largest of n independent N(0, 1) in closed form, n up to 3; None beyond.

    1/√π and 1 - 1/π for two; 3/(2√π) and 1 + √3/(2π) - 9/(4π) for three (H. L. Jones, Ann. Math. Stat. 19, 1948;
    David and Nagaraja, "Order Statistics", 2003, sec. 3.2). Of N(µ, σ²) it is µ + σ times this.
    Beyond three the variance, and beyond five the mean, has no elementary form: density.Law.moments integrates.
    """
    pi, root = math.pi, math.sqrt(math.pi)
    return {1: (0.0, 1.0), 2: (1 / root, 1 - 1 / pi),
            3: (1.5 / root, 1 + math.sqrt(3) / (2 * pi) - 2.25 / pi)}.get(n)  # fmt: skip


def larger_of_two(first: Pair, second: Pair, correlation: float = 0.0) -> Pair:
    """Of max(X, Y), (X, Y) jointly normal with unequal means and variances; exact (C. E. Clark, Oper. Res. 9,
    1961).

    With a² = σ₁² + σ₂² - 2ρσ₁σ₂ and d = (µ₁ - µ₂)/a:
    E max = µ₁Φ(d) + µ₂Φ(-d) + aφ(d), E max² = (µ₁²+σ₁²)Φ(d) + (µ₂²+σ₂²)Φ(-d) + (µ₁+µ₂)aφ(d).
    The maximum is not normal; folding a third one in the same way is Clark's approximation.
    """
    (mu1, var1), (mu2, var2) = first, second
    a = np.sqrt(np.maximum(var1 + var2 - 2 * correlation * np.sqrt(var1 * var2), 0))
    apart = np.asarray(mu1, np.float64) - mu2
    ends = np.where(apart >= 0, math.inf, -math.inf)
    d = np.divide(apart, a, out=ends, where=a > 0)
    p, q, bump = gaussian.cdf(d), gaussian.cdf(-d), a * gaussian.pdf(d)
    mean = mu1 * p + mu2 * q + bump
    # Second moment about the mean: the terms are small where the formula about zero would cancel.
    m1, m2 = mu1 - mean, mu2 - mean
    variance = (m1**2 + var1) * p + (m2**2 + var2) * q + (m1 + m2) * bump
    return mean, np.maximum(variance, 0.0)
