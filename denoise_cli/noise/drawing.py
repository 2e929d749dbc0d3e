"""Pictures of laws: the density of the theory over the histogram of the draws, a panel for every layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from denoise_cli import charts
from denoise_cli.noise.layers import Step
from denoise_cli.noise.sampling import ks_distance
from denoise_cli.pictures import PAPER

BINS = 80
TAIL = 0.0005  # of the draws at either end that a panel leaves out


def panel(step: Step, samples: np.ndarray, size: tuple[int, int] = (640, 380)) -> Image.Image:
    """One layer: bars are the draws, the line is the theory, the stem is the atom."""
    atom = step.law.atom
    loose = samples if atom is None else samples[np.abs(samples - atom[0]) > 1e-12]
    low, high = np.quantile(samples, [TAIL, 1 - TAIL])
    margin = 0.04 * (high - low) or 0.5
    if step.exact:  # no bin may reach over an end of the distribution, or it would look half empty
        ends = step.law.quantile([0.0, 1.0])
        inner = np.linspace(max(low - margin, ends[0]), min(high + margin, ends[1]), BINS + 1)
    else:
        inner = np.linspace(low - margin, high + margin, BINS + 1)
    heights = np.pad(np.histogram(loose, inner)[0] / (len(samples) * (inner[1] - inner[0])), 1)
    edges = np.array([min(inner[0], low) - margin, *inner, max(inner[-1], high) + margin])
    x = np.linspace(edges[0], edges[-1], 1201)
    moments = step.moments
    note = (
        f"mean {moments.mean:z.4f}   std {moments.std:.4f}   skewness {moments.skewness:z.3f}   "
        f"excess kurtosis {moments.kurtosis:z.3f}   KS {ks_distance(samples, step.law):.4f}"
    )
    title = _short(step.name) + ("" if step.exact else "   (approximate: Gaussian by its moments)")
    line = list(zip(x.tolist(), step.law.density(x).tolist(), strict=True))
    return charts.distribution(edges.tolist(), heights.tolist(), line, atom, title, note, size=size)


def page(steps: Sequence[Step], samples: Sequence[np.ndarray]) -> Image.Image:
    """All layers, two in a row."""
    panels = [panel(step, x) for step, x in zip(steps, samples, strict=True)]
    width, height = panels[0].size
    columns = min(2, len(panels))
    drawn = Image.new("RGB", (columns * width, -(-len(panels) // columns) * height), PAPER)
    for i, one in enumerate(panels):
        drawn.paste(one, (i % columns * width, i // columns * height))
    return drawn


def _short(name: str, most: int = 44) -> str:
    return name if len(name) <= most else f"{name[: most - 4]} ...)"
