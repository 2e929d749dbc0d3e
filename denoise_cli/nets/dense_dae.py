"""The dense denoising autoencoder for pictures: six layers that see every pixel of a square at once.

    x (C, 28, 28) -> fc1, 512 -> fc2, 256 -> fc3, 64      the latent vector
                     fc4, 256 -> fc5, 512 -> fc6, C x 28 x 28 -> sigmoid -> y

As in latent_dae.py the layers are written as convolutions, fc1 and fc6 with kernels of a whole square, so that the
same weights take a picture of any size: each square of 28 x 28 pixels has a latent vector of its own.
After: Vincent et al. 2010, "Stacked denoising autoencoders".
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


class DenseDAE(nn.Module):
    """(B, C, H, W) in [0, 1] -> the same in (0, 1); H and W multiples of `side`."""

    @dataclass(frozen=True)
    class Config:
        channels: int = 1
        side: int = 28  # pixels that one latent vector covers each way
        widths: tuple[int, ...] = (512, 256)  # of fc1 and fc2; the decoder mirrors them
        latent: int = 64  # numbers in a latent vector

    bounded = True
    default_loss = "mse"

    def __init__(self, config: Config):
        super().__init__()
        if len(config.widths) != 2 or min(*config.widths, config.latent, config.side, config.channels) < 1:
            raise ValueError("widths are two numbers, those of fc1 and fc2; all sizes are at least 1")
        self.config = config
        self.multiple = self.latent_stride = side = config.side
        self.latent = config.latent
        wide, narrow = config.widths
        self.fc1 = nn.Conv2d(config.channels, wide, side, stride=side)
        self.fc2 = nn.Conv2d(wide, narrow, 1)
        self.fc3 = nn.Conv2d(narrow, config.latent, 1)
        self.fc4 = nn.Conv2d(config.latent, narrow, 1)
        self.fc5 = nn.Conv2d(narrow, wide, 1)
        self.fc6 = nn.ConvTranspose2d(wide, config.channels, side, stride=side)

    def encode(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, latent, H / side, W / side)."""
        return self.fc3(self.fc2(self.fc1(x).relu()).relu())

    def decode(self, z: Tensor) -> Tensor:
        """(B, latent, h, w) -> (B, C, h * side, w * side)."""
        return self.fc6(self.fc5(self.fc4(z).relu()).relu()).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))
