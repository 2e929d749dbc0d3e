"""What the columns of tables are divided by."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

STILL = 1e-12  # of the mean; rounding leaves a constant column a deviation of a few units in its last place


@dataclasses.dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of each column, (F,) float64; a column that never varies has the deviation 1."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, data: Sequence[np.ndarray]) -> Scale:
        """Over the known values of (F, n) arrays."""
        count = np.sum([np.isfinite(x).sum(1) for x in data], axis=0)
        mean = np.sum([np.nansum(x, 1, dtype=np.float64) for x in data], axis=0) / np.maximum(count, 1)
        square = np.sum([np.nansum(np.square(x - mean[:, None]), 1) for x in data], axis=0)
        std = np.sqrt(square / np.maximum(count, 1))
        return cls(mean, np.where(std > STILL * np.abs(mean), std, 1.0))

    def inwards(self, x: np.ndarray) -> np.ndarray:
        """(F, n) in the columns' units -> standardised float32."""
        return ((x - self.mean[:, None]) / self.std[:, None]).astype(np.float32)

    def shaped(self, axes: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation as float32 tensors that go with a sample of so many axes."""
        shape = (-1, *[1] * (axes - 1))
        both = (torch.from_numpy(v).float().reshape(shape).to(device) for v in (self.mean, self.std))
        return next(both), next(both)
