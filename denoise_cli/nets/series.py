"""A one-dimensional convolutional denoising autoencoder, for sensors and EEG: channels x time, of any length.

    z, mask - conv - conv/2 - conv/2 - blocks, dilated - up x 2 - + - up x 2 - + - conv - y
                 |        |                                       |            |
                 |        +---------------------------------------+            |
                 +-------------------------------------------------------------+

Time is squeezed to a quarter; what the squeezing loses comes past it. A gap is a value that is missing, and is told
to the net. It reaches a fixed time to either side, so that segments which overlap by it give what the whole would.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise_cli.nets.standardised import Standardised

KERNEL = 7  # samples, odd
SLOPE = 0.1  # of the leaky ReLU


class Block(nn.Module):
    """h + conv1(leaky(conv3(leaky(h)))), dilated."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.time = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.point = nn.Conv1d(width, width, 1)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.point(F.leaky_relu(self.time(F.leaky_relu(h, SLOPE)), SLOPE))


class SeriesDAE(Standardised):
    """(B, C, T) in the channels' units, NaN where missing -> the same without NaN; T a multiple of 4."""

    @dataclass(frozen=True)
    class Config:
        channels: int = 1
        width: int = 24  # channels of the first convolution; doubled where time is halved
        dilations: tuple[int, ...] = (1, 2, 4, 8)  # a block each, at a quarter of the rate

    kind = "series"
    default_loss = "mse"
    bounded = False
    multiple = 4

    def __init__(self, config: Config):
        super().__init__(config.channels, 2)
        self.config = config
        c, w, half = config.channels, config.width, KERNEL // 2
        self.stem = nn.Conv1d(2 * c, w, KERNEL, padding=half)
        self.down1 = nn.Conv1d(w, 2 * w, 4, stride=2, padding=1)
        self.down2 = nn.Conv1d(2 * w, 2 * w, 4, stride=2, padding=1)
        self.blocks = nn.Sequential(*[Block(2 * w, d) for d in config.dilations])
        self.up2 = nn.ConvTranspose1d(2 * w, 2 * w, 4, stride=2, padding=1)
        self.up1 = nn.ConvTranspose1d(2 * w, w, 4, stride=2, padding=1)
        self.head = nn.Conv1d(w, c, KERNEL, padding=half)

    @property
    def halo(self) -> int:
        """Samples beyond which nothing changes an output sample, to either side."""
        squeezed = sum(self.config.dilations) + 2  # cells of four samples; both ways of squeezing reach one each
        return KERNEL // 2 * 2 + (squeezed + 1) * self.multiple

    def core(self, z: Tensor, missing: Tensor) -> Tensor:
        fine = F.leaky_relu(self.stem(torch.cat([z, missing], 1)), SLOPE)
        middle = F.leaky_relu(self.down1(fine), SLOPE)
        coarse = self.blocks(self.down2(middle))
        middle = middle + self.up2(F.leaky_relu(coarse, SLOPE))
        return self.head(fine + F.leaky_relu(self.up1(F.leaky_relu(middle, SLOPE)), SLOPE))
