"""What nets for tables have in common: the columns' own units outside, standard deviations and a mask inside.

    x, NaN where missing -+- (x - mean) / std, 0 where missing -+- core -- * std + mean -- y
                          +- 1 where missing, else 0 ----------+

It is part of the graph, so that an exported model takes and gives what stands in the file, in any runtime.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LIMIT = 100.0  # standard deviations from the mean; what lies further off is seen there, so that nothing overflows


class Standardised(nn.Module):
    """(B, F, ...) in the columns' units, NaN where missing -> the same without NaN. A subclass has the `core`."""

    mean: Tensor
    std: Tensor

    def __init__(self, features: int, axes: int):
        """`axes` are those of a sample: 1 for a row, 2 for channels x time."""
        super().__init__()
        shape = (features, *[1] * (axes - 1))
        # Not among the weights: they are the data's, and a checkpoint that another training starts from has others.
        self.register_buffer("mean", torch.zeros(shape), persistent=False)
        self.register_buffer("std", torch.ones(shape), persistent=False)

    def standardise(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Take over mean and standard deviation of each column."""
        for buffer, values in ((self.mean, mean), (self.std, std)):
            buffer.copy_(torch.tensor(values, dtype=torch.float64).reshape(buffer.shape))

    def core(self, z: Tensor, missing: Tensor) -> Tensor:
        """Standardised values, 0 where missing, and the mask, of one shape -> standardised values."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        missing = torch.isnan(x)
        z = ((x - self.mean) / self.std).clamp(-LIMIT, LIMIT)
        z = torch.where(missing, torch.zeros_like(z), z)
        return self.core(z, missing.to(z.dtype)).to(z.dtype) * self.std + self.mean
