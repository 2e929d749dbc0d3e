"""Cells of tables as text: which are numbers, which are missing, and how the numbers of a column are written."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "#n/a", "<na>", "?"})  # in any case
PLAIN_DECIMALS = 6  # beyond them the shortest number that reads back is written


@dataclass
class Column:
    """What the first pass learnt of one column."""

    numbers: int = 0
    missing: int = 0
    text: str | None = None  # the first cell that is no number, ...
    text_row: int = 0  # ... and its row, counted from 1 as an editor does
    texts: int = 0  # how many such cells
    decimals: int = 0
    scientific: bool = False
    token: str | None = None  # how the first missing value was written

    def see(self, cell: str, row: int) -> None:
        try:
            value = number(cell)
        except ValueError:
            self.texts += 1
            if self.text is None:
                self.text, self.text_row = cell, row
            return
        if math.isnan(value):
            self.missing += 1
            self.token = cell if self.token is None else self.token
            return
        self.numbers += 1
        text = cell.strip().lower()
        if "e" in text:
            self.scientific = True
        elif "." in text:
            self.decimals = max(self.decimals, len(text) - text.index(".") - 1)

    def written(self, value: float) -> str:
        """A number as the others of this column are written."""
        if math.isnan(value):
            return self.token or ""
        if self.scientific or self.decimals > PLAIN_DECIMALS or not self.numbers:
            return str(np.float32(value))
        text = f"{value:.{self.decimals}f}"
        return text if text.strip("-0.") else text.lstrip("-")  # no minus before a zero


def number(cell: str) -> float:
    """The value of a cell, NaN for a missing one; raises ValueError for text. May be infinite."""
    text = cell.strip()
    if text.lower() in MISSING:
        return math.nan
    if "_" in text:  # which Python would take for 1_000
        raise ValueError(text)
    return float(text)


def is_text(cell: str) -> bool:
    try:
        number(cell)
    except ValueError:
        return True
    return False
