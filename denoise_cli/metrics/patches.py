"""Small patches of a picture in the frequency domain, for whoever looks for its noise."""

from __future__ import annotations

from functools import cache

import numpy as np

from denoise_cli import gaussian

PATCH = 8  # pixels a side
SAMPLED = 4096  # patches looked at in one block, whatever its size: 2 ms


def sample(block: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (C, N, 64) with C N <= SAMPLED: the same evenly spread patches on every call, in all channels.

    H and W are at least PATCH; N is 1 at least.
    """
    channels, rows, columns = block.shape[0], block.shape[1] - PATCH + 1, block.shape[2] - PATCH + 1
    count = max(1, SAMPLED // channels)
    if rows * columns <= count:
        top, left = np.divmod(np.arange(rows * columns), columns)
    else:
        # M. Roberts' R2 sequence: even cover in two dimensions that falls in step with no grid, be it of
        # bricks or of JPEG blocks. 1.3247... solves g³ = g + 1.
        g = 1.324717957244746
        k = np.arange(1, count + 1)
        top = (k / g % 1 * rows).astype(np.intp)
        left = (k / g**2 % 1 * columns).astype(np.intp)
    windows = np.lib.stride_tricks.sliding_window_view(block, (PATCH, PATCH), axis=(1, 2))
    return windows[:, top, left].reshape(channels, -1, PATCH * PATCH).astype(np.float32, copy=False)


def coefficients(patches: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The coefficients (N, K) of patches (N, 64) in a basis (K, 64).

    64 patches at a time: the linear algebra library starts its threads for larger products, and they
    would wait milliseconds for cores that are busy denoising.
    """
    found = np.empty((len(patches), len(basis)), np.float32)
    for start in range(0, len(patches), 64):
        part = slice(start, start + 64)
        np.matmul(patches[part], basis.T, out=found[part])
    return found


def clipped(patches: np.ndarray) -> np.ndarray:
    """The share of the pixels of each patch, (..., 64), that lie at 0 or 1."""
    return np.count_nonzero((patches == 0) | (patches == 1), axis=-1) / PATCH**2


def median(values: np.ndarray) -> float:
    """The median of (N,) numbers. np.median imports numpy.ma at its first call: 20 ms of a run's start."""
    ordered = np.sort(values)
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def surviving(cut: np.ndarray) -> np.ndarray:
    """Share of the variance of Gaussian noise that is left where a share ``cut`` of it was cut off.

    With Z standard normal and X = max(Z + t, 0), a share Φ(-t) is clipped, and

        E X = t Φ(t) + φ(t),   E X² = (t² + 1) Φ(t) + t φ(t),   surviving = E X² - (E X)².
    """
    return np.interp(cut, *_censored_normal()).astype(np.float32)


@cache
def frequencies() -> tuple[np.ndarray, np.ndarray]:
    """The low (42, 64) and high (21, 64) rows of the orthonormal two-dimensional DCT-II, without its mean.

    Split at i + j = 9, the value that M. Colom and A. Buades recommend for 8x8 patches (IPOL 3, 2013); both by
    rising i + j, see `orders`.
    """
    i = np.arange(PATCH)
    basis = np.sqrt(2 / PATCH) * np.cos(np.pi * (2 * i[None] + 1) * i[:, None] / (2 * PATCH))
    basis[0] /= np.sqrt(2)
    both, order = np.kron(basis, basis).astype(np.float32), _order()
    rising = np.argsort(order, kind="stable")
    both, order = both[rising], order[rising]
    return both[(order > 0) & (order < 9)], both[order >= 9]


def orders() -> np.ndarray:
    """The i + j of each high frequency, (21,): 9 to 14."""
    order = np.sort(_order())
    return order[order >= 9]


def _order() -> np.ndarray:
    return np.add.outer(np.arange(PATCH), np.arange(PATCH)).ravel()


@cache
def _censored_normal() -> tuple[np.ndarray, np.ndarray]:
    t = np.linspace(5, -2, 141)  # from nothing clipped to nearly all, as np.interp wants it
    cumulative, density = gaussian.cdf(t), gaussian.pdf(t)
    mean = t * cumulative + density
    return 1 - cumulative, (t**2 + 1) * cumulative + t * density - mean**2
