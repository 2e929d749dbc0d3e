"""What a model does to pictures without noise: text, a screen, line art, halftone, a gradient; and to film grain.

    python benchmarks/no_harm.py [--model default] [--sheet docs/no-harm.png]

Each is drawn here and given to the model as it is. Printed: PSNR of the output, before rounding, against the input,
and of film grain how much is left. The sheet shows input, output, and their difference, eight times as strong.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from denoise_cli import denoise, pictures
from denoise_cli.metrics import psnr
from denoise_cli.models import Models

WIDTH, HEIGHT = 384, 256
WORDS = "The quick brown fox jumps over the lazy dog. 0123456789 (a+b)^2 = a^2 + 2ab + b^2; il1|O0 "


def text() -> Image.Image:
    """Small black type on white, as scanned or printed to an image."""
    page = Image.new("L", (WIDTH, HEIGHT), 255)
    draw, top = ImageDraw.Draw(page), 6
    for size in (8, 9, 10, 11, 12, 14, 16, 20, 24):
        for _ in range(2):
            draw.text((6, top), WORDS, fill=0, font=ImageFont.load_default(size))
            top += round(1.3 * size)
    return page


def screenshot() -> Image.Image:
    """Windows, one-pixel rules, icons and coloured type."""
    screen = Image.new("RGB", (WIDTH, HEIGHT), "#20304a")
    draw = ImageDraw.Draw(screen)
    for left, top, shade in ((16, 14, "#f5f5f7"), (150, 60, "#1e1e1e")):
        draw.rectangle((left, top, left + 215, top + 170), fill=shade, outline="#808080")
        draw.rectangle((left, top, left + 215, top + 16), fill="#d0d0d4")
        for n, colour in enumerate(("#ff5f57", "#febc2e", "#28c840")):
            draw.ellipse((left + 6 + 14 * n, top + 4, left + 14 + 14 * n, top + 12), fill=colour)
    for n in range(11):
        draw.line((24, 44 + 12 * n, 140, 44 + 12 * n), fill="#e0e0e0")
        draw.text(
            (26, 33 + 12 * n), f"row {n:02d}   {n * 37 % 101:3d} kB", fill="#303030", font=ImageFont.load_default(9)
        )
    palette = ("#9cdcfe", "#ce9178", "#6a9955", "#dcdcaa", "#c586c0")
    for n in range(11):
        draw.text(
            (158 + 8 * (n % 3), 82 + 13 * n), f"def f{n}(x): return x[{n}] * 0x{n * 4919:04X}", fill=palette[n % 5],
            font=ImageFont.load_default(10),
        )  # fmt: skip
    return screen


def line_art() -> Image.Image:
    """Pen strokes of one pixel, hatching and concentric circles."""
    sheet = Image.new("L", (WIDTH, HEIGHT), 255)
    draw = ImageDraw.Draw(sheet)
    for n in range(0, 128, 3):
        draw.line((n, 0, 128, 128 - n), fill=0)
        draw.line((0, 128 + n, 128, 255 - n // 2), fill=60)
    for radius in range(4, 110, 4):
        draw.ellipse((256 - radius, 128 - radius, 256 + radius, 128 + radius), outline=0)
    return sheet


def halftone() -> Image.Image:
    """A gradient in black dots, as a newspaper prints it (ordered dither)."""
    bayer = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 + 1 / 32
    tone = np.linspace(0, 1, WIDTH)[None, :] * np.linspace(1, 0.5, HEIGHT)[:, None]
    return Image.fromarray(255 * (tone > np.tile(bayer, (HEIGHT // 4, WIDTH // 4))).astype(np.uint8))


def gradient() -> Image.Image:
    """A sky without texture: where a model that bands or drifts is found out."""
    tone = np.linspace(0, 1, HEIGHT)[:, None, None]
    sky = (1 - tone) * np.array([40, 90, 170]) + tone * np.array([250, 200, 150])
    return Image.fromarray(np.broadcast_to(np.rint(sky), (HEIGHT, WIDTH, 3)).astype(np.uint8))


def grain() -> tuple[Image.Image, np.ndarray]:
    """Film grain over soft tones, coarser than a pixel and strongest in grays; and the grain alone, (1, H, W)."""
    down, across = np.mgrid[:HEIGHT, :WIDTH] / HEIGHT
    tone = 0.15 + 0.6 * np.exp(-3 * ((across - 0.75) ** 2 + (down - 0.5) ** 2)) + 0.1 * across
    clump = gaussian_filter(np.random.default_rng(0).standard_normal((HEIGHT, WIDTH)), 0.8)
    seen = 0.035 * clump / clump.std() * np.sqrt(4 * tone * (1 - tone))
    return Image.fromarray(np.rint(255 * (tone + seen).clip(0, 1)).astype(np.uint8)), seen[None].astype(np.float32)


SCENES: dict[str, Callable[[], Image.Image]] = {
    "text": text, "screenshot": screenshot, "line art": line_art, "halftone": halftone, "gradient": gradient,
    "film grain": lambda: grain()[0],
}  # fmt: skip


def planes(picture: Image.Image) -> np.ndarray:
    """(C, H, W) float32 in [0, 1]."""
    x = np.asarray(picture, np.float32) / 255
    return np.ascontiguousarray(np.atleast_3d(x).transpose(2, 0, 1))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", nargs="+", default=["default"], help="default: as `denoise run` chooses")
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    rows, notes = [], []
    print(
        f"{'':12}"
        + "".join(f"{name:>12}" for name in arguments.model)
        + "   PSNR of the output against the input, dB"
    )
    for name, paint in SCENES.items():
        x = planes(paint())
        results = []
        for model in arguments.model:
            models = Models(None if model == "default" else model, device="cpu")
            results.append(denoise.array(x, models.choice).clip(0, 1))
        print(f"{name:12}" + "".join(f"{psnr(y, x):12.2f}" for y in results), flush=True)
        for model, y in zip(arguments.model, results, strict=True):
            rows.append([x, y, (0.5 + 8 * (y - x)).clip(0, 1)])
            notes.append([name, f"{model}: {psnr(y, x):.1f} dB", "difference x 8"])
        if name == "film grain":
            seen = grain()[1]
            shares = [float(((y - x + seen) * seen).sum() / np.square(seen).sum()) for y in results]
            print(f"{'grain left':12}" + "".join(f"{share:12.0%}" for share in shares))
    if arguments.sheet is not None:
        pictures.save(pictures.sheet(rows, ["input", "output", "difference"], notes), arguments.sheet)


if __name__ == "__main__":
    main()
