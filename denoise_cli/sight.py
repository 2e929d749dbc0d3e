"""Which model serves a picture, seen by its first rows: the one for white noise, or the one for any.

    first rows --traits--> not white: the one for any
                    |
                    +----> white, of this std --> both, on a piece --risks--> the one that leaves less error

Only where noise is white and its strength is known can the error be told without the clean picture: see
metrics/risk.py. Flat patches say how strong it is. The error tells of the rest: cloth and lettering that a model
takes for noise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from denoise_cli.metrics import probed, risks, white_std
from denoise_cli.session import Session

Group = Sequence[int]  # consecutive channels that belong together
Compute = Callable[[Session, np.ndarray], np.ndarray]  # one group of channels, (C, H, W), through a model

PIECE = 16  # one pixel of so many is tried, four times: a quarter more work for the smallest pictures
TIE = 0.002  # of the variance of the noise: so close, the models after the first, which are for such noise, serve
LEAST, MOST = 48, 96  # side of the piece, pixels


def white(seen: np.ndarray, groups: Sequence[Group]) -> list[float] | None:
    """The std of the noise of each group of channels, in [0, 1]; None where it is not white in all of them."""
    stds: list[float] = []
    for group in groups:
        std = white_std(seen[group[0] : group[-1] + 1])
        if std is None:
            return None
        stds.append(std)
    return stds


def better(
    seen: np.ndarray, groups: Sequence[Group], stds: Sequence[float], models: Sequence[Session], compute: Compute
) -> int:
    """Which of the models leaves the least error where most is to be seen, in a piece of (C, H, W).

    `stds` are those of the white noise in each group. What is too small to tell by gets the first model.
    """
    x = piece(seen, math.lcm(*(model.card.multiple for model in models)))
    if min(x.shape[1:]) < LEAST:
        return 0
    total = np.zeros(len(models))
    total[0] = TIE * len(groups)
    for group, std in zip(groups, stds, strict=True):
        noisy = x[group[0] : group[-1] + 1]
        shifted = probed(noisy, std)
        total += risks(noisy, std, [(compute(model, noisy), compute(model, shifted)) for model in models])
    return int(np.argmin(total))


def piece(seen: np.ndarray, multiple: int) -> np.ndarray:
    """Of nine pieces of (C, H, W) the one that varies most, its sides multiples of so many pixels."""
    area = seen.shape[1] * seen.shape[2] / PIECE
    side = min(max(math.sqrt(area), LEAST), MOST)
    sides = [int(min(side, length)) // multiple * multiple for length in seen.shape[1:]]
    places = [
        np.linspace(0, length - side, 3, dtype=int) for length, side in zip(seen.shape[1:], sides, strict=True)
    ]
    pieces = [seen[:, y : y + sides[0], x : x + sides[1]] for y, x in itertools.product(*places)]
    return max(pieces, key=lambda x: float(x.var(axis=(1, 2)).sum()))
