"""How well a model gives back what it was shown: the score by which anomalies are found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ALIKE = 1e-9  # relative difference of two sums of the same errors, added up in another order


def exceeds(score: float, threshold: float) -> bool:
    """Whether a score is above a threshold, which may be the score of this very file, measured in other blocks."""
    return score > threshold * (1 + ALIKE)


class ErrorMeter:
    """Mean squared difference of input and output over the blocks of a stream, (C, n, W) each.

    In the square of the file's own unit: full scale is 1. Columns of a table are first divided by `std`, one number
    a column, so that none counts more for its unit. Missing values, NaN, do not count.
    """

    def __init__(self, std: Sequence[float] = ()):
        self._scale = 1 / np.asarray(std, np.float64).reshape(-1, 1, 1) if std else None
        self._sum, self._samples = 0.0, 0

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        difference = np.subtract(after, before, dtype=np.float64)
        if self._scale is not None:
            difference *= self._scale
        known = difference[~np.isnan(difference)] if np.isnan(difference.sum()) else difference.ravel()
        self._sum += float(np.dot(known, known))
        self._samples += known.size

    def mean(self) -> float:
        return self._sum / max(self._samples, 1)
