"""The dense denoising autoencoder: three layers down to a code, three layers up again.

    F values, F bits of what is missing - fc1 - fc2 - fc3 | code | fc4 - fc5 - fc6 - F values

For tables, where a row has no neighbours that a convolution could look at.
After: Vincent et al. 2010, "Stacked denoising autoencoders"; the mask as input: Gondara & Wang 2018, "MIDA".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise_cli.nets.standardised import Standardised


class Dense(Standardised):
    """(B, F) in the columns' units, NaN where missing -> the same without NaN."""

    @dataclass(frozen=True)
    class Config:
        features: int = 8  # columns
        widths: tuple[int, ...] = (128, 64)  # of fc1 and fc2; the decoder mirrors them
        code: int = 32  # numbers in the bottleneck
        linear: bool = True  # a matrix beside the net: what depends linearly need not be squeezed through the code
        sigmoid: bool = False  # output in (0, 1), for data that are

    kind = "table"
    default_loss = "mse"
    halo = 0

    def __init__(self, config: Config):
        if len(config.widths) != 2 or min(*config.widths, config.code, config.features) < 1:
            raise ValueError("widths are two numbers, those of fc1 and fc2; all sizes are at least 1")
        super().__init__(config.features, 1)
        self.config, self.bounded = config, config.sigmoid
        features, (wide, narrow) = config.features, config.widths
        self.fc1 = nn.Linear(2 * features, wide)
        self.fc2 = nn.Linear(wide, narrow)
        self.fc3 = nn.Linear(narrow, config.code)
        self.fc4 = nn.Linear(config.code, narrow)
        self.fc5 = nn.Linear(narrow, wide)
        self.fc6 = nn.Linear(wide, features)
        self.beside = nn.Linear(2 * features, features, bias=False) if config.linear else None
        if self.beside is not None:
            nn.init.zeros_(self.beside.weight)

    def core(self, z: Tensor, missing: Tensor) -> Tensor:
        x = torch.cat([z, missing], 1)
        h = F.relu(self.fc2(F.relu(self.fc1(x))))
        h = F.relu(self.fc5(F.relu(self.fc4(F.relu(self.fc3(h))))))
        y = self.fc6(h)
        if self.beside is not None:
            y = y + self.beside(x)
        return torch.sigmoid(y) if self.config.sigmoid else y
