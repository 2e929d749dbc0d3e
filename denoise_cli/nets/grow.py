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
    ``silenced`` names the last layer of every block; a gray net that of a colour one, shown three equal channels,
    if ``ends`` names the layers that take and give channels. Raises ValueError where a tensor is larger than its
    place, or has none, and where one is missing that is not part of such a block.
    """
    own = net.state_dict()
    if ends := getattr(net, "ends", None):
        smaller = _of_gray(smaller, own, *ends)
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


def _of_gray(
    smaller: Mapping[str, Tensor], own: Mapping[str, Tensor], first: str, last: str
) -> Mapping[str, Tensor]:
    """Weights of a colour net for a gray one: the sum of what equal channels did, the mean of what they got."""
    new, old = own[f"{first}.weight"], smaller.get(f"{first}.weight")
    if old is None or new.shape[1] != 1 or old.ndim != new.ndim or old.shape[1] != 3:
        return smaller
    mean = {name: smaller[name].unflatten(0, (3, -1)).mean(0) for name in (f"{last}.weight", f"{last}.bias")}
    return {**smaller, f"{first}.weight": old.sum(1, keepdim=True), **mean}
