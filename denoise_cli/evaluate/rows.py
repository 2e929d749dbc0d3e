"""What every scored file has in common, whatever its kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from denoise_cli.evaluate.matching import Pair
from denoise_cli.signal import Kind, Signal

Denoiser = Callable[[Signal], np.ndarray]  # -> float32 of the shape of its data


class AnyRow(Protocol):
    """The scores of one file at one noise."""

    kind: ClassVar[Kind]

    @property
    def file(self) -> str: ...

    @property
    def noise(self) -> str: ...

    @property
    def headline(self) -> str:
        """The score that a progress bar shows."""
        ...

    def scores(self) -> dict[str, float | None]:
        """What is averaged over files, by name; None where the file has no such score."""
        ...

    def flat(self) -> dict[str, Any]:
        """The whole row for JSON and CSV."""
        ...


@dataclass(frozen=True)
class Scored:
    """A row with the arrays behind it: (C, H, W) each for pictures, (C, T) for recordings."""

    pair: Pair
    row: Any  # an AnyRow; whoever asked for pictures knows that it is theirs
    clean: np.ndarray
    noisy: np.ndarray
    denoised: np.ndarray
    notes: tuple[str, ...] = ()  # why scores are missing, a line each


@dataclass(frozen=True)
class Failed:
    """A pair that could not be scored, and why, in one line."""

    pair: Pair
    error: str


def means(rows: Sequence[AnyRow]) -> dict[str, float]:
    """The mean of each score over the files that have it; infinite PSNR (equal pictures) stays infinite.

    A score that no file has is NaN. The rows are of one kind and hold the same scores.
    """
    every = [row.scores() for row in rows]
    return {name: _mean([scores[name] for scores in every]) for name in every[0]}


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    if not known:
        return math.nan
    # fsum is exact, but refuses to add up infinities of both signs.
    return (math.fsum(known) if all(map(math.isfinite, known)) else sum(known)) / len(known)
