"""``denoise eval`` on an array file: a stack of pictures is one row, not ten thousand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from denoise_cli.cli import screen
from denoise_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from denoise_cli import denoise
    from denoise_cli.corrupt import Chain
    from denoise_cli.evaluate.stacks import Example, StackRow


@dataclass(frozen=True)
class Asked:
    """What of the options of ``eval`` a stack has use for."""

    noisy: Path | None
    clean: Path
    levels: Sequence[tuple[str, Chain | None]]
    model: str | None
    baseline: str | None
    device: str
    precision: str
    settings: denoise.Options
    seed: int
    clip: bool
    sheet: Path | None
    csv: Path | None
    json: bool
    thresholds: Sequence[tuple[str, float]]
    quiet: bool


def evaluate(asked: Asked) -> int:
    """Score, show and write; returns the exit code."""
    from denoise_cli import pictures, stacks
    from denoise_cli import report as reports
    from denoise_cli.evaluate import stacks as library
    from denoise_cli.models import Models

    if any(metric != "psnr" for metric, _ in asked.thresholds):
        raise UsageError("--fail-under of a stack is by psnr")
    denoiser, name = None, "noisy"
    both = library.pair(asked.noisy, asked.clean)
    if not asked.baseline:
        header, told = both.clean.header, asked.settings.std is not None
        session = Models(asked.model, asked.precision, asked.device, [header.kind], told=told)(header)
        stacks.check(session, asked.settings)
        name = session.card.name

        def denoiser(x):
            return stacks.batch(x, session, asked.settings)

    rows, shown = [], []
    with screen.bar(len(asked.levels), f"/{len(asked.levels)} levels", quiet=asked.quiet or asked.json) as bar:
        for row, examples in library.sweep_rows(both, denoiser, asked.levels, seed=asked.seed, clip=asked.clip):
            rows.append(row)
            shown.append(examples)
            bar.update(completed=len(rows), note=f"{row.psnr:.2f} dB")
    table = [_plain(row) for row in rows]
    if asked.csv is not None:
        reports.put(asked.csv, reports.as_csv(table))
    if asked.sheet is not None:
        pictures.save(_sheet(rows, shown), asked.sheet)
    if asked.json:
        screen.put(reports.as_json({"model": name, "seed": asked.seed, "rows": table}))
    elif not asked.quiet:
        screen.table(
            ["noise", "pictures", "noisy dB", "noisy MSE", "PSNR dB", "PSNR std", "MSE", "MSE std", "s/MP"],
            [
                [
                    row.noise or "as given", str(row.pictures), f"{row.noisy_psnr:.2f}", f"{row.noisy_mse:.5f}",
                    f"{row.psnr:.2f}", f"{row.psnr_std:.2f}", f"{row.mse:.5f}", f"{row.mse_std:.5f}",
                    f"{row.seconds_per_megapixel:.3f}",
                ]
                for row in rows
            ],
            title=f"model {name}, {both.clean.name}",
        )  # fmt: skip
    least = max((least for _, least in asked.thresholds), default=-math.inf)
    if min(row.psnr for row in rows) < least:
        screen.say(f"psnr {min(row.psnr for row in rows):.4g} is under {least:g}")
        return 1
    return 0


def _plain(row: StackRow) -> dict[str, object]:
    from denoise_cli.cli.scores import plain

    return plain(row.flat())


def _sheet(rows: list[StackRow], shown: list[list[Example]]):
    """Original, noisy, denoised below each other, a block for each noise."""
    from denoise_cli import grids

    return grids.drawn(
        [
            grids.Block(
                f"{row.noise}   {row.noisy_psnr:.2f} dB -> {row.psnr:.2f} dB   MSE {row.mse:.4f}",
                [(word, [getattr(e, field) for e in examples]) for word, field in _ROWS],
            )
            for row, examples in zip(rows, shown, strict=True)
        ]
    )


_ROWS = (("original", "clean"), ("noisy", "noisy"), ("denoised", "denoised"))
