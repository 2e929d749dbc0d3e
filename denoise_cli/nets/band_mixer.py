r"""A mask on the short-time spectrum, from convolutions in time that all bands share; waveform in, waveform out.

    x (C, T) -- STFT -+- mean power of the channels - log - encoder - blocks - decoder - sigmoid
                      |                                                                     |
                      +-------------------------------------------------------------------- * -- inverse

The encoder folds 8 bins of the spectrum into a band with many channels. A block looks along time, with one
dilated kernel for all bands, then along the bands, with one pair of matrices for all frames. What speech looks like
in one band thus serves all others, and little speech is enough to learn from.

One mask serves all channels, so a stereo image stays where it is. The net reaches a fixed time to either side:
segments that overlap by it give what the whole recording would.
After: Luo & Mesgarani 2019, Conv-TasNet (dilated stacks); Tolstikhin et al. 2021, MLP-Mixer (a net along each
axis).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise_cli.nets.spectrum import Spectrum, level

SLOPE = 0.1  # of the leaky ReLU
FOLD = 8  # bins of the spectrum in a band


class Block(nn.Module):
    """h + conv1(leaky(conv3(h))) along time, dilated; then h + mix(leaky(mix(h))) along bands.

    (B, C, F, K) -> the same: channels, frames, bands.
    """

    def __init__(self, channels: int, bands: int, mixed: int, dilation: int):
        super().__init__()
        self.time = nn.Conv2d(channels, channels, (3, 1), padding=(dilation, 0), dilation=(dilation, 1))
        self.point = nn.Conv2d(channels, channels, 1)
        self.mix = nn.Linear(bands, mixed)
        self.unmix = nn.Linear(mixed, bands)
        for inner, outer in ((self.time, self.point), (self.mix, self.unmix)):
            nn.init.kaiming_normal_(inner.weight, SLOPE, nonlinearity="leaky_relu")
            nn.init.kaiming_normal_(outer.weight, nonlinearity="linear")
            with torch.no_grad():
                outer.weight *= 0.1  # blocks that start near the identity train faster
            for layer in (inner, outer):
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.point(F.leaky_relu(self.time(h), SLOPE))
        # As a matrix: onnxruntime then adds the bias and bends within the product, and saves a tenth of the time.
        rows = h.reshape(-1, h.shape[-1])
        return h + self.unmix(F.leaky_relu(self.mix(rows), SLOPE)).reshape(h.shape)


class BandMixer(nn.Module):
    """(B, C, T) in [-1, 1] -> the same; T a multiple of `multiple`."""

    @dataclass(frozen=True)
    class Config:
        window: int = 512  # samples of a frame, a multiple of 16; 32 ms at 16 kHz
        stem: int = 24  # channels at half the bins
        channels: int = 48  # of a band
        mixed: int = 48  # what the bands are mixed into
        dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 1, 2, 4, 8, 16, 1, 2)  # a block each; together they reach 1 s

    kind = "audio"
    bounded = False
    default_loss = "spectral"

    def __init__(self, config: Config):
        super().__init__()
        if config.window < 2 * FOLD or config.window % (2 * FOLD):
            raise ValueError(f"band-mixer: window must be a multiple of {2 * FOLD}, not {config.window}")
        self.config = config
        self.spectrum = Spectrum(config.window)
        self.multiple = self.spectrum.hop
        stem, channels, bands = config.stem, config.channels, self.multiple // FOLD
        self.stem = nn.Conv2d(1, stem, (3, 4), stride=(1, 2), padding=1)
        self.fold = nn.Conv2d(stem, channels, (1, 8), stride=(1, 4), padding=(0, 2))
        self.blocks = nn.Sequential(*[Block(channels, bands, config.mixed, d) for d in config.dilations])
        self.unfold = nn.ConvTranspose2d(channels, stem, (1, 8), stride=(1, 4), padding=(0, 2))
        self.head = nn.ConvTranspose2d(stem, 1, (3, 4), stride=(1, 2), padding=1)
        for layer in (self.stem, self.fold):
            nn.init.kaiming_normal_(layer.weight, SLOPE, nonlinearity="leaky_relu")
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, 2.0)  # type: ignore[arg-type]  # starts near "there is no noise"

    @property
    def halo(self) -> int:
        """Samples beyond which nothing changes an output sample, to either side."""
        return (sum(self.config.dilations) + 4) * self.multiple

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, _ = x.shape
        with torch.autocast(x.device.type, enabled=False):
            real, imaginary = self.spectrum(x.reshape(batch * channels, -1).float())
            power = (real**2 + imaginary**2).reshape(batch, channels, -1, self.multiple + 1).mean(1)
            heard = level(power)
        mask = torch.sigmoid(self._logits(heard[:, None, :, 1:]).float())[:, 0]
        with torch.autocast(x.device.type, enabled=False):
            mask = torch.cat([mask[..., :1], mask], 2)  # the mean of a frame goes with its lowest tone
            mask = mask[:, None].expand(batch, channels, -1, -1).reshape(batch * channels, -1, self.multiple + 1)
            return self.spectrum.inverse(real * mask, imaginary * mask).reshape(batch, channels, -1)

    def _logits(self, x: Tensor) -> Tensor:
        """(B, 1, F, bins) -> the same."""
        fine = F.leaky_relu(self.stem(x), SLOPE)
        coarse = self.blocks(F.leaky_relu(self.fold(fine), SLOPE))
        return self.head(fine + F.leaky_relu(self.unfold(coarse), SLOPE))
