"""The short-time Fourier transform as matrix products: an ONNX file then needs no signal processing around it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLOOR = 1e-8  # power below which nothing is told apart: the rounding of 16 bits
SCALE = 1e4


class Spectrum(nn.Module):
    """Short-time Fourier transform with square-root Hann windows that overlap by half, and its exact inverse.

    (B, T) -> real and imaginary part (B, T / hop + 1, window / 2 + 1) each; T a multiple of hop = window / 2.
    """

    forward_basis: Tensor  # (window, 2 bins)
    backward_basis: Tensor  # (2 bins, window)

    def __init__(self, window: int):
        super().__init__()
        self.hop = window // 2
        time = torch.arange(window, dtype=torch.float64)
        frequency = torch.arange(self.hop + 1, dtype=torch.float64)
        angle = 2 * torch.pi * time[:, None] * frequency / window
        shape = torch.sin(torch.pi * (time + 0.5) / window)[:, None]  # its square sums to 1 over two hops
        forward = torch.cat([angle.cos(), -angle.sin()], 1) * shape
        weight = torch.full((self.hop + 1,), 2.0, dtype=torch.float64)
        weight[0] = weight[-1] = 1  # all other bins stand for a pair
        backward = (forward * torch.cat([weight, weight]) / window).T
        self.register_buffer("forward_basis", forward.float(), persistent=False)
        self.register_buffer("backward_basis", backward.float(), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        blocks = F.pad(x, (self.hop, self.hop)).reshape(x.shape[0], -1, self.hop)
        both = torch.cat([blocks[:, :-1], blocks[:, 1:]], 2) @ self.forward_basis
        return both[..., : self.hop + 1], both[..., self.hop + 1 :]

    def inverse(self, real: Tensor, imaginary: Tensor) -> Tensor:
        frames = torch.cat([real, imaginary], 2) @ self.backward_basis
        return (frames[:, :-1, self.hop :] + frames[:, 1:, : self.hop]).reshape(frames.shape[0], -1)


def level(power: Tensor) -> Tensor:
    """Power of a spectrum to its logarithm, of about zero mean and unit variance for speech.

    Scaled, because onnxruntime drops an addition of 1e-8 as one of nothing, and the logarithm of silence is then
    infinite.
    """
    return (torch.log(power * SCALE + FLOOR * SCALE) - math.log(SCALE) + 8) / 4
