"""The architectures: a config dataclass and a module each. A new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from torch import nn

from denoise_cli.errors import UsageError, choice
from denoise_cli.nets.conv_dae import ConvDAE
from denoise_cli.nets.dncnn import DnCNN
from denoise_cli.nets.unet import UNet

NETS: dict[str, Any] = {"unet": UNet, "dncnn": DnCNN, "conv-dae": ConvDAE}


def build(arch: str, config: Mapping[str, Any]) -> nn.Module:
    """A fresh module; raises UsageError for an unknown architecture or config key."""
    if arch not in NETS:
        raise UsageError(choice("architecture", arch, NETS))
    net = NETS[arch]
    known = [field.name for field in fields(net.Config)]
    for key in config:
        if key not in known:
            raise UsageError(choice(f"option of {arch}", key, known))
    return net(net.Config(**config))


def config_of(module: nn.Module) -> dict[str, Any]:
    """The config a module was built from, as plain JSON values."""
    return asdict(module.config)  # type: ignore[arg-type]
