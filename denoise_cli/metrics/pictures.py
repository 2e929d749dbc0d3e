"""How far two pictures lie apart.

    psnr, ssim, mse    against a clean reference: is the result right?
    residual           against the noisy input: how much was taken away?

Pictures are (C, H, W) in [0, 1]. What a user reads as a noise level is in 8-bit steps (0-255), the unit
of the literature's "sigma 25".
"""

from __future__ import annotations

import math

import numpy as np

STEPS = 255.0  # 8-bit steps in one unit of a block


def mse(x: np.ndarray, reference: np.ndarray) -> float:
    """Mean squared error of two arrays of one shape, in their own unit squared.

    Raises
    ------
    ValueError
        The shapes differ, or there is nothing to compare.
    """
    if x.shape != reference.shape:
        raise ValueError(f"cannot compare shapes {x.shape} and {reference.shape}")
    if x.size == 0:
        raise ValueError(f"nothing to compare in shape {x.shape}")
    difference = np.subtract(x, reference, dtype=np.result_type(x, reference, np.float32)).ravel()
    return float(np.mean(np.square(difference, out=difference), dtype=np.float64))


def psnr(x: np.ndarray, reference: np.ndarray, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(peak² / MSE), infinite for equal arrays.

    One MSE over all channels, as the denoising literature counts colour; values are not clipped here.
    """
    return float(decibels(mse(x, reference), peak))


def decibels(error: np.ndarray | float, peak: float = 1.0) -> np.ndarray:
    """`psnr` by its mean squared error, of one picture or of many."""
    with np.errstate(divide="ignore"):
        return 20 * np.log10(peak) - 10 * np.log10(error)


def residual(noisy: np.ndarray, denoised: np.ndarray) -> float:
    """Root mean square of what was taken away, in 8-bit steps; for pictures in [0, 1]."""
    return STEPS * math.sqrt(mse(noisy, denoised))


class ResidualMeter:
    """`residual` over the blocks of a stream, (C, n, W) each."""

    def __init__(self) -> None:
        self._sum, self._samples = 0.0, 0

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        difference = (after - before).ravel()
        self._sum += float(np.dot(difference, difference))
        self._samples += difference.size

    def rms(self) -> float:
        """Root mean square of what was changed, in 8-bit steps; 0.0 where nothing was seen."""
        return STEPS * math.sqrt(self._sum / max(self._samples, 1))


# --- SSIM -------------------------------------------------------------------------------------------------

WINDOW = 11  # pixels; with SIGMA the window of Wang et al. 2004, section III.B
SIGMA = 1.5
K1, K2 = 0.01, 0.03
STRIP = 64  # rows of the map at a time: the working set stays in the processor's cache


def ssim(x: np.ndarray, reference: np.ndarray, peak: float = 1.0) -> float:
    """Mean structural similarity of two (C, H, W) pictures, averaged over their channels; 1 for equal ones.

    Z. Wang, A. Bovik, H. Sheikh, E. Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", IEEE Trans. Image Processing 13(4), 2004, equation 13:

        (2 μx μy + C1) (2 σxy + C2) / ((μx² + μy² + C1) (σx² + σy² + C2)),   C = (K · peak)²

    where the moments are taken under an 11x11 Gaussian window that lies wholly inside the picture. Equals
    scikit-image's ``structural_similarity(gaussian_weights=True, use_sample_covariance=False)``.

    Raises
    ------
    ValueError
        The shapes differ, are not (C, H, W), or a side is shorter than the window: there is no smaller
        window whose numbers could be compared with those of the literature.
    """
    if x.shape != reference.shape:
        raise ValueError(f"cannot compare shapes {x.shape} and {reference.shape}")
    if x.ndim != 3 or x.shape[0] == 0 or min(x.shape[1:]) < WINDOW:
        raise ValueError(f"SSIM needs (C, H, W) with H and W of at least {WINDOW}, not {x.shape}")
    rows, columns = (side - WINDOW + 1 for side in x.shape[1:])
    total = 0.0
    for a, b in zip(x, reference, strict=True):
        for top in range(0, rows, STRIP):
            strip = slice(top, min(top + STRIP, rows) + WINDOW - 1)
            total += _ssim_sum(a[strip], b[strip], (K1 * peak) ** 2, (K2 * peak) ** 2)
    return total / (x.shape[0] * rows * columns)


def _ssim_sum(a: np.ndarray, b: np.ndarray, c1: float, c2: float) -> float:
    """Sum of the SSIM map of two (n, W) planes; float64, because σ² is a small difference of large numbers."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    mx, my = _blur(x), _blur(y)
    mxy, mean_energy = mx * my, mx * mx + my * my
    covariance = _blur(x * y) - mxy
    energy = _blur(x * x + y * y) - mean_energy  # only the sum σx² + σy² is needed: four blurs, not five
    return float(np.sum((2 * mxy + c1) * (2 * covariance + c2) / ((mean_energy + c1) * (energy + c2))))


def _blur(x: np.ndarray) -> np.ndarray:
    """(n, W) -> (n - 10, W - 10): the Gaussian window, one axis after the other."""
    taps = np.exp(-0.5 * (np.arange(WINDOW) - WINDOW // 2) ** 2 / SIGMA**2)
    taps /= taps.sum()
    for _ in range(2):  # along the rows, turn, along the columns, turn back
        n = x.shape[0] - WINDOW + 1
        y = taps[0] * (x[:n] + x[WINDOW - 1 :])  # the window is symmetric: half the products
        for k in range(1, WINDOW // 2):
            y += taps[k] * (x[k : k + n] + x[WINDOW - 1 - k : WINDOW - 1 - k + n])
        y += taps[WINDOW // 2] * x[WINDOW // 2 : WINDOW // 2 + n]
        x = y.T
    return x
