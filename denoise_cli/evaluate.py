"""Score a denoiser: pairs of noisy and clean files, or clean files that are corrupted here.

Inputs and outputs are scored as a file would hold them: clipped and rounded to the picture's own depth,
unless the noise is asked for unclipped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from denoise_cli import media, noising
from denoise_cli.corrupt import Chain, Corruption, Span
from denoise_cli.errors import DenoiseError, InputError, UnavailableError, UsageError
from denoise_cli.media import files, image
from denoise_cli.metrics import WINDOW, psnr, ssim
from denoise_cli.signal import Signal

Denoiser = Callable[[Signal], np.ndarray]  # -> float32 of the shape of its data


@dataclass(frozen=True)
class Pair:
    """What is scored: a clean file, and the noisy one, or None where the noise is made here."""

    name: str
    clean: Path
    noisy: Path | None = None


@dataclass(frozen=True)
class Row:
    """The scores of one file at one noise; PSNR in dB, time for the denoiser alone."""

    file: str
    noise: str
    noisy_psnr: float
    noisy_ssim: float
    psnr: float
    ssim: float
    pixels: int
    seconds: float

    @property
    def seconds_per_megapixel(self) -> float:
        return self.seconds / self.pixels * 1e6


@dataclass(frozen=True)
class Scored:
    """A row with the pictures behind it, (C, H, W) each."""

    pair: Pair
    row: Row
    clean: np.ndarray
    noisy: np.ndarray
    denoised: np.ndarray


@dataclass(frozen=True)
class Failed:
    """A pair that could not be scored, and why, in one line."""

    pair: Pair
    error: str


METRICS = ("noisy_psnr", "noisy_ssim", "psnr", "ssim", "seconds_per_megapixel")


def pairs(noisy: Path | None, clean: Path) -> list[Pair]:
    """Match files by relative path, or, where the extension differs, by relative path without it.

    Raises UsageError where a side is missing or a noisy file has no clean partner.
    """
    references = _listing(clean)
    if noisy is None:
        return [Pair(str(key), path) for key, path in references.items()]
    if noisy.is_file() and clean.is_file():
        return [Pair(noisy.name, clean, noisy)]
    if noisy.is_file() or clean.is_file():
        raise UsageError(f"{noisy} and {clean}: give two files or two folders")
    by_stem: dict[Path, list[Path]] = {}
    for key, path in references.items():
        by_stem.setdefault(key.with_suffix(""), []).append(path)
    matched = []
    for key, path in _listing(noisy).items():
        candidates = [references[key]] if key in references else by_stem.get(key.with_suffix(""), [])
        if len(candidates) != 1:
            what = "no file" if not candidates else f"{len(candidates)} files"
            raise UsageError(f"{files.printable(path)}: {what} of that name in {clean}")
        matched.append(Pair(str(key), candidates[0], path))
    return matched


def _listing(root: Path) -> dict[Path, Path]:
    if not root.exists():
        raise UsageError(f"{root}: no such file or folder")
    found = files.find([str(root)], None, suffixes=media.SUFFIXES)
    if not found.jobs:
        raise UsageError(f"{root}: no pictures in it")
    return {job.relative: job.source for job in found.jobs if job.source is not None}


def sweep(noise: Chain, setting: str) -> list[tuple[str, Chain]]:
    """``std=15,25,50`` -> the chain once for each value, put into its first part that has such an option."""
    key, equals, values = setting.partition("=")
    for index, part in enumerate(noise.parts):
        if equals and key in [field.name for field in fields(part)]:
            chains = []
            for value in values.split(","):
                changed: Corruption = replace(part, **{key: Span.parse(value)})
                chains.append((f"{key}={value}", Chain((*noise.parts[:index], changed, *noise.parts[index + 1 :]))))
            return chains
    raise UsageError(f'--sweep "{setting}": write KEY=VALUE,VALUE,... with an option of {noise}')


def evaluate(
    matched: Iterable[Pair],
    denoiser: Denoiser | None,
    noise: Chain | None = None,
    *,
    label: str = "",
    seed: int = 0,
    clip: bool = True,
) -> Iterator[Scored | Failed]:
    """Score every pair; one that cannot be read gives a Failed.

    `denoiser` None scores the noisy input itself. With `noise`, the clean file is corrupted with the
    random numbers that ``denoise corrupt --seed`` would use.
    """
    for pair in matched:
        try:
            yield _score(pair, denoiser, noise, label, seed, clip)
        except (UnavailableError, UsageError):  # would be the same for every file
            raise
        except DenoiseError as error:
            yield Failed(pair, str(error))
        except Exception as error:  # a decoder may raise anything; the other files go on
            yield Failed(pair, media.describe(error))


def _score(pair: Pair, denoiser: Denoiser | None, noise: Chain | None, label: str, seed: int, clip: bool) -> Scored:
    if pair.noisy is None:
        if noise is None:
            raise UsageError("give a folder of noisy files, or --noise")
        with closing(image.open_image(files.open_input(pair.clean), str(pair.clean))) as source:
            header = source.header
            both = zip(*noising.blocks(source, noise, seed), strict=True)
            clean, noisy = (np.concatenate(side, axis=1) for side in both)
        noisy = _as_file(noisy, header.step) if clip else noisy
    else:
        clean, degraded = image.read(pair.clean).data, image.read(pair.noisy)
        noisy, header = degraded.data, degraded.header
    if noisy.shape != clean.shape:
        raise InputError(f"{pair.name}: noisy is {_size(noisy)}, clean is {_size(clean)}")
    if min(clean.shape[1:]) < WINDOW:
        raise InputError(f"{pair.name}: {_size(clean)}: SSIM needs at least {WINDOW}x{WINDOW} pixels")
    began = time.perf_counter()
    denoised = noisy if denoiser is None else denoiser(Signal(noisy, header))
    seconds = time.perf_counter() - began
    denoised = _as_file(denoised, header.step)
    seen = _as_file(noisy, 0.0) if clip else noisy
    row = Row(
        pair.name, label or ("" if noise is None else str(noise)),
        psnr(noisy, clean), ssim(seen, clean), psnr(denoised, clean), ssim(denoised, clean),
        clean.shape[1] * clean.shape[2], seconds,
    )  # fmt: skip
    return Scored(pair, row, clean, seen, denoised)


def _as_file(x: np.ndarray, step: float) -> np.ndarray:
    """What reading back gives after writing: clipped, and rounded to steps; step 0 is a float file."""
    if step == 0:
        return np.clip(x, 0, 1)
    levels = np.float32(round(1 / step))
    return np.round(np.clip(x, 0, 1) * levels) / levels


def _size(x: np.ndarray) -> str:
    return f"{x.shape[2]}x{x.shape[1]} with {x.shape[0]} channels"


def means(rows: Sequence[Row]) -> dict[str, float]:
    """The mean of each metric over the files; infinite PSNR (equal pictures) stays infinite."""
    return {name: math.fsum(getattr(row, name) for row in rows) / len(rows) for name in METRICS}
