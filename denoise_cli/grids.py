"""Grids of small pictures: blocks of rows, a word before each row, a heading over each block.

The figure of the papers on MNIST: original, noisy and denoised digits below each other, at several noises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from denoise_cli.pictures import GAP, INK, MARGIN, PAPER, QUIET, fitted, picture, stacked, typeface

BESIDE = 110  # pixels that the words take
HEAD = 34
LEAST = 4  # pixels between two small pictures


@dataclass(frozen=True)
class Block:
    heading: str
    rows: Sequence[tuple[str, Sequence[np.ndarray]]]  # a word, and pictures (C, H, W) of one size


def drawn(blocks: Sequence[Block], cell: int = 84) -> Image.Image:
    """Every picture is enlarged by the greatest whole factor that keeps it within `cell`, or shrunk to it."""
    return stacked([_block(block, cell, last=block is blocks[-1]) for block in blocks])


def _block(block: Block, cell: int, last: bool) -> Image.Image:
    scaled = [[fitted(picture(x), cell) for x in row] for _, row in block.rows]
    width, height = (max(side) for side in zip(*(image.size for row in scaled for image in row), strict=True))
    columns = max(map(len, scaled))
    page = Image.new(
        "RGB",
        (
            2 * MARGIN + BESIDE + columns * (width + LEAST),
            MARGIN + HEAD + len(scaled) * (height + LEAST) + (MARGIN if last else GAP - LEAST),
        ),
        PAPER,
    )
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN + HEAD // 2 - 4), block.heading, INK, typeface(18), anchor="lm")
    for r, ((word, _), row) in enumerate(zip(block.rows, scaled, strict=True)):
        top = MARGIN + HEAD + r * (height + LEAST)
        draw.text((MARGIN, top + height // 2), word, QUIET, typeface(15), anchor="lm")
        for c, image in enumerate(row):
            page.paste(image, (MARGIN + BESIDE + c * (width + LEAST), top))
    return page
