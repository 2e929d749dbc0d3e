"""Colours behind a mosaic of filters, and smoothing, on arrays of numpy and torch: what camera.py develops with."""

from __future__ import annotations

from typing import Any

import numpy as np

from denoise_cli.corrupt.draws import Array, Draws, Span

PASSES = (1, 2, 4, 8)  # pixels between the taps of each pass that smooths


def pattern(draws: Draws, size: tuple[int, int], row: Any, column: Any) -> tuple[Array, Array, Array]:
    """Where the red, green and blue sites are, as ones: (..., 1, H, W) each. Bayer, US 3971065.

    G R   is what the sensor has at its corner, and so on to the right and down. The corner of the picture lies
    B G   at its `row` and `column`, numbers or one a sample.
    """
    odd_row = (draws.ramp(size[0])[None, :, None] + row) % 2
    odd_column = (draws.ramp(size[1])[None, None] + column) % 2
    red, blue = (1 - odd_row) * odd_column, odd_row * (1 - odd_column)
    return red, 1 - red - blue, blue


def demosaicked(field: Array, sites: tuple[Array, Array, Array], follow: Any, draws: Draws) -> tuple[Array, ...]:
    """Fill in the colours that sites lack, linearly: (..., 1, 2 + H + 2, 2 + W + 2) to three (..., 1, H, W).

    Green is the mean of four neighbours. Of red and blue what is interpolated is the difference from `follow`
    times green: all by themselves with 0 (bilinear), their hue with 1 (J. Adams, SPIE 3028, 1997), which leaves
    fine noise in common to the colours.
    """
    red, green, blue = sites
    known = field * green
    beside = known[..., 1:-1, 2:] + known[..., 1:-1, :-2] + known[..., 2:, 1:-1] + known[..., :-2, 1:-1]
    filled = inner(known, 1) + beside / 4
    rest = (inner(field, 1) - follow * filled) * inner(draws.joined([red, blue]), 1)
    filled = inner(filled, 1)
    others = 4 * tapped(rest, 0.25, 1) + follow * filled
    return others[..., :1, :, :], filled, others[..., 1:, :, :]


def passes(sigma: Span) -> list[int]:
    """The distances of taps that it takes to smooth with `sigma`: each pass d adds up to d²/2 to its square."""
    return [d for n, d in enumerate(PASSES) if sigma.high**2 > sum(e * e for e in PASSES[:n]) / 2]


def smoothed(x: Array, sigma: Any, reach: list[int]) -> Array:
    """Blur, nearly as a Gaussian does: three taps (a, 1 - 2a, a) in passes ever wider, the narrow ones first.

    A pass with taps d apart adds the variance 2 a d², and a is at most 1/4, where it takes away the finest waves.
    The sides are cut by the sum of `reach`.
    """
    variance = sigma**2
    for d in reach:
        a = variance / (2 * d * d)
        a = min(a, 0.25) if isinstance(a, float) else a.clip(0, 0.25)
        variance = variance - 2 * d * d * a
        x = tapped(x, a, d)
    return x


def tapped(x: Array, a: Any, d: int) -> Array:
    """(a, 1 - 2a, a) with taps d apart along both axes; the sides are cut by d."""
    x = (1 - 2 * a) * x[..., d:-d, :] + a * (x[..., 2 * d :, :] + x[..., : -2 * d, :])
    return (1 - 2 * a) * x[..., d:-d] + a * (x[..., 2 * d :] + x[..., : -2 * d])


def inner(x: Array, n: int) -> Array:
    return x[..., n : x.shape[-2] - n, n : x.shape[-1] - n]


def reflected(x: Array, above: int, below: int, beside: int) -> Array:
    """Continue (..., H, W) at its edges, without repeating them: colours of sites then go on in their pattern."""
    rows = np.pad(np.arange(x.shape[-2]), (above, below), mode="reflect")
    columns = np.pad(np.arange(x.shape[-1]), beside, mode="reflect")
    return x[..., rows, :][..., columns]
