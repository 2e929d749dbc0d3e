"""Pictures about pictures: contact sheets, before and after, and the curve of a training run.

Pillow alone draws them, with the font that it carries, so that the same numbers give the same picture
everywhere. Arrays are (C, H, W) in [0, 1]; what comes back is an RGB ``PIL.Image``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Points = Sequence[tuple[float, float]]
Box = tuple[int, int, int, int]  # top, left, height, width in pixels

PAPER, INK, QUIET, HAIRLINE, ACCENT = "#ffffff", "#1f2937", "#6b7280", "#e5e7eb", "#f59e0b"
# The palette of M. Okabe and K. Ito, distinct for colour-blind readers too; its yellow is too faint for a line.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARGIN, GAP = 24, 16  # pixels


def picture(x: np.ndarray) -> Image.Image:
    """(C, H, W) in [0, 1] -> RGB, clipped and rounded; one or two channels are gray, of many the first three."""
    if x.ndim != 3 or x.size == 0:
        raise ValueError(f"a picture is (C, H, W) and not empty, not {x.shape}")
    levels = np.rint(np.clip(x[: 3 if len(x) >= 3 else 1], 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(levels, (3, *x.shape[1:])).transpose(1, 2, 0)))


# --- Contact sheets ---------------------------------------------------------------------------------------


def sheet(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    *,
    cell: int = 320,
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
    return _grid([[_fit(picture(x), cell, fit) for x in row] for row in rows], titles, captions)


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
        image = _fit(picture(x), cell, "shrink")
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


def _fit(image: Image.Image, cell: int, fit: Literal["crop", "shrink"]) -> Image.Image:
    """At most ``cell`` pixels a side, and as near to it as a whole factor brings it."""
    longest = max(image.size)
    if longest <= cell:
        factor = cell // longest
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    if fit == "shrink":
        size = (max(1, round(image.width * cell / longest)), max(1, round(image.height * cell / longest)))
        return image.resize(size, Image.Resampling.LANCZOS)
    width, height = min(image.width, cell), min(image.height, cell)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _grid(
    rows: Sequence[Sequence[Image.Image]], titles: Sequence[str], captions: Sequence[Sequence[str]]
) -> Image.Image:
    """Place finished pictures: every column as wide, every row as high, as its largest picture or text."""
    if not any(rows):
        raise ValueError("a sheet needs at least one picture")
    title_font, caption_font = _font(20), _font(16)
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


# --- Curves -----------------------------------------------------------------------------------------------


def curve(
    series: Mapping[str, Points],
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    *,
    log: bool = False,
    right: Mapping[str, Points] | None = None,
    rlabel: str = "",
    size: tuple[int, int] = (1000, 560),
) -> Image.Image:
    """A line chart of (x, y) points, a line for each name.

    ``log`` makes the left axis logarithmic; ``right`` holds the lines of a second, linear axis on the right
    with its own label, such as the PSNR of the validation beside the loss of the training. Points that
    are not finite, or not positive on a logarithmic axis, are left out.
    """
    right = right or {}
    left_lines = {name: _drawable(points, log) for name, points in series.items()}
    right_lines = {name: _drawable(points, False) for name, points in right.items()}
    everything = [p for points in (*left_lines.values(), *right_lines.values()) for p in points]
    xs = [x for x, _ in everything] or [0.0, 1.0]
    x_ticks = _ticks(min(xs), max(xs))
    x_span = (min(xs), max(xs)) if min(xs) < max(xs) else (min(x_ticks), max(x_ticks))

    page = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(page)
    small, label = _font(15), _font(17)
    frame = (84, 124, size[0] - (84 if right_lines else 36), size[1] - 78)  # left, top, right, bottom
    draw.text((frame[0], 36), title, INK, _font(24), anchor="lm")
    draw.text(((frame[0] + frame[2]) / 2, size[1] - 26), xlabel, QUIET, small, anchor="mm")

    def across(x: float) -> float:
        return frame[0] + (x - x_span[0]) / (x_span[1] - x_span[0]) * (frame[2] - frame[0])

    for value, text in x_ticks.items():
        if x_span[0] <= value <= x_span[1]:
            draw.line((across(value), frame[3], across(value), frame[3] + 5), QUIET)
            draw.text((across(value), frame[3] + 18), text, INK, small, anchor="mm")

    colours = iter(LINES * (1 + (len(left_lines) + len(right_lines)) // len(LINES)))
    legend = float(frame[0])
    axes = (  # ..., where it stands, which way its numbers lie, how its label and its numbers are aligned
        (left_lines, log, ylabel, frame[0], -10, "lm", "rm"),
        (right_lines, False, rlabel, frame[2], +10, "rm", "lm"),
    )
    for lines, logarithmic, axis_label, edge, outwards, inner, outer in axes:
        ys = [y for points in lines.values() for _, y in points]
        if lines is right_lines and not lines:
            continue
        draw.text((edge, 106), axis_label, QUIET, small, anchor=inner)
        ticks = (_log_ticks if logarithmic else _ticks)(*((min(ys), max(ys)) if ys else (1.0, 2.0)))
        scale = math.log if logarithmic else float
        low, high = scale(min(ticks)), scale(max(ticks))

        def up(y: float, low=low, high=high, scale=scale) -> float:
            return frame[3] - (scale(y) - low) / (high - low) * (frame[3] - frame[1])

        for value, text in ticks.items():
            if lines is left_lines:  # two grids would be a thicket
                draw.line((frame[0], up(value), frame[2], up(value)), HAIRLINE)
            draw.text((edge + outwards, up(value)), text, INK, small, anchor=outer)
        for (name, points), colour in zip(lines.items(), colours, strict=False):
            _polyline(page, [(across(x), up(y)) for x, y in points], colour)
            draw.line((legend, 73, legend + 24, 73), colour, 4)
            draw.text((legend + 34, 73), name, INK, label, anchor="lm")
            legend += 34 + label.getlength(name) + 30
    draw.line((frame[0], frame[3], frame[2], frame[3]), QUIET)
    return page


def _drawable(points: Points, log: bool) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y) and (y > 0 or not log)]


def _ticks(low: float, high: float) -> dict[float, str]:
    """Four to eight round numbers from at most ``low`` to at least ``high``, with their texts.

    P. Heckbert, "Nice numbers for graph labels", Graphics Gems, 1990: steps of 1, 2 or 5 times a power of ten.
    """
    if high <= low:
        low, high = low - (abs(low) / 10 or 0.5), high + (abs(high) / 10 or 0.5)
    power = 10.0 ** math.floor(math.log10((high - low) / 5))
    step = next(s for s in (power, 2 * power, 5 * power, 10 * power) if (high - low) / s <= 6)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return {i * step: f"{i * step:,.{decimals}f}" for i in range(first, last + 1)}


def _log_ticks(low: float, high: float) -> dict[float, str]:
    """1, 2 and 5 times the powers of ten around [low, high]; the powers alone over more than three decades."""
    wide = high / low > 1000
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 2)
    values = [float(f"{m}e{e}") for e in exponents for m in ((1,) if wide else (1, 2, 5))]
    first = max(i for i, v in enumerate(values) if v <= low)
    last = max(first + 1, next(i for i, v in enumerate(values) if v >= high))
    return {v: f"{v:g}" for v in values[first : last + 1]}


def _polyline(page: Image.Image, points: Sequence[tuple[float, float]], colour: str) -> None:
    """Draw a smooth line 2.5 pixels wide: Pillow's own has stairs, so draw it large and make it smaller."""
    factor = 4
    mask = Image.new("L", (page.width * factor, page.height * factor))
    draw = ImageDraw.Draw(mask)
    large = [(x * factor, y * factor) for x, y in points]
    if len(large) > 1:
        draw.line(large, 255, round(2.5 * factor), joint="curve")
    for x, y in (large[0], large[-1]) if large else ():  # round ends; a single point is a dot
        radius = (2.5 if len(large) > 1 else 8) * factor / 2
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
    page.paste(colour, mask=mask.resize(page.size, Image.Resampling.BOX))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
