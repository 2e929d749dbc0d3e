"""The denoising autoencoder of the textbooks: strided convolutions to a short latent vector, and back.

    x (C, 28, 28) -> conv 3/2, 32 -> conv 3/2, 64 -> dense to 16          the latent vector
                     dense to 64 x 7 x 7 -> up-conv 3/2, 64 -> up-conv 3/2, 32 -> up-conv 3, C -> sigmoid -> y

A dense layer over a 7 x 7 map is a convolution of 7 x 7 with stride 7. Written so, the same weights take a picture
of any size: each square of 28 x 28 pixels has a latent vector of its own, and a picture of 28 x 28 has one.
After: Atienza, "Advanced Deep Learning with Keras", chapter 3, denoising autoencoders; Vincent et al. 2008.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn


class LatentDAE(nn.Module):
    """(B, C, H, W) in [0, 1] -> the same in (0, 1); H and W multiples of `side`."""

    @dataclass(frozen=True)
    class Config:
        channels: int = 1
        side: int = 28  # pixels that one latent vector covers each way
        widths: tuple[int, ...] = (32, 64)  # channels of the encoder; each halves the side
        latent: int = 16  # numbers in a latent vector

    bounded = True
    default_loss = "mse"

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        widths = config.widths
        cell, rest = divmod(config.side, 2 ** len(widths))
        if rest or not cell or not widths:
            raise ValueError(f"side {config.side} cannot be halved {len(widths)} times")
        self.multiple = self.latent_stride = config.side
        self.latent = config.latent
        down = [
            layer
            for a, b in pairwise((config.channels, *widths))
            for layer in (nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU())
        ]
        self.encoder = nn.Sequential(*down, nn.Conv2d(widths[-1], config.latent, cell, stride=cell))
        up = [
            layer
            for a, b in pairwise((widths[-1], *reversed(widths)))
            for layer in (nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=1), nn.ReLU())
        ]
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(config.latent, widths[-1], cell, stride=cell),
            *up,
            nn.ConvTranspose2d(widths[0], config.channels, 3, padding=1),
            nn.Sigmoid(),
        )

    def encode(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, latent, H / side, W / side)."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """(B, latent, h, w) -> (B, C, h * side, w * side)."""
        return self.decoder(z)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))
