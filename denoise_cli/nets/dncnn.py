"""DnCNN: a stack of 3x3 convolutions at full resolution that predicts the noise.

After Zhang et al. 2017, "Beyond a Gaussian Denoiser", with batch normalisation left out: at inference it
folds into the convolution, and residual learning with Adam trains without it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


class DnCNN(nn.Module):
    """(B, C, H, W) -> (B, C, H, W), any H and W."""

    @dataclass(frozen=True)
    class Config:
        channels: int = 3
        width: int = 64
        depth: int = 17  # convolutions; the receptive field is 2 * depth + 1 pixels wide

    multiple = 1
    bounded = False
    default_loss = "charbonnier"

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        layers: list[nn.Module] = [nn.Conv2d(config.channels, config.width, 3, padding=1), nn.ReLU()]
        for _ in range(config.depth - 2):
            layers += [nn.Conv2d(config.width, config.width, 3, padding=1), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(config.width, config.channels, 3, padding=1))
        for layer in self.body:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
                last = layer
        last.weight.data *= 0.1  # starts near the identity

    def forward(self, x: Tensor) -> Tensor:
        return x - self.body(x)
