"""Monte Carlo: the same layers on drawn numbers, and how far these lie from the theory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from denoise_cli.errors import UsageError
from denoise_cli.noise.density import Law
from denoise_cli.noise.layers import Conv, Layer, MaxPool

MAX_DRAWS = 4_000_000_000  # a minute or two
CHUNK = 1 << 22  # numbers in memory at a time


def draw(
    layers: Sequence[Layer], mu: float, sigma: float, count: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """`count` independent values of the input and after each layer, float64 (count,) each.

    Every output gets inputs of its own, all the way down, so that one value behind conv(9 weights) and maxpool(4)
    takes 36 numbers; nothing is drawn twice. Raises UsageError where that would take more than MAX_DRAWS.
    """
    fan = math.prod(layer.width for layer in layers)
    if count * fan > MAX_DRAWS:
        raise UsageError(f"{count} samples of {fan} inputs each are too many; lower --samples")
    out = [np.empty(count) for _ in range(len(layers) + 1)]
    chunk = max(1, CHUNK // fan)
    for start in range(0, count, chunk):
        rows = slice(start, min(start + chunk, count))
        x = rng.normal(mu, sigma, (rows.stop - start, fan))
        out[0][rows] = x[:, 0]
        for into, layer in zip(out[1:], layers, strict=True):
            x = _through(layer, x)
            into[rows] = x[:, 0]
    return out


def _through(layer: Layer, x: np.ndarray) -> np.ndarray:
    """(count, m * width) -> (count, m)."""
    if isinstance(layer, Conv):
        return x.reshape(len(x), -1, layer.width) @ np.array(layer.weights) + layer.bias
    if isinstance(layer, MaxPool):
        return x.reshape(len(x), -1, layer.width).max(axis=2)
    return layer(x)


def ks_distance(samples: np.ndarray, law: Law) -> float:
    """Kolmogorov-Smirnov: the largest difference between the samples' distribution function and the law's.

    sup over y of |Fₙ(y) - F(y)|, which is reached just before or at a sample. F has a step at an atom, and Fₙ one
    at every sample, so both sides of each are looked at. n samples of the law itself come to about 0.87/√n, and to
    more than 1.63/√n once in a hundred times (Kolmogorov 1933).

    A double stands for all that rounds to it, and where tanh and sigmoid saturate that is much: of values that
    several samples share it is only asked that Fₙ lies between F at the doubles before and after.
    """
    if law.atom is not None:
        value = law.atom[0]  # a last-bit difference of exp or tanh between arrays must not split the atom
        samples = np.where(np.abs(samples - value) <= 8 * np.spacing(max(abs(value), 1e-300)), value, samples)
    values, counts = np.unique(samples, return_counts=True)
    upto = np.cumsum(counts) / len(samples)
    below = upto - counts / len(samples)
    least = law.cdf(values)
    most, least_below, most_below = (least.copy() for _ in range(3))  # of one sample alone they are one
    tied = counts > 1
    before, after = law.cdf_left(values[tied]), law.cdf(np.nextafter(values[tied], math.inf))
    step, here = values[tied] == (law.atom[0] if law.atom else math.nan), least[tied]
    least[tied], most[tied] = np.where(step, here, before), np.where(step, here, after)
    least_below[tied], most_below[tied] = before, np.where(step, before, here)
    return float(max(_outside(upto, least, most), _outside(below, least_below, most_below)))


def _outside(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """How far x lies beyond an interval, at most."""
    return float(np.maximum(low - x, x - high).max())
