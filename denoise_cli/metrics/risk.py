"""How far what a model makes of a noisy picture is from the clean one, unseen: Stein's unbiased risk estimate.

Where x = s + n, and n is white Gaussian noise of the std σ, the expected squared error of y = f(x) at a pixel is

    E (y - s)² = E (x - y)² + 2 σ² E ∂y/∂x - σ²

(C. Stein, "Estimation of the mean of a multivariate normal distribution", Annals of Statistics 1981). The sum of
the derivatives is b · (f(x + ε b) - f(x)) / ε in the mean over random b of +1 and -1; over so many pixels one b
will do (S. Ramani, T. Blu, M. Unser, "Monte-Carlo SURE", IEEE TIP 2008).

Where a file has cut x at 0 or 1, y no longer depends on n, so the derivative is 0 there, and for x stands what
s + n is in the mean beyond the cut: above 1 it is m + σ φ(a) / Φ(-a), where a = (1 - m) / σ and m, the mean of what
the models make of the pixel, stands for s.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from denoise_cli import gaussian

STEP = 0.1  # ε over σ: small beside the noise, large beside the rounding of float32


def probed(x: np.ndarray, std: float) -> np.ndarray:
    """The picture x + ε b, for noise of this std in the unit of x; the same on every call."""
    return x + np.float32(STEP * std) * _signs(x.shape)


def risks(x: np.ndarray, std: float, outputs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """The estimated mean squared error over σ² of each model, less what is the same for all of them.

    Parameters
    ----------
    x
        A picture (C, H, W) with white Gaussian noise, cut at 0 and 1 or not.
    std
        Of the noise, in the unit of x, above 0.
    outputs
        Of each model, of x and of ``probed(x, std)``, both of the shape of x.
    """
    about = np.mean([y for y, _ in outputs], axis=0)
    above, below = x == 1, x == 0
    whole = x.copy()
    whole[above] = about[above] + std * _beyond((1 - about[above]) / std)
    whole[below] = about[below] - std * _beyond(about[below] / std)
    derived = np.where(above | below, 0, _signs(x.shape)) / (STEP * std)
    return [
        float(np.square((whole - y) / std).mean() + 2 * (derived * (shifted - y)).mean()) for y, shifted in outputs
    ]


def _signs(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).choice(np.array([-1, 1], np.float32), shape)


def _beyond(a: np.ndarray) -> np.ndarray:
    """The mean of a standard normal number that is known to lie above a: φ(a) / Φ(-a)."""
    return np.interp(a, *_mills())


@cache
def _mills() -> tuple[np.ndarray, np.ndarray]:
    a = np.linspace(-4, 8, 601)
    return a, gaussian.pdf(a) / gaussian.cdf(-a)
