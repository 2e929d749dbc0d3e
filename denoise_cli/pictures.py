"""Pictures about pictures: contact sheets, before and after. Charts are drawn next door, in charts.py.

Pillow alone draws them, with the font that it carries, so that the same numbers give the same picture
everywhere. Arrays are (C, H, W) in [0, 1]; what comes back is an RGB ``PIL.Image``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from denoise_cli.errors import UsageError
from denoise_cli.media.files import Replacing

Box = tuple[int, int, int, int]  # top, left, height, width in pixels

PAPER, INK, QUIET, HAIRLINE, ACCENT = "#ffffff", "#1f2937", "#6b7280", "#e5e7eb", "#f59e0b"
MARGIN, GAP = 24, 16  # pixels
CELL = 320  # side of a picture on a sheet, pixels
SAVED = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def picture(x: np.ndarray) -> Image.Image:
    """(C, H, W) in [0, 1] -> RGB, clipped and rounded; one or two channels are gray, of many the first three."""
    if x.ndim != 3 or x.size == 0:
        raise ValueError(f"a picture is (C, H, W) and not empty, not {x.shape}")
    levels = np.rint(np.clip(x[: 3 if len(x) >= 3 else 1], 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(levels, (3, *x.shape[1:])).transpose(1, 2, 0)))


def check(path: Path) -> None:
    """Refuse a name that `save` could not serve, before any work is done; raises UsageError."""
    if path.suffix.lower() not in SAVED:
        raise UsageError(f"{path}: a drawing is written as {', '.join(SAVED)}")


def save(drawn: Image.Image, path: Path) -> None:
    """Write a drawing as its suffix says, whole or not at all."""
    check(path)
    with Replacing(path) as target:
        drawn.save(target.file, SAVED[path.suffix.lower()], quality=90)
        target.commit()


# --- Contact sheets ---------------------------------------------------------------------------------------


def sheet(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    *,
    cell: int = CELL,
    fit: Literal["crop", "shrink"] = "crop",
) -> Image.Image:
    """Pictures in rows and columns, on white.

    Parameters
    ----------
    rows
        (C, H, W) pictures of any sizes; rows may differ in length.
    titles
        One word over each column: "original", "noisy", "denoised".
    captions
        A line under each picture, in rows as the pictures are: "28.91 dB". Missing ones stay empty.
    cell
        The longest side of a picture on the sheet, in pixels. Small pictures are enlarged by the
        greatest whole factor that fits, without interpolation: a pixel stays a square.
    fit
        What becomes of large pictures: their centre is cut out ("crop"), which leaves the grain of the
        noise as it is, or the whole is made smaller ("shrink"), which averages noise away.
    """
    shown = [[x if fit == "shrink" else centre(x, cell) for x in row] for row in rows]
    return _grid([[fitted(picture(x), cell) for x in row] for row in shown], titles, captions)


def centre(x: np.ndarray, side: int) -> np.ndarray:
    """The middle of a picture (C, H, W), of at most `side` pixels either way."""
    top, left = (max(0, length - side) // 2 for length in x.shape[1:])
    return x[:, top : top + side, left : left + side]


def before_after(
    noisy: np.ndarray,
    denoised: np.ndarray,
    *,
    titles: Sequence[str] = ("noisy", "denoised"),
    captions: Sequence[str] = (),
    detail: Box | None = None,
    zoom: int = 2,
    cell: int = 480,
) -> Image.Image:
    """Two whole pictures side by side and, under each, one detail of it enlarged ``zoom`` times.

    Without ``detail`` the most telling one is looked for, the same on every call. A picture so small
    that the detail would be most of it comes without. ``captions`` stand under the whole pictures.

    Raises
    ------
    ValueError
        The shapes differ, or the detail does not lie inside the picture.
    """
    if noisy.shape != denoised.shape:
        raise ValueError(f"cannot compare shapes {noisy.shape} and {denoised.shape}")
    height, width = noisy.shape[1:]
    if detail is None:
        side = cell // zoom
        shape = min(height, side * 2 // 3), min(width, side)
        if shape[0] * shape[1] > height * width / 2:
            return sheet([[noisy, denoised]], titles, [captions], cell=cell, fit="shrink")
        detail = (*_telling(denoised, *shape), *shape)
    top, left, rows, columns = detail
    if min(top, left) < 0 or min(rows, columns) < 1 or top + rows > height or left + columns > width:
        raise ValueError(f"detail {detail} lies outside of {height}x{width} pixels")
    whole, parts = [], []
    for x in (noisy, denoised):
        image = fitted(picture(x), cell)
        scale = image.width / width
        corners = (left * scale, top * scale, (left + columns) * scale - 1, (top + rows) * scale - 1)
        ImageDraw.Draw(image).rectangle(corners, outline=ACCENT, width=2)
        whole.append(image)
        part = picture(x[:, top : top + rows, left : left + columns])
        parts.append(part.resize((columns * zoom, rows * zoom), Image.Resampling.NEAREST))
    return _grid([whole, parts], titles, [captions])


def _telling(x: np.ndarray, rows: int, columns: int) -> tuple[int, int]:
    """Top and left of the window in which the strength of the edges varies most.

    Strong edges on flat ground: noise shows on the one and blur on the other. An even texture, however
    rich, shows neither. A few dark pixels must not decide, so edges count no further than a quarter.
    """
    gray = x.mean(axis=0)
    edges = np.zeros_like(gray)
    edges[:, 1:] += np.abs(np.diff(gray, axis=1))
    edges[1:] += np.abs(np.diff(gray, axis=0))
    np.minimum(edges, 0.25, out=edges)

    def mean(values: np.ndarray) -> np.ndarray:  # over every window, by the summed-area table
        table = np.pad(values.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        total = table[rows:, columns:] - table[:-rows, columns:] - table[rows:, :-columns]
        return (total + table[:-rows, :-columns]) / (rows * columns)

    spread = mean(np.square(edges)) - mean(edges) ** 2
    top, left = np.unravel_index(np.argmax(spread), spread.shape)
    return int(top), int(left)


def fitted(image: Image.Image, cell: int) -> Image.Image:
    """At most ``cell`` pixels a side, shrunk or as near to it as a whole factor brings it."""
    longest = max(image.size)
    if longest <= cell:
        factor = cell // longest
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    size = (max(1, round(image.width * cell / longest)), max(1, round(image.height * cell / longest)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _grid(
    rows: Sequence[Sequence[Image.Image]], titles: Sequence[str], captions: Sequence[Sequence[str]]
) -> Image.Image:
    """Place finished pictures: every column as wide, every row as high, as its largest picture or text."""
    if not any(rows):
        raise ValueError("a sheet needs at least one picture")
    title_font, caption_font = typeface(20), typeface(16)
    captions = [captions[r] if r < len(captions) else () for r in range(len(rows))]
    widths = [0.0] * max(map(len, rows))
    for texts, font in [(titles, title_font), *((line, caption_font) for line in captions)]:
        for c, text in enumerate(texts[: len(widths)]):
            widths[c] = max(widths[c], math.ceil(font.getlength(text)))
    for row in rows:
        for c, image in enumerate(row):
            widths[c] = max(widths[c], image.width)
    columns = [int(w) for w in widths]
    heights = [max((image.height for image in row), default=0) for row in rows]
    below = [32 if any(line) else 0 for line in captions]  # room for a caption
    head = 36 if any(titles) else 0
    size = (
        2 * MARGIN + sum(columns) + GAP * (len(columns) - 1),
        2 * MARGIN + head + sum(heights) + sum(below) + GAP * (len(rows) - 1),
    )
    page = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(page)
    centres = [MARGIN + sum(columns[:c]) + GAP * c + columns[c] / 2 for c in range(len(columns))]
    for x, text in zip(centres, titles, strict=False):
        draw.text((x, MARGIN + 8), text, INK, title_font, anchor="mm")
    y = MARGIN + head
    for row, line, height, room in zip(rows, captions, heights, below, strict=True):
        for x, image in zip(centres, row, strict=False):
            left, top = int(x - image.width / 2), y + (height - image.height) // 2
            page.paste(image, (left, top))
            # Around the picture, not on it: a white picture needs an edge, and its pixels stay its own.
            draw.rectangle((left - 1, top - 1, left + image.width, top + image.height), outline=HAIRLINE)
        for x, text in zip(centres, line, strict=False):
            draw.text((x, y + height + 18), text, QUIET, caption_font, anchor="mm")
        y += height + room + GAP
    return page


def stacked(pages: Sequence[Image.Image]) -> Image.Image:
    """Finished pages below each other, on white, as one."""
    page = Image.new("RGB", (max(p.width for p in pages), sum(p.height for p in pages)), PAPER)
    y = 0
    for part in pages:
        page.paste(part, (0, y))
        y += part.height
    return page


def typeface(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
