"""What a listener would hold against a recording: PESQ's measure of disturbance, made for training.

    (B, T) -> power spectrum -> Bark bands -> level, gains of frames undone -> loudness -> disturbance -> points

Differs from PESQ (ITU-T P.862, P.862.2) in what a training has no use for: no alignment in time, no filter of the
receiver, no search for bad intervals; bands, thresholds and loudness come from formulas instead of its tables.
After: Martín-Doñas et al. 2018, "A deep learning loss function based on the perceptual evaluation of the speech
quality", IEEE Signal Processing Letters 25(11).
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

RATE = 16_000  # samples a second, at which PESQ knows wide-band speech
WINDOW, HOP = 512, 256  # samples
BARK = 0.5  # width of a band
SPEECH, RMS = 79.0, 0.1  # dB of sound pressure, PESQ's listening level, and the rms that stands for it
SPOKEN, SHARE = (350.0, 3250.0), 0.93  # Hz by which PESQ sets the level, and what of the power of speech lies there
SONES = 0.1866 * 2**0.23  # P.862.2's loudness; in the form below a tone of 1 kHz and 40 dB is 1.1 sones
GROWTH = 0.23  # of loudness with intensity
GAINS = 3e-4, 5.0  # of a frame, that are undone
MASKED = 0.25  # of the fainter of two loudnesses: a smaller difference is not heard
FAINT = 50.0  # intensity below which nothing is told to have been added
ADDED, MOST = 3.0, 12.0  # asymmetry: what is below the first was not added, and the second is its limit
WORST = 45.0  # disturbance of a frame, at most
SYLLABLE, SHARP = 20, 6  # frames, and the norm over them: the worst moment of a syllable is what is heard
SYMMETRIC, ASYMMETRIC = 0.1, 0.0309  # points of opinion for a disturbance of one


def disturbance(output: Tensor, target: Tensor) -> Tensor:
    """Points of opinion that `output` loses against `target`, (B, T) each at 16 kHz and about `RMS`, -> (B,)."""
    y, s = intensity(output), intensity(target)
    level = s[..., _bands()[2].to(s.device)].sum(-1).mean(1)[:, None, None]
    # A silent target has no level.
    gain = torch.where(level > 1, SHARE * 10 ** (SPEECH / 10) / level.clamp(min=1), 1.0)
    y, s = y * gain, s * gain
    low, high = GAINS
    y = y * ((s.sum(-1, keepdim=True) + 5e3) / (y.sum(-1, keepdim=True) + 5e3)).clamp(low, high)
    louder, loud = loudness(y), loudness(s)
    difference = F.relu((louder - loud).abs() - MASKED * torch.minimum(louder, loud)) * BARK
    ratio = ((y + FAINT) / (s + FAINT)) ** 1.2
    asymmetry = torch.where(ratio < ADDED, 0.0, ratio.clamp(max=MOST)).detach()
    weight = ((s.sum(-1) + 1e5) / 1e7) ** 0.04  # a frame that is loud as a whole forgives more
    bark = BARK * difference.shape[-1]  # of all bands; PESQ's norms are means over it, times it
    symmetric = (bark * (difference.square().sum(-1) + 1e-6)).sqrt() / weight
    asymmetric = (difference * asymmetry).sum(-1) / weight
    return SYMMETRIC * _worst(symmetric) + ASYMMETRIC * _worst(asymmetric)


def _worst(frames: Tensor) -> Tensor:
    """(B, frames) -> (B,): the norm of power 6 in syllables that overlap by half, and of power 2 over these."""
    length = min(SYLLABLE, frames.shape[1])
    syllables = frames.clamp(max=WORST).unfold(1, length, max(1, length // 2))
    # 1e-6: else a root of nothing has no gradient.
    return ((syllables**SHARP).mean(-1) + 1e-6).pow(2 / SHARP).mean(-1).sqrt()


def intensity(x: Tensor) -> Tensor:
    """(B, T) -> intensity over that of 0 dB of sound pressure, (B, frames, bands)."""
    window = torch.hann_window(WINDOW, device=x.device)
    spectrum = torch.view_as_real(torch.stft(x, WINDOW, HOP, window=window, return_complex=True))
    # Of a signal of mean square p the bins of a frame sum to p * WINDOW * (sum of the window's squares) / 2.
    unit = 2 / (WINDOW * float(window.square().sum())) / RMS**2 * 10 ** (SPEECH / 10)
    bands = _bands()[0]
    return (spectrum.square().sum(-1) * unit).transpose(1, 2) @ bands.to(x.device)


def loudness(power: Tensor) -> Tensor:
    """Intensity (..., bands) -> specific loudness, sones a Bark; none below the threshold of hearing.

    N' = c (I_q / I_0)^0.23 ((0.5 I / I_q + 0.5)^0.23 - 1), I_q the threshold in the band: Zwicker & Fastl 1999,
    "Psychoacoustics", equation 8.7.
    """
    quiet = _bands()[1].to(power.device)
    return F.relu(SONES * quiet**GROWTH * ((0.5 * power / quiet + 0.5) ** GROWTH - 1))


@functools.cache
def _bands() -> tuple[Tensor, Tensor, Tensor]:
    """Share of each bin in each band, (bins, bands); of each band its threshold, and whether it is `SPOKEN`.

    Bark by Traunmüller 1990; the threshold in quiet by Terhardt 1979.
    """
    edges = torch.arange(WINDOW // 2 + 2, dtype=torch.float64) - 0.5  # of the bins
    hertz = (edges * RATE / WINDOW).clamp(min=20)
    bark = 26.81 * hertz / (1960 + hertz) - 0.53
    lower = torch.arange(int(bark[-1] / BARK), dtype=torch.float64) * BARK
    overlap = torch.minimum(bark[1:, None], lower + BARK) - torch.maximum(bark[:-1, None], lower)
    share = overlap.clamp(min=0) / (bark[1:] - bark[:-1]).clamp(min=1e-9)[:, None]
    middle = lower + BARK / 2
    kilohertz = 1.96 * (middle + 0.53) / (26.28 - middle)
    quiet = 3.64 * kilohertz**-0.8 - 6.5 * torch.exp(-0.6 * (kilohertz - 3.3) ** 2) + 1e-3 * kilohertz**4
    spoken = (kilohertz > SPOKEN[0] / 1000) & (kilohertz < SPOKEN[1] / 1000)
    return share.float(), (10 ** (quiet / 10)).float(), spoken
