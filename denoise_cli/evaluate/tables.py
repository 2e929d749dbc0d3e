"""Tables and series: errors in standard deviations of each clean column, over the known and over the filled values.

known    values that are there in the noisy and in the clean file: RMSE and SNR before and after
holes    values that are missing in the noisy file and there in the clean one: RMSE of what fills them, beside
         that of the mean of the noisy column
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from denoise_cli import media, noising
from denoise_cli.corrupt import Chain
from denoise_cli.errors import InputError, UsageError
from denoise_cli.evaluate.matching import Pair
from denoise_cli.evaluate.rows import Denoiser, Scored
from denoise_cli.media.files import Job
from denoise_cli.media.layout import Layout
from denoise_cli.media.table import TableSource
from denoise_cli.metrics.pictures import decibels
from denoise_cli.signal import Kind, Signal

METRICS = ("noisy_rmse", "rmse", "noisy_snr", "snr", "holes_by_mean", "holes")


@dataclass(frozen=True)
class TableRow:
    """The scores of one table at one noise: RMSE in standard deviations, SNR in dB; None where there is none."""

    kind: ClassVar[Kind] = "table"

    file: str
    noise: str
    noisy_rmse: float | None  # of the known values
    rmse: float | None
    holes_by_mean: float | None  # RMSE of the missing values, filled with the means of the noisy columns
    holes: float | None  # ... by the model
    count: int  # rows
    filled: int  # missing values that have a score
    seconds: float
    columns: Mapping[str, float | None] = field(default_factory=dict)  # RMSE of all that was touched, by name

    @property
    def noisy_snr(self) -> float | None:
        return _decibels(self.noisy_rmse)

    @property
    def snr(self) -> float | None:
        return _decibels(self.rmse)

    @property
    def headline(self) -> str:
        if self.holes is not None:
            return f"holes {self.holes:.3f}"
        return "nothing to score" if self.rmse is None else f"RMSE {self.rmse:.3f}"

    def scores(self) -> dict[str, float | None]:
        return {name: getattr(self, name) for name in METRICS}

    def flat(self) -> dict[str, Any]:
        about = {"file": self.file, "kind": self.kind, "noise": self.noise, **self.scores()}
        counts = {"rows": self.count, "filled": self.filled, "seconds": self.seconds}
        return {**about, **counts, **{f"rmse of {name}": value for name, value in self.columns.items()}}


def score(
    pair: Pair,
    denoiser: Denoiser | None,
    noise: Chain | None,
    label: str,
    seed: int,
    layout: Layout | None = None,
) -> Scored:
    """Score one pair; `layout` is the model's. Raises InputError where the files do not go together."""
    whole = _read(pair.clean, layout)
    clean = whole.data
    if pair.noisy is None:
        if noise is None:
            raise UsageError("give a folder of noisy files, or --noise")
        with closing(media.open_source(Job(pair.clean, None, pair.clean), layout)) as source:
            noisy = np.concatenate([y for _, y in noising.blocks(source, noise, seed)], axis=1)
        degraded = replace(whole, data=noisy)
    else:
        degraded = _read(pair.noisy, layout)
        noisy = degraded.data
        if noisy.shape != clean.shape or degraded.extras["names"] != whole.extras["names"]:
            raise InputError(
                f"{pair.name}: noisy is {_size(noisy)}, clean is {_size(clean)}, or their names differ"
            )
    began = time.perf_counter()
    # Without a model, what is missing can only be filled with the mean.
    denoised = _by_mean(noisy) if denoiser is None else denoiser(degraded)
    seconds = time.perf_counter() - began

    std = _std(clean)
    there, gone = ~np.isnan(clean), np.isnan(noisy)
    errors = {name: (y - clean.astype(np.float64)) / std for name, y in
              (("noisy", noisy), ("mean", _by_mean(noisy)), ("ours", denoised))}  # fmt: skip
    known, holes = there & ~gone, there & gone
    changed = there & (gone | (noisy != clean) | (denoised != clean))
    titles = [name or str(index + 1) for index, name in enumerate(whole.extras["names"])]
    row = TableRow(
        pair.name, label or ("" if noise is None else str(noise)),
        _rms(errors["noisy"][known]), _rms(errors["ours"][known]),
        _rms(errors["mean"][holes]), _rms(errors["ours"][holes]),
        clean.shape[1], int(holes.sum()), seconds,
        {title: _rms(errors["ours"][j][changed[j]]) for j, title in enumerate(titles)},
    )  # fmt: skip
    return Scored(pair, row, clean, noisy, denoised)


def _read(path, layout: Layout | None) -> Signal:
    with closing(media.open_source(Job(path, None, path), layout)) as source:
        if not isinstance(source, TableSource):
            raise InputError(f"{path}: is no table")
        return source.whole()


def _by_mean(noisy: np.ndarray) -> np.ndarray:
    """Missing values filled with the mean of what is known in their column; 0 where nothing is."""
    return np.where(np.isnan(noisy), _mean(noisy).astype(np.float32), noisy)


def _std(x: np.ndarray) -> np.ndarray:
    """Standard deviation of what is known of each column, (C, 1, 1); 1 where it does not vary or nothing is."""
    std = np.sqrt(_mean(np.square(x - _mean(x))))
    return np.where(std > 0, std, 1)


def _mean(x: np.ndarray) -> np.ndarray:
    """Of what is known of each column, (C, 1, 1) float64; 0 where nothing is."""
    known = ~np.isnan(x)
    count = np.maximum(known.sum(axis=(1, 2), keepdims=True), 1)
    return np.where(known, x, 0).sum(axis=(1, 2), keepdims=True, dtype=np.float64) / count


def _rms(errors: np.ndarray) -> float | None:
    return math.sqrt(float(np.mean(np.square(errors)))) if errors.size else None


def _decibels(rmse: float | None) -> float | None:
    """The signal has the standard deviation 1."""
    if rmse is None:
        return None
    return float(decibels(rmse**2))


def _size(x: np.ndarray) -> str:
    return f"{x.shape[1]} rows of {x.shape[0]} columns"
