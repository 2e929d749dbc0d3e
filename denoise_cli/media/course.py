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
        columns = [column[np.isfinite(column)] for column in values.T]
        steps = [np.diff(column) for column in columns]
        return cls(
            low=np.array([x.min() if len(x) else np.nan for x in columns]),
            high=np.array([x.max() if len(x) else np.nan for x in columns]),
            first=np.array([x[0] if len(x) else np.nan for x in columns]),
            last=np.array([x[-1] if len(x) else np.nan for x in columns]),
            known=np.array([len(x) for x in columns]),
            rises=np.array([(step > 0).sum() for step in steps]),
            falls=np.array([(step < 0).sum() for step in steps]),
            stays=np.array([(step == 0).sum() for step in steps]),
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
