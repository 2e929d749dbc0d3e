r"""A U-Net of plain 3x3 convolutions at half resolution and below: the shape a CPU runs at its peak.

    x (C) -> conv 6x6/2 -> w0 blocks --------------------- + -> w0 blocks -> conv -> shuffle -> x - .
                             \ conv 2x2/2                 / 1x1, nearest x2
                              w1 blocks ---------- + -> w1 blocks
                                 \ conv 2x2/2      / 1x1, nearest x2
                                  w2 blocks ------

Depthwise and 1x1 mixes have fewer operations but reach two thirds of the processor's rate. Going up by 1x1 and
nearest neighbour keeps onnxruntime in its blocked layout; a pixel-shuffle there costs 8 % of the whole net.
After: Ronneberger et al. 2015 (U-Net); Zhang et al. 2021, DRUNet (residual blocks without norm).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1  # of the leaky ReLU; onnxruntime runs it within the convolution, at no cost


class Block(nn.Module):
    """h + conv(leaky(conv(h))), (B, c, H, W) -> the same.

    Nothing here normalises, so the scale and the mean of the signal are ours to keep. torch's own initialisation
    lets the scale shrink at every level; and where a mean grows, it acts as a bias that holds units below zero
    on every picture: with biases, plain ReLU and pictures in 0..1 most units of the lower levels died in training.
    Hence He initialisation, no biases, a slope below zero, and the centred input of the net.
    """

    silenced = "b"  # without its weights the block passes h on as it is

    def __init__(self, width: int):
        super().__init__()
        self.a = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.b = nn.Conv2d(width, width, 3, padding=1, bias=False)
        _keep_scale(self.a, "leaky_relu")
        _keep_scale(self.b, "linear", 0.1)  # blocks that start near the identity train faster

    def forward(self, h: Tensor) -> Tensor:
        return h + self.b(F.leaky_relu(self.a(h), SLOPE))


def _keep_scale(layer: nn.Conv2d, nonlinearity: Literal["leaky_relu", "linear"], gain: float = 1.0) -> None:
    """Initialise as He et al. 2015, so that the output has the variance of the input, times `gain` squared."""
    nn.init.kaiming_normal_(layer.weight, SLOPE, nonlinearity=nonlinearity)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer.weight *= gain


class Told(nn.Module):
    """The noise level to a bias of every channel, (B,) -> (B, width, 1, 1); none where it is UNTOLD.

    Linear in one, the level, and its logarithm, which tells faint levels apart.
    """

    silenced = "bias"

    def __init__(self, width: int):
        super().__init__()
        self.bias = nn.Linear(3, width, bias=False)
        nn.init.zeros_(self.bias.weight)

    def forward(self, sigma: Tensor) -> Tensor:
        known, steps = (sigma >= 0).to(sigma.dtype), 255 * sigma.clamp(min=0)
        told = torch.stack([known, known * steps / 25, torch.log1p(steps) / 3], 1)
        return self.bias(told)[:, :, None, None]


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*[Block(width) for _ in range(count)])


class UNet(nn.Module):
    """(B, C, H, W) -> (B, C, H, W); H and W multiples of `multiple`."""

    @dataclass(frozen=True)
    class Config:
        channels: int = 3
        widths: tuple[int, ...] = (32, 64, 128)  # channels a level, finest first
        blocks: tuple[int, ...] = (2, 2, 3)  # residual blocks a level, on the way down and again up
        noise_map: bool = False  # may be told the noise level

    bounded = False
    default_loss = "charbonnier"
    ends = ("stem", "head")  # from channels, and back to them, the positions of a 2x2 cell within each

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        widths, blocks = list(config.widths), list(config.blocks)
        if len(widths) != len(blocks):
            raise ValueError(f"unet: {len(widths)} widths but {len(blocks)} block counts")
        self.multiple = 2 ** len(widths)
        self.stem = nn.Conv2d(config.channels, widths[0], 6, stride=2, padding=2)
        self.down_blocks = nn.ModuleList(_blocks(w, n) for w, n in zip(widths[:-1], blocks[:-1], strict=True))
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.middle = _blocks(widths[-1], blocks[-1])
        self.ups = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.up_blocks = nn.ModuleList(_blocks(w, n) for w, n in zip(widths[:-1], blocks[:-1], strict=True))
        self.told = nn.ModuleList(map(Told, widths) if config.noise_map else ())
        self.head = nn.Conv2d(widths[0], 4 * config.channels, 3, padding=1)
        for layer in (self.stem, *self.downs, *self.ups):
            _keep_scale(layer, "linear")
        _keep_scale(self.head, "linear", 0.1)  # start near "there is no noise"

    def forward(self, x: Tensor, sigma: Tensor | None = None) -> Tensor:
        """X (B, C, H, W) in [0, 1]; sigma (B,) in [0, 1], or UNTOLD, for nets that may be told the noise level."""
        h = self._tell(0, self.stem(x - 0.5), sigma)
        skips = []
        for level, (blocks, down) in enumerate(zip(self.down_blocks, self.downs, strict=True), 1):
            h = blocks(h)
            skips.append(h)
            h = self._tell(level, down(h), sigma)
        h = self.middle(h)
        for up, blocks in zip(reversed(self.ups), reversed(self.up_blocks), strict=True):
            h = blocks(F.interpolate(up(h), scale_factor=2, mode="nearest") + skips.pop())
        return x - F.pixel_shuffle(self.head(h), 2)

    def _tell(self, level: int, h: Tensor, sigma: Tensor | None) -> Tensor:
        return h if sigma is None else h + self.told[level](sigma)
