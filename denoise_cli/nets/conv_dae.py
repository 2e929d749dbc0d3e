"""The small convolutional autoencoder of the textbooks: two poolings down, two up-samplings up, sigmoid out.

    conv 32 - pool 2 - conv 32 - pool 2 | conv 32 - up 2 - conv 32 - up 2 - conv C - sigmoid

Its bottleneck holds the picture at a quarter of the size; made for 28x28 digits, it takes any size.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


class ConvDAE(nn.Module):
    """(B, C, H, W) in [0, 1] -> the same in (0, 1); H and W multiples of 4."""

    @dataclass(frozen=True)
    class Config:
        channels: int = 1
        width: int = 32

    multiple = latent_stride = 4
    bounded = True  # the output is a probability, so binary cross-entropy is defined
    default_loss = "bce"

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        c, w = config.channels, config.width
        self.latent = w
        self.encoder = nn.Sequential(
            nn.Conv2d(c, w, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(w, w, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(w, w, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2),
            nn.Conv2d(w, w, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2),
            nn.Conv2d(w, c, 3, padding=1), nn.Sigmoid(),
        )  # fmt: skip

    def encode(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H / 4, W / 4)."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """The inverse of shapes."""
        return self.decoder(z)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))
