r"""A mask on the short-time spectrum, from a stack of dilated convolutions in time; waveform in, waveform out.

    x (C, T) -- STFT -+- mean power of the channels - log - conv 1 - dilated blocks - conv 1 - sigmoid
                      |                                                                           |
                      +-------------------------------------------------------------------------- * -- inverse

The transform and its inverse are matrix products inside the graph, so the ONNX file needs no signal processing
around it. One mask serves all channels, so a stereo image stays where it is. The net reaches a fixed time to
either side: segments that overlap by it give what the whole recording would.
After: Luo & Mesgarani 2019, Conv-TasNet (dilated stacks); here on the spectrum, and without normalisation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1  # of the leaky ReLU
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


class Block(nn.Module):
    """h + conv1(leaky(conv3(h))), the conv3 dilated; (B, W, F) -> the same."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.a = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.b = nn.Conv1d(width, width, 1)
        nn.init.kaiming_normal_(self.a.weight, SLOPE, nonlinearity="leaky_relu")
        nn.init.kaiming_normal_(self.b.weight, nonlinearity="linear")
        with torch.no_grad():
            self.b.weight *= 0.1  # blocks that start near the identity train faster
        for layer in (self.a, self.b):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor) -> Tensor:
        return h + self.b(F.leaky_relu(self.a(h), SLOPE))


class MaskTCN(nn.Module):
    """(B, C, T) in [-1, 1] -> the same; T a multiple of `multiple`."""

    @dataclass(frozen=True)
    class Config:
        window: int = 512  # samples of a frame, a power of two; 32 ms at 16 kHz
        width: int = 192
        dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 1, 2, 4, 8, 16, 32)  # a block each

    kind = "audio"
    bounded = False
    default_loss = "spectral"

    def __init__(self, config: Config):
        super().__init__()
        if config.window < 16 or config.window % 2:
            raise ValueError(f"mask-tcn: window must be even and at least 16, not {config.window}")
        self.config = config
        self.spectrum = Spectrum(config.window)
        self.multiple = self.spectrum.hop
        bins = self.multiple + 1
        self.stem = nn.Conv1d(bins, config.width, 1)
        self.blocks = nn.Sequential(*[Block(config.width, dilation) for dilation in config.dilations])
        self.head = nn.Conv1d(config.width, bins, 1)
        nn.init.kaiming_normal_(self.stem.weight, nonlinearity="linear")
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, 2.0)  # type: ignore[arg-type]  # starts near "there is no noise"

    @property
    def halo(self) -> int:
        """Samples beyond which nothing changes an output sample, to either side."""
        return (sum(self.config.dilations) + 2) * self.multiple

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, _ = x.shape
        with torch.autocast(x.device.type, enabled=False):
            real, imaginary = self.spectrum(x.reshape(batch * channels, -1).float())
            power = (real**2 + imaginary**2).reshape(batch, channels, -1, self.multiple + 1).mean(1)
            # About zero mean and unit variance for speech. Scaled, because onnxruntime drops an addition of 1e-8
            # as one of nothing, and the logarithm of silence is then infinite.
            level = (torch.log(power * SCALE + FLOOR * SCALE) - math.log(SCALE) + 8) / 4
        mask = torch.sigmoid(self.head(self.blocks(self.stem(level.mT))).float()).mT
        with torch.autocast(x.device.type, enabled=False):
            mask = mask[:, None].expand(batch, channels, -1, -1).reshape(batch * channels, -1, self.multiple + 1)
            return self.spectrum.inverse(real * mask, imaginary * mask).reshape(batch, channels, -1)
