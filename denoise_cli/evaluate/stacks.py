"""Stacks of pictures in array files: one row for all of them, with means and standard deviations.

PSNR and MSE are those of each picture, then averaged: the mean PSNR is not the PSNR of the mean MSE.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from denoise_cli import stacks
from denoise_cli.corrupt import Chain
from denoise_cli.errors import InputError
from denoise_cli.media import arrays
from denoise_cli.metrics.pictures import decibels
from denoise_cli.signal import Header

Batch = Callable[[np.ndarray], np.ndarray]  # (N, C, H, W) -> the same, denoised
SHOWN = 10  # pictures on a sheet


@dataclass(frozen=True)
class StackRow:
    """Scores of a stack at one noise: PSNR in dB, MSE in units of [0, 1] squared; time is the denoiser's alone."""

    file: str
    noise: str
    pictures: int
    noisy_psnr: float
    noisy_psnr_std: float  # over the pictures
    noisy_mse: float
    psnr: float
    psnr_std: float
    mse: float
    mse_std: float
    pixels: int
    seconds: float

    @property
    def seconds_per_megapixel(self) -> float:
        return self.seconds / self.pixels * 1e6

    def flat(self) -> dict[str, Any]:
        return asdict(self) | {"seconds_per_megapixel": self.seconds_per_megapixel}


@dataclass(frozen=True)
class Example:
    """A picture of the stack, (C, H, W) each; for a sheet."""

    clean: np.ndarray
    noisy: np.ndarray
    denoised: np.ndarray


@dataclass(frozen=True)
class Pair:
    """A clean stack, and the noisy one, or None where the noise is made here."""

    clean: arrays.Stack
    noisy: arrays.Stack | None = None


def pair(noisy: Path | None, clean: Path) -> Pair:
    """Read them; of a .npz with x_train and x_test the latter. Raises InputError where they do not go together."""
    if noisy is None:
        return Pair(arrays.read(clean, "test"))
    both = Pair(arrays.read(clean, "test"), arrays.read(noisy, "test"))
    assert both.noisy is not None
    if both.noisy.pixels.shape != (shape := both.clean.pixels.shape):
        raise InputError(f"{both.noisy.name} is {both.noisy.pixels.shape}, {both.clean.name} is {shape}")
    return both


def evaluate(
    both: Pair,
    denoiser: Batch | None,
    noise: Chain | None = None,
    *,
    label: str = "",
    seed: int = 0,
    clip: bool = True,
) -> tuple[StackRow, list[Example]]:
    """Score a stack; `denoiser` None scores the noisy pictures themselves. The examples lie evenly in the stack.

    The noise of a picture hangs on the seed and on its place in the stack alone.
    """
    count, _, height, width = both.clean.pixels.shape
    header = Header.picture(both.clean.pixels.shape[1:], step=1 / 255)
    shown = set(np.linspace(0, count - 1, min(SHOWN, count)).round().astype(int).tolist())
    errors: dict[str, list[np.ndarray]] = {"noisy": [], "denoised": []}
    examples, seconds = [], 0.0
    for part in stacks.slices(count, height, width):
        clean = both.clean.pixels[part].astype(np.float32) / 255
        if both.noisy is not None:
            noisy = both.noisy.pixels[part].astype(np.float32) / 255
        else:
            noisy = np.stack([_hit(x, header, noise, [seed, part.start + k]) for k, x in enumerate(clean)])
            noisy = header.stored(noisy) if clip else noisy
        began = time.perf_counter()
        denoised = noisy if denoiser is None else denoiser(noisy)
        seconds += time.perf_counter() - began
        denoised = header.stored(denoised)
        for name, x in (("noisy", noisy), ("denoised", denoised)):
            errors[name].append(np.square(x - clean, dtype=np.float64).mean(axis=(1, 2, 3)))
        for index in sorted(shown & set(range(part.start, part.stop))):
            k = index - part.start
            examples.append(Example(clean[k], noisy[k].clip(0, 1), denoised[k]))
    before, after = (np.concatenate(errors[name]) for name in ("noisy", "denoised"))
    row = StackRow(
        both.clean.name, label or ("" if noise is None else str(noise)), count,
        *_mean_std(decibels(before)), float(before.mean()),
        *_mean_std(decibels(after)), *_mean_std(after),
        count * height * width, seconds,
    )  # fmt: skip
    return row, examples


def _mean_std(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation; of infinite values only the mean is a number of its own, infinity."""
    if not np.isfinite(values).all():
        return float("inf"), float("nan")
    return float(values.mean()), float(values.std())


def _hit(x: np.ndarray, header: Header, noise: Chain | None, seed: list[int]) -> np.ndarray:
    if noise is None:
        return x
    return noise.stream(header, np.random.default_rng(seed))(x)


def sweep_rows(
    both: Pair,
    denoiser: Batch | None,
    levels: Sequence[tuple[str, Chain | None]],
    *,
    seed: int = 0,
    clip: bool = True,
) -> Iterator[tuple[StackRow, list[Example]]]:
    """`evaluate` at each noise."""
    for label, noise in levels:
        yield evaluate(both, denoiser, noise, label=label, seed=seed, clip=clip)
