"""How the columns of a table run: their extremes, and how often they rise and fall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Course:
    """How the known values of each column run from the first to the last; each (F,), NaN where none is known."""

    low: np.ndarray
    high: np.ndarray
    first: np.ndarray
    last: np.ndarray
    known: np.ndarray  # how many
    rises: np.ndarray  # how many of them are above the known one before; below; the same
    falls: np.ndarray
    stays: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Course:
        """Of (n, F) values."""
        # One row of nothing above them, so that there is a row before each.
        values = np.vstack([np.full((1, values.shape[1]), np.nan, values.dtype), values])
        known = np.isfinite(values)
        values = np.where(known, values, np.nan)
        rows = np.arange(len(values))[:, np.newaxis]
        latest = np.take_along_axis(values, np.maximum.accumulate(np.where(known, rows, 0)), axis=0)
        now, before = values[1:], latest[:-1]  # a comparison with NaN is false
        return cls(
            low=np.fmin.reduce(values),
            high=np.fmax.reduce(values),
            first=np.take_along_axis(values, known.argmax(0, keepdims=True), axis=0)[0],
            last=latest[-1],
            known=known.sum(0),
            rises=(now > before).sum(0),
            falls=(now < before).sum(0),
            stays=(now == before).sum(0),
        )

    def then(self, other: Course) -> Course:
        """The course of both, the rows of `other` after these."""
        return Course(
            low=np.fmin(self.low, other.low),
            high=np.fmax(self.high, other.high),
            first=np.where(self.known > 0, self.first, other.first),
            last=np.where(other.known > 0, other.last, self.last),
            known=self.known + other.known,
            rises=self.rises + other.rises + (other.first > self.last),
            falls=self.falls + other.falls + (other.first < self.last),
            stays=self.stays + other.stays + (other.first == self.last),
        )
