"""Weights of a net for a wider or deeper one of the same family, which begins where the smaller one ended.

    old outputs   [ old weights | 0 ]      they do not hear new channels yet: what they say is unchanged
    new outputs   [  as initialised ]      they hear everything, and nobody hears them: training will

After: T. Chen, I. Goodfellow & J. Shlens, "Net2Net: accelerating learning via knowledge transfer", ICLR 2016, who
copy units instead and add noise to tell the copies apart.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


@torch.no_grad()
def grow(net: nn.Module, smaller: Mapping[str, Tensor]) -> None:
    """Load the state of a net of equal or smaller size into `net`, which must be freshly made.

    A net of our families whose residual blocks add to a stream gives the same output as the smaller one, if
    ``silenced`` names the last layer of every block. Raises ValueError where a tensor is larger than its place,
    or has none, and where one is missing that is not part of such a block.
    """
    own = net.state_dict()
    for name, old in smaller.items():
        if name not in own:
            raise ValueError(f"{name} has no place in it")
        new = own[name]
        if old.ndim != new.ndim or any(a > b for a, b in zip(old.shape, new.shape, strict=True)):
            raise ValueError(f"{name} is {tuple(old.shape)}, and its place {tuple(new.shape)}")
        if old.ndim >= 2:
            new[: old.shape[0]] = 0
        new[tuple(map(slice, old.shape))] = old
    for name in set(own) - set(smaller):
        block = name.rpartition(".")[0].rpartition(".")[0]
        silenced = getattr(net.get_submodule(block), "silenced", None)
        if silenced is None:
            raise ValueError(f"{name} is missing")
        nn.init.zeros_(net.get_submodule(f"{block}.{silenced}").weight)  # type: ignore[arg-type]
