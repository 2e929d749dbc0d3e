"""Line charts, drawn with Pillow alone: the curve of a training run, a density over a histogram."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from denoise_cli.pictures import HAIRLINE, INK, PAPER, QUIET, typeface

Points = Sequence[tuple[float, float]]

# The palette of M. Okabe and K. Ito, distinct for colour-blind readers too; its yellow is too faint for a line.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
BAR = "#cbd5e1"  # of a histogram, behind a line


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
    x_ticks = ticks(min(xs), max(xs))
    x_span = (min(xs), max(xs)) if min(xs) < max(xs) else (min(x_ticks), max(x_ticks))

    page = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(page)
    small, label = typeface(15), typeface(17)
    frame = (84, 124, size[0] - (84 if right_lines else 36), size[1] - 78)  # left, top, right, bottom
    draw.text((frame[0], 36), title, INK, typeface(24), anchor="lm")
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
        marks = (_log_ticks if logarithmic else ticks)(*((min(ys), max(ys)) if ys else (1.0, 2.0)))
        scale = math.log if logarithmic else float
        low, high = scale(min(marks)), scale(max(marks))

        def up(y: float, low=low, high=high, scale=scale) -> float:
            return frame[3] - (scale(y) - low) / (high - low) * (frame[3] - frame[1])

        for value, text in marks.items():
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


def distribution(
    edges: Sequence[float],
    heights: Sequence[float],
    density: Points,
    atom: tuple[float, float] | None = None,
    title: str = "",
    note: str = "",
    *,
    size: tuple[int, int] = (640, 380),
) -> Image.Image:
    """A histogram of samples as bars, the density of the theory as a line, an atom as a stem.

    ``heights`` are densities of the samples between neighbouring ``edges``. The axis ends a little above the
    highest bar: a density may be infinite. ``atom`` is (value, probability), and of probability one its stem is
    as high as the chart; ``note`` stands under the title.
    """
    page = Image.new("RGB", size, PAPER)
    draw, small = ImageDraw.Draw(page), typeface(14)
    frame = (62, 88, size[0] - 24, size[1] - 40)  # left, top, right, bottom
    draw.text((frame[0], 26), title, INK, typeface(19), anchor="lm")
    draw.text((frame[0], 54), note, QUIET, small, anchor="lm")
    top = 1.12 * max((*heights, 1e-300))
    low, high = edges[0], edges[-1]

    def across(x: float) -> float:
        return frame[0] + (x - low) / (high - low) * (frame[2] - frame[0])

    def up(y: float) -> float:
        return frame[3] - min(y / top, 1) * (frame[3] - frame[1])

    for value, text in ticks(0, top).items():
        if 0 <= value <= top:
            draw.line((frame[0], up(value), frame[2], up(value)), HAIRLINE)
            draw.text((frame[0] - 8, up(value)), text, INK, small, anchor="rm")
    for value, text in ticks(low, high).items():
        if low <= value <= high:
            draw.line((across(value), frame[3], across(value), frame[3] + 4), QUIET)
            draw.text((across(value), frame[3] + 17), text, INK, small, anchor="mm")
    for left, right, height in zip(edges, edges[1:], heights, strict=False):
        draw.rectangle((across(left), up(height), across(right) - 1, frame[3]), BAR)
    _polyline(page, [(across(x), up(y)) for x, y in density if low <= x <= high and math.isfinite(y)], LINES[0])
    if atom is not None and low <= atom[0] <= high:
        x, head = across(atom[0]), frame[3] - atom[1] * (frame[3] - frame[1])
        draw.line((x, head, x, frame[3]), LINES[1], 3)
        draw.ellipse((x - 5, head - 5, x + 5, head + 5), LINES[1])
        right = x < (frame[0] + frame[2]) / 2
        words = f"P(X = {atom[0]:.4g}) = {atom[1]:.3g}"
        draw.text((x + (11 if right else -11), head), words, LINES[1], small, anchor="lm" if right else "rm")
    draw.line((frame[0], frame[3], frame[2], frame[3]), QUIET)
    return page


def _drawable(points: Points, log: bool) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y) and (y > 0 or not log)]


def ticks(low: float, high: float) -> dict[float, str]:
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
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
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
