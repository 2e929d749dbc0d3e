"""Which columns of tables no model should take: those that float32 would ruin, and those that only count the rows.

values in float32 --suspected--> the files once more, exactly --unfit--> a reason, and the columns it holds for
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from denoise_cli.errors import TrainingError
from denoise_cli.media.course import Course

FAINT = 3e-6  # of the largest value: 25 steps of float32
LEAST = 20  # values that never fall, or never rise, before they count as those of a clock
MOVING = 0.25  # of the steps of a clock, at least: of two or three rows at one moment each
COARSE = "varies by three millionths of its size at most, of which float32 keeps little"
CLOCK = "never falls, or never rises, as the numbers of rows and the times of a clock"


def suspected(data: Sequence[np.ndarray]) -> bool:
    """Whether a column of these, (F, n) float32, may be unfit; exact values tell."""
    courses = [Course.of(x.T) for x in data]
    return bool((_narrow(*_extremes(courses)) | _steady(courses, moving=0)).any())


def unfit(courses: Sequence[Course]) -> dict[str, list[int]]:
    """By reason, the columns of all these files that it holds for; none that is constant."""
    low, high = _extremes(courses)
    coarse = _narrow(low, high) & (low < high)
    clock = _steady(courses) & ~coarse
    found = {COARSE: coarse, CLOCK: clock}
    return {reason: np.flatnonzero(which).tolist() for reason, which in found.items() if which.any()}


def kept(names: Sequence[str], courses: Sequence[Course], root: Path, chosen: bool) -> tuple[list[int], list[str]]:
    """Which columns remain, and what there is to say of the others; TrainingError where none does.

    Without names no column can be left out. Clocks remain where the user has chosen them, or where all are clocks.
    """
    rest, notes = list(range(len(names))), []
    for reason, out in unfit(courses).items():
        shown = ", ".join(f'"{names[c]}"' if names[c] else str(c + 1) for c in out)
        left = [c for c in rest if c not in out]
        if reason == COARSE and not left:
            raise TrainingError(f"{root}: column {shown}: {reason}; subtract the mean")
        if reason == CLOCK and chosen:
            continue
        if not left:
            notes.append(f"column {shown}: {reason}; as there is no other, it is modelled")
        elif any(names):
            rest = left
            asked = "; --column names those that are not" if reason == CLOCK else ""
            notes.append(f"column {shown}: {reason}; it is left out, and passed through when the model runs{asked}")
        else:
            notes.append(f"column {shown}: {reason}; leave it out")
    return rest, notes


def _extremes(courses: Sequence[Course]) -> tuple[np.ndarray, np.ndarray]:
    return np.fmin.reduce([c.low for c in courses]), np.fmax.reduce([c.high for c in courses])


def _narrow(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Which columns, by their extremes, vary by next to nothing beside their size, or not at all, (F,) bool.

    Times counted since 1970 do: float32, which keeps seven digits, leaves little of them.
    """
    return high - low < FAINT * np.maximum(np.abs(low), np.abs(high))


def _steady(courses: Sequence[Course], moving: float = MOVING) -> np.ndarray:
    """Which columns never fall, or never rise, in any file, (F,) bool; this share of their steps is no rest."""
    rises, falls, stays = (np.array([getattr(c, way) for c in courses]) for way in ("rises", "falls", "stays"))
    known = np.sum([c.known for c in courses], axis=0)
    moves = (rises + falls).sum(0)
    one_way = (np.minimum(rises, falls) == 0).all(0)
    return one_way & (known >= LEAST) & (moves > 0) & (moves >= moving * (moves + stays.sum(0)))
