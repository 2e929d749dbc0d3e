"""Tables and series: their suffixes, and what a model says of those it takes. Nothing here reads a file.

table    a row is a sample, a column a quantity; rows know nothing of each other
series   a row is a moment, a column a channel: in .csv and .parquet; an array (.npy, .npz) is channels x time
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".npy", ".npz", ".parquet"})
Tabular = Literal["table", "series"]
TABULAR: tuple[Tabular, ...] = ("table", "series")
MAX_COLUMNS = 4096  # that a model takes; a file may have more


@dataclass(frozen=True)
class Layout:
    """How a file is to be read, and which of its columns a model takes."""

    kind: Tabular = "table"
    columns: tuple[str, ...] = ()  # names, in the model's order; (): every column of numbers, in the file's
    count: int | None = None  # how many columns there must be
    by_name: bool = False  # a file without names will not do


def is_table(path: Path) -> bool:
    """By the name alone: ``x.csv``."""
    return path.suffix.lower() in TABLE_SUFFIXES
