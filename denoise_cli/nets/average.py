"""The mean of what several nets give.

    x -+- net 0 -+
       +- net 1 -+- mean - y
       +-  ...  -+

Nets that were trained apart are wrong in ways of their own, and the mean is less wrong than they are in the mean:
by the spread of their answers, squared.
After: A. Krogh & J. Vedelsby, "Neural network ensembles, cross validation, and active learning", NIPS 1994, eq. 6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

MOST = 16  # nets


class Average(nn.Module):
    """Takes and gives what each of its nets does; all of one kind."""

    @dataclass(frozen=True)
    class Config:
        of: tuple[Mapping[str, Any], ...] = ()  # {"arch": name, "net": config} for each net
        channels: int = 0  # of pictures: those of every net

    kind: str | None = None  # that of its nets
    default_loss = "charbonnier"

    def __init__(self, config: Config):
        from denoise_cli.nets import NETS, build  # which lists this module

        super().__init__()
        if not 2 <= len(config.of) <= MOST:
            raise ValueError(f"it is made of 2 to {MOST} nets, see denoise average; not of {len(config.of)}")
        if any(NETS.get(part["arch"]) is Average for part in config.of):
            raise ValueError("an average of averages")
        self.config = config
        self.nets = nn.ModuleList(build(part["arch"], part["net"]) for part in config.of)
        if config.channels and any(getattr(net.config, "channels", 0) != config.channels for net in self.nets):
            raise ValueError(f"not all of its nets have {config.channels} channels")
        kinds = {getattr(net, "kind", "image") for net in self.nets}
        if len(kinds) > 1:
            raise ValueError(f"nets for {' and for '.join(sorted(kinds))}")
        (self.kind,) = kinds
        spectra: dict[int, nn.Module] = {}
        for net in self.nets:
            if (spectrum := getattr(net, "spectrum", None)) is not None:  # the same for all, and computed once
                net.spectrum = spectra.setdefault(spectrum.hop, spectrum)
        self.multiple: int = math.lcm(*(getattr(net, "multiple", 1) for net in self.nets))
        self.bounded = all(getattr(net, "bounded", False) for net in self.nets)

    @property
    def halo(self) -> int:
        """Samples beyond which nothing changes an output sample, to either side; of nets that have one."""
        return max(net.halo for net in self.nets)  # type: ignore[type-var, return-value]

    def forward(self, x: Tensor) -> Tensor:
        total = self.nets[0](x)
        for net in self.nets[1:]:
            total = total + net(x)
        return total / len(self.nets)
