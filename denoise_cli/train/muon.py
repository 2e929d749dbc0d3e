r"""Muon: momentum, orthogonalised, for hidden convolutions and matrices; Adam for everything else.

    m <- mu m + (1 - mu) g        u = (1 - mu) g + mu m        w <- (1 - lr d) w - lr s msign(u)

with each kernel (out, in, ...) seen as a matrix of `out` rows, s = sqrt(max(1, rows / columns)), decay d and
msign(U S V^T) = U V^T. A step then moves
all directions of a layer alike, where Adam is ruled by the few that have large gradients: for the U-Net this is
worth more than doubling the steps (benchmarks/README.md).

After: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks". ``torch.optim.Muon`` takes
matrices only, hence this file.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from denoise_cli.nets.average import Average

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic, from the post: steepest at zero, stays within 0.7..1.2
MOMENTUM = 0.95
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam
# With AVX-512 torch multiplies matrices of bfloat16 faster than those of float; without, twenty times slower.
_WIDE = torch.backends.cpu.get_cpu_capability().startswith("AVX512")


class Muon(torch.optim.Optimizer):
    """Takes the kernels and matrices that are `hidden`; all others, and all vectors, go to Adam.

    `lr` is that of Muon (the length of a step, in units of the spectral norm); Adam takes `adam` times that.
    Without `decay` the kernels grow for as long as the rate is high, until the loss blows up; with it their
    spectral norm stays below about 1 / decay.
    """

    def __init__(self, net: nn.Module, lr: float, decay: float = 0.2, adam: float = 0.2):
        inner = hidden(net)
        taken = set(map(id, inner))
        rest = [p for p in net.parameters() if id(p) not in taken]
        groups = [{"params": rest, "lr": adam * lr, "muon": False}]
        groups += [{"params": inner, "muon": True, "decay": decay}] if inner else []
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update from the gradients that are there."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if group["muon"]:
                self._muon(params, group["lr"], group["decay"])
            else:
                self._adam(params, group["lr"])

    def _muon(self, params: list[Tensor], lr: float, decay: float) -> None:
        alike: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for p in params:
            state, gradient = self.state[p], p.grad
            assert gradient is not None
            if not state:
                state["momentum"] = torch.zeros_like(gradient)
            state["momentum"].lerp_(gradient, 1 - MOMENTUM)
            update = gradient.lerp(state["momentum"], MOMENTUM).flatten(1)
            alike[update.shape[0], update.shape[1]].append((p, update))
        for (rows, columns), pairs in alike.items():
            directions = orthogonalised(torch.stack([update for _, update in pairs]))
            for (p, _), direction in zip(pairs, directions, strict=True):
                p.mul_(1 - lr * decay).sub_(direction.view(p.shape), alpha=lr * max(1.0, rows / columns) ** 0.5)

    def _adam(self, params: list[Tensor], lr: float) -> None:
        for p in params:
            state, gradient = self.state[p], p.grad
            assert gradient is not None
            if not state:
                state.update(step=0, mean=torch.zeros_like(gradient), square=torch.zeros_like(gradient))
            state["step"] += 1
            state["mean"].lerp_(gradient, 1 - BETAS[0])
            state["square"].lerp_(gradient.square(), 1 - BETAS[1])
            mean, square = (
                state[k] / (1 - b ** state["step"]) for k, b in zip(("mean", "square"), BETAS, strict=True)
            )
            p.sub_(lr * mean / (square.sqrt() + EPSILON))


def hidden(net: nn.Module) -> list[nn.Parameter]:
    """Kernels and matrices that neither read nor write the signal, as the first and the last of each net do."""
    if isinstance(net, Average):
        return [p for each in net.nets for p in hidden(each)]
    return [p for p in net.parameters() if p.ndim >= 2][1:-1]


def orthogonalised(matrices: Tensor, iterations: int = 5) -> Tensor:
    """(n, rows, columns) -> the same shape, every singular value moved to about 1.

    The Newton-Schulz iteration x <- a x + (b x x^T + c (x x^T)^2) x of the post; in bfloat16, which it bears, but
    on processors that would have to imitate it.
    """
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16() if matrices.is_cuda or _WIDE else matrices
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.float().flatten(1).norm(dim=1)[:, None, None] + 1e-7).to(x.dtype)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).float()
