"""Losses: (output, target) of equal shape (B, C, H, W) -> scalar, the mean over all samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def charbonnier(output: Tensor, target: Tensor) -> Tensor:
    """sqrt(d^2 + eps^2), a smooth L1 (Charbonnier et al. 1994), eps = 1e-3."""
    return torch.sqrt((output - target) ** 2 + 1e-6).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "charbonnier": charbonnier,
    "bce": F.binary_cross_entropy,
}
