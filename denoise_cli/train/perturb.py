r"""Three ways to disturb a training, so that what comes out bears being disturbed; they compose in this order.

    clean - fgsm -> worse - noise -> noisy - net(w + weight noise) -> loss - update -> w - shake -> w + param noise

Each takes one number, 0 switches it off, and all that is random comes from the generator of the step: a resumed
run draws what an unbroken one would. Strengths of noise on weights are shares of each tensor's own rms, as a
kernel of rms 0.13 and one of 0.003 stand side by side in a fresh U-Net, and no absolute number suits both. The
norm of the noise then is that share of the norm of the tensor, as Wu et al. 2020 ("Adversarial weight perturbation
helps robust generalization") bound theirs layer by layer; a tensor of zeros, such as a fresh bias, gets none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from denoise_cli.train.stream import Pair, Stream

T = TypeVar("T")
Loss = Callable[[Tensor, Tensor], Tensor]


def gaussian(weight: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """N(0, (share rms)^2) in the shape of `weight`, with its rms; no gradient."""
    with torch.no_grad():
        noise = torch.randn(weight.shape, generator=generator, device=weight.device, dtype=weight.dtype)
        return noise * (share * weight.square().mean().sqrt())


def forward(
    net: nn.Module, x: Tensor, share: float, generator: torch.Generator, level: Tensor | None = None
) -> Tensor:
    """net(x), or net(x, level), with Gaussian noise on all parameters, drawn once for the batch; those stored stay.

    Backward gives the gradient at the noisy weights, and an optimiser takes it to the clean ones. In expectation
    this adds share^2 / 2 times the sum of rms^2 d^2L/dw^2 to the loss: a preference for flat minima (An 1996, "The
    effects of adding noise during backpropagation training on a generalization performance"). One draw a batch as
    Graves et al. 2013 ("Speech recognition with deep recurrent neural networks") have one a sequence; their
    strength is absolute, 0.075.
    """
    shown = (x,) if level is None else (x, level)
    if not share:
        return net(*shown)
    noisy = {name: weight + gaussian(weight, share, generator) for name, weight in net.named_parameters()}
    return torch.func.functional_call(net, noisy, shown)


@torch.no_grad()
def shake(optimiser: torch.optim.Optimizer, share: float, generator: torch.Generator) -> None:
    """Add Gaussian noise to the parameters, annealed as the learning rate: share rms lr / peak lr.

    Noise on the gradient (Neelakantan et al. 2015, "Adding gradient noise improves learning for very deep
    networks") reaches the weights in proportion to the rate, too. A descent of rate lr along a curvature h keeps a
    variance of noise^2 / (2 lr h): with noise ~ lr it falls as the rate does, and the last weights come near
    an optimum. With noise ~ sqrt(lr), Langevin dynamics (Welling & Teh 2011), it would stay, and they would be a
    sample.
    """
    if not share:
        return
    for group in optimiser.param_groups:
        now = share * group["lr"] / group["initial_lr"]
        for weight in group["params"]:
            weight.add_(gaussian(weight, now, generator))


def pairs(
    stream: Stream[T], net: nn.Module, loss_of: Loss, eps: float, amp: bool = False
) -> Callable[[T, torch.device, torch.Generator], Pair]:
    """`stream.pair`, with adversarial inputs where `eps`, in the stream's unit, is above 0.

    The attack is on the clean signal and the noise comes after it, as what is to be learnt is to denoise what was
    attacked; it is against the weights without noise, as in Wu et al. 2020, and every sample is attacked.
    """
    if not eps:
        return stream.pair

    def attack(clean: Tensor, gray: Tensor | None = None) -> Tensor:
        return fgsm(net, loss_of, clean, eps * stream.unit, gray=gray, amp=amp)

    return lambda batch, device, generator: stream.attacked(batch, device, generator, attack)


def fgsm(
    net: nn.Module, loss_of: Loss, clean: Tensor, eps: float, *, gray: Tensor | None = None, amp: bool = False
) -> Tensor:
    """The fast gradient sign method (Goodfellow et al. 2015, section 4), against a denoiser.

    x + eps sign(dL(net(x), clean) / dx) at x = clean: of all changes by at most `eps` a sample, the one that to
    first order raises the loss most. Samples without a gradient stay. The result is not clipped.

    Parameters
    ----------
    clean
        (B, C, H, W) or (B, C, T), in units of the signal, as is `eps`.
    gray
        (B, 1, 1, 1) bool: all channels of this sample are one, and move together.
    amp
        Whether the net computes in bfloat16.
    """
    x = clean.detach().requires_grad_()
    with torch.autocast(clean.device.type, torch.bfloat16, enabled=amp):
        output = net(x)
    (gradient,) = torch.autograd.grad(loss_of(output.float(), clean), x)
    if gray is not None:
        gradient = torch.where(gray, gradient.sum(1, keepdim=True), gradient)
    return clean + eps * gradient.sign()
