"""Draw pictures that no camera takes: type, screens, line art, halftones, charts, pixel art; for training.

    python scripts/make_graphics.py FOLDER [--count 120]

A denoiser that has seen photographs only takes a dense hatching or a newspaper's dots for noise and wipes them out.
Among the training pictures, one of these to every seven photographs or so teaches it otherwise. Everything is
drawn from random numbers with fixed seeds, so that each run writes the same pictures, PNG of 320 x 320.
"""

from __future__ import annotations

import argparse
import string
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 320
Rng = np.random.Generator
Painter = Callable[[Rng], Image.Image]
Colour = tuple[int, int, int]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=120)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for n in range(arguments.count):
        paint, rng = PAINTERS[n % len(PAINTERS)], np.random.default_rng(n)
        drawn = paint(rng).convert("RGB")
        if rng.random() < 0.3:  # as it comes out of a scanner or a browser's zoom: edges that are not sharp
            side = int(SIDE * rng.uniform(0.55, 0.9))
            drawn = drawn.resize(
                (side, side), Image.Resampling.LANCZOS if rng.random() < 0.5 else Image.Resampling.BOX
            )
        drawn.save(arguments.folder / f"{n:03d}-{paint.__name__}.png")


# --- Chance -----------------------------------------------------------------------------------------------


def colour(rng: Rng, low: int = 0, high: int = 255) -> Colour:
    """A colour, or a gray in four cases of ten, each channel in low..high."""
    if rng.random() < 0.4:
        level = int(rng.integers(low, high + 1))
        return level, level, level
    r, g, b = (int(v) for v in rng.integers(low, high + 1, 3))
    return r, g, b


def paper_and_ink(rng: Rng) -> tuple[Colour, Colour]:
    """Two colours that contrast, either of them the lighter."""
    light, dark = colour(rng, 170, 255), colour(rng, 0, 110)
    if rng.random() < 0.4:
        light, dark = (255, 255, 255), (0, 0, 0)
    return (light, dark) if rng.random() < 0.75 else (dark, light)


def font(rng: Rng, low: int = 7, high: int = 30) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if rng.random() < 0.15:
        return ImageFont.load_default()
    return ImageFont.load_default(float(np.exp(rng.uniform(np.log(low), np.log(high)))))


def words(rng: Rng, length: int) -> str:
    """So many letters, in words of one to nine, with figures and signs among them."""
    letters = list(string.ascii_lowercase * 4 + string.ascii_uppercase + string.digits + ".,;:()+-=/'")
    out = ""
    while len(out) < length:
        out += "".join(rng.choice(letters, int(rng.integers(1, 10)))) + " "
    return out


def point(rng: Rng) -> tuple[float, float]:
    x, y = rng.uniform(-0.1 * SIDE, 1.1 * SIDE, 2)
    return float(x), float(y)


# --- Painters ---------------------------------------------------------------------------------------------


def type_page(rng: Rng) -> Image.Image:
    """Lines of type in a few sizes, sometimes turned."""
    paper, ink = paper_and_ink(rng)
    page = Image.new("RGB", (SIDE, SIDE), paper)
    draw, top = ImageDraw.Draw(page), int(rng.integers(0, 12))
    while top < SIDE:
        face = font(rng)
        height = int(getattr(face, "size", 11) * rng.uniform(1.1, 1.6)) + 1
        for _ in range(int(rng.integers(1, 6))):
            draw.text((int(rng.integers(0, 20)), top), words(rng, 80), fill=ink, font=face)
            top += height
    if rng.random() < 0.3:
        page = page.rotate(float(rng.uniform(-30, 30)), Image.Resampling.BICUBIC, fillcolor=paper)
    return page


def screen(rng: Rng) -> Image.Image:
    """Windows with rules, rows of type and icons."""
    view = Image.new("RGB", (SIDE, SIDE), colour(rng))
    draw = ImageDraw.Draw(view)
    for _ in range(int(rng.integers(2, 5))):
        (left, top), (paper, ink) = rng.integers(-40, SIDE - 60, 2).tolist(), paper_and_ink(rng)
        right, bottom = left + int(rng.integers(90, 260)), top + int(rng.integers(70, 240))
        draw.rectangle((left, top, right, bottom), fill=paper, outline=colour(rng))
        draw.rectangle((left, top, right, top + 14), fill=colour(rng))
        face, step = font(rng, 8, 13), int(rng.integers(10, 18))
        for y in range(top + 18, bottom - step, step):
            if rng.random() < 0.4:
                draw.line((left + 4, y - 2, right - 4, y - 2), fill=colour(rng, 90, 200))
            if rng.random() < 0.3:
                draw.rectangle((left + 4, y, left + 10, y + 6), fill=colour(rng))
            draw.text((left + 14, y), words(rng, (right - left) // 9)[: (right - left) // 7], fill=ink, font=face)
    return view


def strokes(rng: Rng) -> Image.Image:
    """Thin lines and circles without order, and fields of parallel ones."""
    paper, ink = paper_and_ink(rng)
    sheet = Image.new("RGB", (SIDE, SIDE), paper)
    draw = ImageDraw.Draw(sheet)
    for _ in range(int(rng.integers(2, 6))):
        (x, y), step, width = point(rng), int(rng.integers(2, 9)), int(rng.choice([1, 1, 1, 2, 3]))
        reach, angle = rng.uniform(60, 200), rng.uniform(0, np.pi)
        if rng.random() < 0.35:
            for radius in np.arange(step, reach, step):
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=ink, width=width)
            continue
        along, across = (
            reach * np.array([np.cos(a), np.sin(a)]) for a in (angle, angle + rng.uniform(0.3, 0.5) * np.pi)
        )
        for t in np.arange(-1, 1, step / reach):
            start, end = np.array([x, y]) + t * across - along, np.array([x, y]) + t * across + along
            draw.line((*start, *end), fill=ink, width=width)
    for _ in range(int(rng.integers(0, 40))):
        draw.line((*point(rng), *point(rng)), fill=ink if rng.random() < 0.7 else colour(rng), width=1)
    return sheet


def halftone(rng: Rng) -> Image.Image:
    """Smooth tones printed in dots; black, or dots of three inks over each other."""
    if rng.random() < 0.6:
        return _dots(_waves(rng), rng)
    return Image.merge("RGB", [_dots(_waves(rng), rng) for _ in range(3)])


def _waves(rng: Rng) -> np.ndarray:
    """(SIDE, SIDE) in [0, 1]."""
    down, across = np.mgrid[:SIDE, :SIDE] / SIDE
    tone = np.zeros((SIDE, SIDE))
    for _ in range(3):
        u, v, phase = rng.uniform(-1.5, 1.5), rng.uniform(-1.5, 1.5), rng.uniform(0, 6)
        tone += np.sin(2 * np.pi * (u * down + v * across) + phase)
    return (tone - tone.min()) / np.ptp(tone)


def _dots(tone: np.ndarray, rng: Rng) -> Image.Image:
    """Black and white: diffused, ordered, or round dots on a screen."""
    kind = rng.random()
    if kind < 0.35:  # error diffusion, as Pillow does it
        return Image.fromarray((255 * tone).astype(np.uint8)).convert("1").convert("L")
    if kind < 0.7:  # ordered
        order = np.array([[0]])
        for _ in range(int(rng.integers(1, 4))):
            order = np.block([[4 * order, 4 * order + 2], [4 * order + 3, 4 * order + 1]])
        matrix = (order + 0.5) / order.size
        threshold = np.tile(matrix, (SIDE // len(matrix) + 1, SIDE // len(matrix) + 1))[:SIDE, :SIDE]
    else:  # round dots on a turned screen
        down, across = np.mgrid[:SIDE, :SIDE]
        angle, period = rng.uniform(0, np.pi / 2), rng.uniform(3, 9)
        u, v = (2 * np.pi / period * (np.cos(a) * across + np.sin(a) * down) for a in (angle, angle + np.pi / 2))
        threshold = 0.5 + 0.25 * (np.cos(u) + np.cos(v))
    return Image.fromarray((255 * (tone > threshold)).astype(np.uint8))


def chart(rng: Rng) -> Image.Image:
    """Axes, a grid, curves, bars and labels."""
    paper, ink = paper_and_ink(rng)
    sheet = Image.new("RGB", (SIDE, SIDE), paper)
    draw, step, face = ImageDraw.Draw(sheet), int(rng.integers(14, 50)), font(rng, 7, 13)
    for place in range(24, SIDE, step):
        draw.line((24, place, SIDE - 8, place), fill=colour(rng, 120, 220))
        draw.line((place, 8, place, SIDE - 24), fill=colour(rng, 120, 220))
        draw.text((place, SIDE - 20), f"{place / 10:g}", fill=ink, font=face)
        draw.text((1, place), f"{place}", fill=ink, font=face)
    draw.rectangle((24, 8, SIDE - 8, SIDE - 24), outline=ink)
    for _ in range(int(rng.integers(1, 6))):
        x = np.arange(24, SIDE - 8, int(rng.integers(1, 12)))
        y = SIDE / 2 + np.cumsum(rng.normal(0, rng.uniform(1, 9), len(x)))
        if rng.random() < 0.3:
            for left, top in zip(x, y, strict=True):
                draw.rectangle((left, min(top, SIDE - 25), left + 2, SIDE - 24), fill=colour(rng))
        else:
            draw.line(
                list(zip(x.tolist(), y.tolist(), strict=True)), fill=colour(rng), width=int(rng.integers(1, 4))
            )
    return sheet


def pixels(rng: Rng) -> Image.Image:
    """Sprites, codes and checkerboards in large pixels of a few colours."""
    size = int(rng.choice([1, 1, 2, 2, 3, 4, 6, 8]))
    cells = -(-SIDE // size)
    palette = np.array([colour(rng) for _ in range(int(rng.choice([2, 2, 4, 8])))], np.uint8)
    places = rng.integers(0, len(palette), (cells, cells))
    if rng.random() < 0.7:  # patches that repeat, as tiles of a game or a pattern of cloth
        tile = int(rng.choice([2, 4, 8, 16]))
        places = np.tile(places[:tile, :tile], (cells // tile + 1, cells // tile + 1))[:cells, :cells]
        where = rng.integers(0, cells, 4)
        places[where[0] :, where[1] :] = np.roll(places, 1, 1)[where[0] :, where[1] :] * int(rng.integers(0, 2))
    return Image.fromarray(palette[places].repeat(size, 0).repeat(size, 1)[:SIDE, :SIDE])


PAINTERS: tuple[Painter, ...] = (type_page, screen, strokes, halftone, type_page, chart, strokes, pixels)


if __name__ == "__main__":
    main()
