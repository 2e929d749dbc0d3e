"""The architectures: a config dataclass and a module each. A new one is one file and one line here."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from torch import nn

from denoise_cli.errors import UsageError, choice
from denoise_cli.nets.average import Average
from denoise_cli.nets.band_mixer import BandMixer
from denoise_cli.nets.conv_dae import ConvDAE
from denoise_cli.nets.dense import Dense
from denoise_cli.nets.dense_dae import DenseDAE
from denoise_cli.nets.dncnn import DnCNN
from denoise_cli.nets.latent_dae import LatentDAE
from denoise_cli.nets.series import SeriesDAE
from denoise_cli.nets.unet import UNet

NETS: dict[str, Any] = {
    "unet": UNet, "dncnn": DnCNN, "conv-dae": ConvDAE, "latent-dae": LatentDAE,
    "dense-dae": DenseDAE,
    "band-mixer": BandMixer,
    "dense": Dense, "series": SeriesDAE,
    "average": Average,
}  # fmt: skip


def build(arch: str, config: Mapping[str, Any]) -> nn.Module:
    """A fresh module; raises UsageError for an unknown architecture or config key."""
    if arch not in NETS:
        built_alone = [name for name in NETS if name != "average"]  # that is made of trained models
        raise UsageError(choice("architecture", arch, built_alone))
    net = NETS[arch]
    known = [field.name for field in fields(net.Config)]
    for key in config:
        if key not in known:
            raise UsageError(choice(f"option of {arch}", key, known))
    defaults = asdict(net.Config())
    # One level of a U-Net may be written as a number.
    values = {k: (v,) if isinstance(defaults[k], tuple) and isinstance(v, int) else v for k, v in config.items()}
    try:
        return net(net.Config(**values))
    except (ValueError, TypeError, RuntimeError, IndexError, ZeroDivisionError) as error:
        reason, shown = str(error).splitlines()[0], reprlib.repr(values)
        raise UsageError(f"{arch} cannot be built with {shown}: {reason}") from None


def config_of(module: nn.Module) -> dict[str, Any]:
    """The config a module was built from, as plain JSON values."""
    return asdict(module.config)  # type: ignore[call-overload]
