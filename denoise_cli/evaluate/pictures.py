"""Pictures: PSNR, SSIM, and seconds per megapixel."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from denoise_cli import noising
from denoise_cli.corrupt import Chain
from denoise_cli.errors import InputError, UsageError
from denoise_cli.evaluate.matching import Pair
from denoise_cli.evaluate.rows import Denoiser, Scored
from denoise_cli.media import files, image
from denoise_cli.metrics import WINDOW, psnr, ssim
from denoise_cli.signal import Kind, Signal

METRICS = ("noisy_psnr", "noisy_ssim", "psnr", "ssim", "seconds_per_megapixel")


@dataclass(frozen=True)
class PictureRow:
    """The scores of one picture at one noise; PSNR in dB, time for the denoiser alone."""

    kind: ClassVar[Kind] = "image"

    file: str
    noise: str
    noisy_psnr: float
    noisy_ssim: float | None  # None: the picture is smaller than the window
    psnr: float
    ssim: float | None
    pixels: int
    seconds: float

    @property
    def seconds_per_megapixel(self) -> float:
        return self.seconds / self.pixels * 1e6

    @property
    def headline(self) -> str:
        return f"{self.psnr:.2f} dB"

    def scores(self) -> dict[str, float | None]:
        return {name: getattr(self, name) for name in METRICS}

    def flat(self) -> dict[str, Any]:
        return asdict(self) | {"seconds_per_megapixel": self.seconds_per_megapixel}


def score(pair: Pair, denoiser: Denoiser | None, noise: Chain | None, label: str, seed: int, clip: bool) -> Scored:
    """Score one pair; raises InputError where the files do not go together."""
    if pair.noisy is None:
        if noise is None:
            raise UsageError("give a folder of noisy files, or --noise")
        with closing(image.open_image(files.open_input(pair.clean), str(pair.clean))) as source:
            header = source.header
            both = zip(*noising.blocks(source, noise, seed), strict=True)
            clean, noisy = (np.concatenate(side, axis=1) for side in both)
        noisy = header.stored(noisy) if clip else noisy
    else:
        sharp, degraded = image.read(pair.clean), image.read(pair.noisy)
        if sharp.extras != degraded.extras:  # else both lie on each other as they are stored
            sharp, degraded = image.shown(sharp), image.shown(degraded)
        clean, noisy, header = sharp.data, degraded.data, degraded.header
    if noisy.shape != clean.shape:
        raise InputError(f"{pair.name}: noisy is {_size(noisy)}, clean is {_size(clean)}")
    began = time.perf_counter()
    denoised = noisy if denoiser is None else denoiser(Signal(noisy, header))
    seconds = time.perf_counter() - began
    denoised = header.stored(denoised)
    row = PictureRow(
        pair.name, label or ("" if noise is None else str(noise)),
        psnr(noisy, clean), _ssim(noisy, clean), psnr(denoised, clean), _ssim(denoised, clean),
        clean.shape[1] * clean.shape[2], seconds,
    )  # fmt: skip
    short = f"no SSIM: it needs at least {WINDOW}x{WINDOW} pixels, and this has {_sides(clean)}"
    return Scored(pair, row, clean, noisy, denoised, () if row.ssim is not None else (short,))


def _ssim(x: np.ndarray, clean: np.ndarray) -> float | None:
    return ssim(x, clean) if min(clean.shape[1:]) >= WINDOW else None


def _size(x: np.ndarray) -> str:
    return f"{_sides(x)} with {x.shape[0]} channels"


def _sides(x: np.ndarray) -> str:
    return f"{x.shape[2]}x{x.shape[1]}"
