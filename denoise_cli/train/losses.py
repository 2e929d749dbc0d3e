"""Losses: (output, target) of equal shape, (B, C, H, W) or (B, C, T) -> scalar, the mean over all samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from denoise_cli.train.loudness import RMS, disturbance


def charbonnier(output: Tensor, target: Tensor) -> Tensor:
    """sqrt(d^2 + eps^2), a smooth L1 (Charbonnier et al. 1994), eps = 1e-3."""
    return torch.sqrt((output - target) ** 2 + 1e-6).mean()


def log_mse(output: Tensor, target: Tensor) -> Tensor:
    """ln(MSE of each sample + eps): the mean PSNR itself, so that faint noise counts as much as strong.

    eps is the square of two 8-bit steps: what is nearer than that, 42 dB, gains little.
    After: Chen et al., "HINet", CVPR workshops 2021 (PSNR as a loss).
    """
    error = (output - target).square().flatten(1).mean(1)
    return torch.log(error + (2 / 255) ** 2).mean()


WINDOW, HOP = 512, 128  # samples, of the spectra that are compared
POWER = 0.3  # compresses magnitudes about as the ear does
QUIET = 0.003  # rms below which a recording is not scaled up any more: -50 dB
LOUD = RMS  # to which the others are brought
SILENT = 3.0  # the gain of what should be silent: a higher one, and such a sample outweighs all others of its batch
WORTH = 0.02  # of a decibel of the signal-to-noise ratio
ENOUGH = 30.0  # dB: a better ratio gains little
OPINION = 0.15  # of a point: one is worth as much as seven and a half decibels of the ratio


def spectral(output: Tensor, target: Tensor) -> Tensor:
    """Distance of compressed spectra, for recordings (B, C, T); the level of a recording does not count.

    0.7 | |Y|^p - |S|^p |^2 + 0.3 | |Y|^p e^iy - |S|^p e^is |^2 with p = 0.3 (Braun & Tashev 2021, equation 8),
    plus the mean absolute difference of the waveforms, plus 0.02 of their ratio of noise to signal in dB, which
    stops falling at -30 dB (Wisdom et al. 2020, MixIT, equation 2). The spectra serve the ear; without the ratio,
    whatever is loud in an unusual voice (rumble, sharp sibilants) is taken for noise.
    """
    return _distance(*_levelled(output, target))


def perceptual(output: Tensor, target: Tensor) -> Tensor:
    """`spectral`, plus 0.15 times what PESQ would hold against the output (loudness.py), at 16 kHz."""
    y, s = _levelled(output, target)
    return _distance(y, s) + OPINION * disturbance(y.flatten(0, 1), s.flatten(0, 1)).mean()


def _levelled(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both, scaled so that the target of each sample is as loud as all others, where it is not silent."""
    power = target.square().mean((1, 2), keepdim=True)
    scale = torch.where(power == 0, SILENT, LOUD / power.sqrt().clamp(min=QUIET))
    return output * scale, target * scale


def _distance(y: Tensor, s: Tensor) -> Tensor:
    """What `spectral` says it is, of output and target that are levelled."""
    window = torch.hann_window(WINDOW, device=y.device)
    (y_size, y_part), (s_size, s_part) = (_compressed(v.flatten(0, 1), window) for v in (y, s))
    magnitude = (y_size - s_size).square().mean()
    phase = (y_part - s_part).square().sum(-1).mean()
    ratio = (y - s).square().mean((1, 2)) / LOUD**2
    snr = 10 * torch.log10(ratio + 10 ** (-ENOUGH / 10)) + ENOUGH
    return 0.7 * magnitude + 0.3 * phase + (y - s).abs().mean() + WORTH * snr.mean()


def _compressed(x: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T) -> compressed magnitude (B, F, K), and that with the phase, (B, F, K, 2)."""
    parts = torch.view_as_real(torch.stft(x, WINDOW, HOP, window=window, return_complex=True))
    power = parts.square().sum(-1) + 1e-8  # else the gradient of the root is infinite in silence
    return power ** (POWER / 2), parts * (power ** ((POWER - 1) / 2))[..., None]


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "charbonnier": charbonnier,
    "log-mse": log_mse,
    "spectral": spectral,
    "perceptual": perceptual,
    "bce": F.binary_cross_entropy,
}
SHORTEST = {"spectral": WINDOW, "perceptual": WINDOW}  # samples; these losses are for recordings alone
