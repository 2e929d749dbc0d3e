"""Paint the sample pictures: six scenes that belong to nobody else, clean and noisy.

    python scripts/make_samples.py

writes the noisy pictures to ``samples/`` and the clean originals, under the same names, to
``docs/clean/``. Everything is drawn here, from numpy, Pillow and fixed seeds, so that each run writes the
same bytes. Scenes are painted at twice their size and averaged down, which smooths their edges.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT = 432, 288  # pixels of a finished picture
W, H = 2 * WIDTH, 2 * HEIGHT  # pixels of the canvas

Rng = np.random.Generator


def main() -> None:
    scenes = {  # painter, standard deviation of the noise in 8-bit steps
        "hills": (hills, 25),
        "glass": (glass, 35),
        "harbour": (harbour, 20),
        "tartan": (tartan, 30),
        "cells": (cells, 25),
        "page": (page, 50),
    }
    for seed, (name, (paint, std)) in enumerate(scenes.items()):
        rng = np.random.default_rng(seed)
        canvas = np.clip(paint(rng), 0, 1)  # (H, W) gray or (H, W, 3)
        small = canvas.reshape(HEIGHT, 2, WIDTH, 2, -1).mean(axis=(1, 3)).squeeze()
        clean = np.rint(small * 255)
        noisy = np.clip(np.rint(clean + rng.normal(0, std, clean.shape)), 0, 255)
        for folder, pixels in (("docs/clean", clean), ("samples", noisy)):
            path = ROOT / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path, optimize=True)
            print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1000:.0f} kB")


# --- Paint box --------------------------------------------------------------------------------------------

# (H, W) each: from 0 at the top to 1 at the bottom; from 0 to 1.5 along the width, so that pixels are square
Y, X = np.meshgrid((np.arange(H) + 0.5) / H, (np.arange(W) + 0.5) / H, indexing="ij")


def rgb(code: str) -> np.ndarray:
    return np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255


def mix(a, b, t: np.ndarray) -> np.ndarray:
    """From a to b as t goes from 0 to 1; t is (H, W) and the colours are (3,) or (H, W, 3)."""
    t = np.clip(t, 0, 1)[..., None]
    return a * (1 - t) + b * t


def smooth(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, without a kink between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def clouds(rng: Rng, cells: int, octaves: int = 6, gain: float = 0.5, stretch: float = 1.0) -> np.ndarray:
    """(H, W) fractal noise of mean 0 and deviation 1: ``cells`` bumps over the height, then finer ones."""
    total = np.zeros((H, W))
    for octave in range(octaves):
        rows = cells * 2**octave
        grid = rng.standard_normal((rows + 3, int(rows * 1.5 / stretch) + 3)).astype(np.float32)
        total += gain**octave * np.asarray(Image.fromarray(grid).resize((W, H), Image.Resampling.BICUBIC))
    return (total - total.mean()) / total.std()


def blur(x: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur of (H, W) or (H, W, 3) in [0, 1], in floats: eight bits would leave bands."""
    planes = [x] if x.ndim == 2 else list(np.moveaxis(x, -1, 0))
    small = [Image.fromarray(p.astype(np.float32)).reduce(2) for p in planes]
    taps = np.exp(-0.5 * (np.arange(-3 * int(radius), 3 * int(radius) + 1) / (radius / 2)) ** 2)
    taps /= taps.sum()
    out = []
    for plane in small:
        a = np.pad(np.asarray(plane), len(taps) // 2, mode="edge")
        a = np.apply_along_axis(np.convolve, 0, a, taps, "valid")
        a = np.apply_along_axis(np.convolve, 1, a, taps, "valid").astype(np.float32)
        out.append(np.asarray(Image.fromarray(a).resize((W, H), Image.Resampling.BICUBIC)))
    return out[0] if x.ndim == 2 else np.stack(out, axis=-1)


# --- Scenes -----------------------------------------------------------------------------------------------


def hills(rng: Rng) -> np.ndarray:
    """Wooded ridges in the haze of an early evening."""
    sun = np.hypot(X - 1.02, Y - 0.33)
    sky = mix(rgb("5b87b8"), rgb("f6d7a8"), smooth(-0.1, 0.5, Y))
    sky = mix(sky, rgb("fff1cf"), 0.9 * np.exp(-((sun / 0.16) ** 2)) + 0.35 * np.exp(-sun / 0.3))
    wisps = smooth(0.2, 2.0, clouds(rng, 4, stretch=3.5)) * smooth(0.5, 0.1, Y)
    view = mix(sky, rgb("fff6ea"), 0.75 * wisps)
    view = mix(view, rgb("fffbe8"), smooth(0.042, 0.036, sun))
    layers = 6
    for i in range(layers):
        near = i / (layers - 1)
        profile = clouds(rng, 2 + i, octaves=7, gain=0.48)[H // 2]  # one row of it is a skyline
        skyline = 0.40 + 0.095 * i - (0.062 - 0.006 * i) * profile
        depth = Y - skyline
        trees = clouds(rng, 22 + 10 * i, octaves=4, gain=0.75)
        crowns = 0.004 * near * clouds(rng, 90, octaves=3, gain=0.8)  # the tops of trees roughen the line
        slope = np.gradient(blur(np.broadcast_to(profile, (H, W)), 12), axis=1)
        light = 0.62 + 9.0 * slope * near + 0.17 * trees * (0.25 + near)
        wood = mix(rgb("1c3326"), rgb("8a9a4a"), light * smooth(-0.1, 0.4, depth + 0.25))
        haze = mix(rgb("b9c3cf"), rgb("f1cfa2"), np.exp(-((X - 1.02) ** 2) / 0.2))
        hazy = mix(haze, wood, np.full((H, W), 0.12 + 0.85 * near**0.9) + 0.05 * trees - 0.6 * depth * (1 - near))
        view = mix(view, hazy, smooth(-0.0015, 0.0015, depth + crowns))
    return view


def glass(rng: Rng) -> np.ndarray:
    """Coloured glass balls on tiles, by ray tracing: mirror and refraction as physics has them."""
    balls = [  # centre, radius, colour of the glass
        ((-1.15, 0.72, 0.35), 0.72, rgb("ff9a6b")),
        ((0.42, 0.95, 0.95), 0.95, rgb("8fd3ff")),
        ((1.75, 0.50, -0.15), 0.50, rgb("b6f09a")),
        ((-0.18, 0.38, -0.75), 0.38, rgb("ffd95e")),
        ((0.92, 0.27, -1.05), 0.27, rgb("ff86b3")),
        ((-2.25, 0.40, -0.55), 0.40, rgb("c7a6ff")),
    ]
    sun = np.array([-0.52, 0.72, -0.46])
    veins = clouds(rng, 6, octaves=7, gain=0.6)

    def meet(origin, ray, centre, radius):
        """Distance along the ray to the ball, infinite where it misses."""
        offset = origin - np.array(centre)
        b = np.sum(offset * ray, axis=-1)
        root = b * b - np.sum(offset * offset, axis=-1) + radius * radius
        near = -b - np.sqrt(np.maximum(root, 0))
        return np.where((root > 0) & (near > 1e-4), near, np.inf)

    def floor(point):
        x, z = point[..., 0], point[..., 2]
        # The marble repeats, but its seams lie behind the camera and beyond the balls.
        marble = 0.06 * veins[((z + 4.5) * 84).astype(int) % H, ((x + 4.5) * 84).astype(int) % W]
        even = (np.floor(x / 0.8) + np.floor(z / 0.8)) % 2 > 0
        tile = np.where(even[..., None], rgb("efe6d8"), rgb("8c7b74")) * (1 + marble)[..., None]
        light = np.ones_like(x)
        for centre, radius, _ in balls:  # how near a ray to the sun passes each ball: soft shadows
            to = np.array(centre) - point
            along = np.maximum(np.sum(to * sun, axis=-1), 0)
            miss = np.linalg.norm(to - along[..., None] * sun, axis=-1) / radius
            light *= 1 - 0.62 * smooth(1.12, 0.72, miss) * (along > 0) * (0.55 + 0.45 * smooth(0.1, 0.9, miss))
        far = np.exp(-np.hypot(x, z + 3) / 9)
        return mix(rgb("e6e3e0"), tile * light[..., None], far * 1.25)

    def sky(ray):
        up = ray[..., 1]
        colour = mix(rgb("e6e3e0"), rgb("4f7fb8"), smooth(0, 0.75, up))
        window = smooth(0.955, 0.97, np.sum(ray * sun, axis=-1))  # a large lamp, for the highlights
        return mix(colour, np.array([1.6, 1.55, 1.45]), window)

    def trace(origin, ray, depth):
        down = np.where(ray[..., 1] < -1e-4, -origin[..., 1] / np.minimum(ray[..., 1], -1e-4), np.inf)
        point = origin + np.where(np.isfinite(down), down, 0)[..., None] * ray
        colour = np.where(np.isfinite(down)[..., None], floor(point), sky(ray))
        hits = np.stack([meet(origin, ray, centre, radius) for centre, radius, _ in balls])
        first, nearest = hits.argmin(axis=0), hits.min(axis=0)
        for i, (centre, radius, tint) in enumerate(balls):
            mine = (first == i) & (nearest < down)
            if depth == 0 or not mine.any():
                continue
            inward = ray[mine]
            at = origin[mine] + nearest[mine][:, None] * inward
            normal = (at - np.array(centre)) / radius
            cosine = -np.sum(inward * normal, axis=-1, keepdims=True)
            mirrored = inward + 2 * cosine * normal
            bent = refract(inward, normal, 1 / 1.45)
            chord = -2 * np.sum(bent * normal, axis=-1, keepdims=True) * radius
            exit_at = at + chord * bent
            out = refract(bent, (np.array(centre) - exit_at) / radius, 1.45)
            fresnel = 0.04 + 0.96 * (1 - cosine) ** 5  # Schlick's approximation
            through = trace(exit_at + 1e-3 * out, out, depth - 1) * tint ** (0.4 + chord / radius)
            mirror = trace(at + 1e-3 * normal, mirrored, depth - 1)
            colour[mine] = through * (1 - fresnel) + mirror * fresnel
        return colour

    def refract(ray, normal, ratio):
        cosine = -np.sum(ray * normal, axis=-1, keepdims=True)
        root = np.sqrt(np.maximum(1 - ratio**2 * (1 - cosine**2), 0))  # Snell's law
        return ratio * ray + (ratio * cosine - root) * normal

    rays = np.stack([X - 0.75, 0.36 - Y, np.full((H, W), 1.18)], axis=-1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    return trace(np.broadcast_to(np.array([0.0, 1.35, -4.0]), rays.shape), rays, 3)


def harbour(rng: Rng) -> np.ndarray:
    """A town across the water, at night."""
    shore = 0.66
    sky = mix(rgb("0b1433"), rgb("7a4a6e"), smooth(0.0, 0.62, Y))
    sky = mix(sky, rgb("f08a52"), 0.75 * smooth(0.38, 0.72, Y))
    veil = smooth(0.0, 2.2, clouds(rng, 3, stretch=3.0))
    view = mix(sky, rgb("c27a76"), 0.45 * veil * smooth(0.7, 0.3, Y))
    for _ in range(90):
        y, x = int(rng.uniform(0, 0.4) * H), int(rng.uniform(0, 1) * W)
        view[y : y + 2, x : x + 2] += rng.uniform(0.15, 0.6)
    moon = np.hypot(X - 1.2, Y - 0.17)
    view = mix(view, rgb("f7ecd2"), 0.3 * np.exp(-moon / 0.07))
    face = rgb("fbf3dc") * (1 - 0.09 * np.clip(clouds(rng, 14, octaves=4), 0, 2))[..., None]
    view = mix(view, face, smooth(0.058, 0.054, moon))
    lights = np.zeros((H, W, 3))
    warm = [rgb("ffd27a"), rgb("ffb65c"), rgb("fff0c4"), rgb("9fd6ff")]
    for layer, (low, high, colour) in enumerate(
        [(0.22, 0.40, "5a3a5c"), (0.12, 0.36, "33264a"), (0.06, 0.22, "171a33")]
    ):
        x = -20
        while x < W:
            wide = int(rng.integers(34, 92))
            top = int((shore - rng.uniform(low, high)) * H)
            wall = rgb(colour) * rng.uniform(0.82, 1.2)
            house = slice(max(x, 0), min(x + wide, W))
            bottom = int(shore * H)
            shade = np.linspace(1.12, 0.8, max(house.stop - house.start, 1))[None, :, None]
            view[top:bottom, house] = wall * shade
            lights[top:bottom, house] = 0
            if rng.random() < 0.35:  # a mast with a red lamp
                mast, tip = min(max(x + wide // 2, 2), W - 3), top - int(rng.integers(14, 40))
                view[tip:top, mast : mast + 2] = wall
                lights[tip : tip + 4, mast - 1 : mast + 3] = rgb("ff5a4a")
            step_x, step_y = (9, 12) if layer < 2 else (12, 15)
            lit = rng.uniform(0.25, 0.6)
            glow = warm[int(rng.integers(len(warm)))]
            for wy in range(top + 8, bottom - 8, step_y):
                for wx in range(x + 6, x + wide - 7, step_x):
                    if 0 <= wx < W - 8 and rng.random() < lit:
                        lights[wy : wy + step_y // 2, wx : wx + step_x // 2] = glow * rng.uniform(0.45, 1.0)
            x += wide + int(rng.integers(-6, 14))
    for x in range(18, W, 62):  # lamps along the quay
        y = int(shore * H) - 10
        lights[y : y + 5, x : x + 5] = rgb("ffe2a8") * 1.2
    view = np.maximum(view, lights) + 1.0 * blur(lights, 7) + 0.9 * blur(lights, 24)
    # Water: the upper half turned over, drawn out by waves that grow towards the viewer.
    edge = int(shore * H)
    depth = np.arange(H - edge)
    waves = clouds(rng, 46, octaves=3, gain=0.7, stretch=5.0)[edge:]
    source = np.clip(edge - 1 - (depth[:, None] * 1.7 + waves * (3 + depth[:, None] * 0.16)), 0, edge - 1)
    sway = np.clip(np.arange(W) + 2.2 * waves, 0, W - 1)
    mirror = blur(view, 2)[source.astype(int), sway.astype(int)]
    dark = 0.75 - 0.25 * smooth(0, H - edge, depth)[:, None]
    view[edge:] = mirror * (dark + 0.07 * waves)[..., None] + rgb("0a1022") * 0.35
    return view


def tartan(rng: Rng) -> np.ndarray:
    """A woollen cloth in folds, every thread of it."""
    fold = blur(clouds(rng, 2, octaves=2, stretch=0.7), 10)
    across = 0.86 * X + 0.26 * Y + 0.010 * fold
    along = -0.26 * X + 0.86 * Y + 0.014 * np.roll(fold, 90, axis=1)
    sett = [  # colour and number of threads, then again in the other direction
        ("14324f", 26), ("1e5b4a", 14), ("0d1420", 3), ("1e5b4a", 14), ("0d1420", 8), ("a3222f", 24),
        ("e9c46a", 2), ("a3222f", 10), ("f1ede2", 3), ("a3222f", 10), ("e9c46a", 2), ("a3222f", 24),
        ("0d1420", 8),
    ]  # fmt: skip
    threads = np.concatenate([np.tile(rgb(code), (count, 1)) for code, count in sett])
    pitch = 1 / 118  # a thread, in heights of the picture
    u, v = across / pitch, along / pitch
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    warp_on_top = (i - j) % 4 < 2  # a two-and-two twill: its diagonals are the eye's first sign of wool
    yarn = 1 + 0.07 * rng.standard_normal(4096)  # no two threads are spun alike
    warp = threads[i % len(threads)] * yarn[i % 4096][..., None]
    weft = threads[j % len(threads)] * yarn[(j + 1999) % 4096][..., None]
    colour = np.where(warp_on_top[..., None], warp, weft)
    # Round threads: bright along the middle, dark where they dive below a neighbour.
    side = np.where(warp_on_top, u - i, v - j) - 0.5
    length = np.where(warp_on_top, (v - i) % 4, (u - j - 1) % 4) / 4
    relief = (1 - 2.2 * side**2) * (0.74 + 0.3 * np.sin(np.pi * np.clip(length * 2 % 1, 0, 1)))
    fuzz = 1 + 0.09 * clouds(rng, 150, octaves=2, gain=0.9)
    slope = np.gradient(fold, axis=1) + 0.6 * np.gradient(fold, axis=0)
    light = 1.25 + 19 * slope + 0.06 * fold
    cloth = colour * (relief * fuzz * np.clip(light, 0.3, 1.7))[..., None]
    return cloth + 0.05 * np.clip(light, 0, 2)[..., None] * fuzz[..., None]


def cells(rng: Rng) -> np.ndarray:
    """Tissue as a microscope shows it: walls, nuclei, granules. Gray."""
    x = X + 0.012 * clouds(rng, 5, octaves=4)
    y = Y + 0.012 * clouds(rng, 5, octaves=4)
    # Centres on a shaken honeycomb; the two nearest to each pixel make the cell and its walls.
    size = 0.155
    nearest, second = np.full((H, W), np.inf), np.full((H, W), np.inf)
    tone, nucleus = np.zeros((H, W)), np.full((H, W), np.inf)
    for row in range(-1, 9):
        for column in range(-1, 12):
            cx = (column + 0.5 * (row % 2)) * size + rng.normal(0, 0.021)
            cy = row * size * 0.87 + rng.normal(0, 0.021)
            shade, angle = rng.normal(), rng.uniform(0, np.pi)
            dx, dy, radius = rng.normal(0, 0.012), rng.normal(0, 0.012), rng.uniform(0.024, 0.036)
            distance = np.hypot(x - cx, y - cy)
            own = distance < nearest
            second = np.minimum(np.where(own, nearest, distance), second)
            nearest = np.where(own, distance, nearest)
            a, b = x - cx - dx, y - cy - dy
            long, short = a * np.cos(angle) + b * np.sin(angle), b * np.cos(angle) - a * np.sin(angle)
            nucleus = np.where(own, np.hypot(long * 0.8, short * 1.2) / radius, nucleus)
            tone = np.where(own, shade, tone)
    wall = second - nearest
    grains = clouds(rng, 60, octaves=3, gain=0.8)
    plasma = 0.60 + 0.05 * tone + 0.030 * grains + 0.035 * clouds(rng, 14)
    plasma -= 0.16 * smooth(1.2, 2.6, grains)  # the darkest grains are granules
    picture = plasma - 0.42 * np.exp(-((wall / 0.0075) ** 2)) + 0.17 * np.exp(-(((wall - 0.02) / 0.008) ** 2))
    inside = smooth(1.06, 0.94, nucleus)
    chromatin = 0.30 + 0.06 * clouds(rng, 42, octaves=3, gain=0.8) + 0.10 * nucleus**2
    picture = picture * (1 - inside) + chromatin * inside
    picture += 0.16 * np.exp(-(((nucleus - 1.12) / 0.09) ** 2))  # the bright rim of phase contrast
    picture -= 0.22 * inside * np.exp(-((np.hypot(nucleus, 0.02) / 0.28) ** 2))  # nucleolus
    return picture * (1.12 - 0.42 * ((X - 0.7) ** 2 + (Y - 0.45) ** 2))


TEXT = """\
The lamp in the reading room was too weak for the plate, and so the
photographs of that winter are full of grain. We kept them all the same.
A picture is mostly what we already know: the edge of a table, a sleeve,
the slow fall of light along a wall. What we do not know is small, and it
is the part worth keeping. Noise is the opposite. It knows nothing of
the table, it has no edges, and it is never the same twice.
To tell one from the other, look at many clean pictures, spoil each
of them by a known amount, and learn the way back. Take away too
little and the grain remains; too much, and the sleeve turns to wax. The
honest measure is what was removed: it should look like nothing at all.
"""


def page(rng: Rng) -> np.ndarray:
    """A printed page on a desk, under one lamp. Gray."""
    sheet = Image.new("L", (850, 640), 246)
    draw = ImageDraw.Draw(sheet)
    draw.text((56, 42), "On the grain of things", 28, ImageFont.load_default(44))
    draw.text((56, 102), "Chapter 3. What the camera did not see", 70, ImageFont.load_default(22))
    draw.line((56, 138, 794, 138), 90, 2)
    for n, line in enumerate(TEXT.splitlines()):
        draw.text((56, 156 + 38 * n), line, 34, ImageFont.load_default(22))
    # Tilt it onto the desk, a shadow below it.
    tilt = {"angle": 2.5, "resample": Image.Resampling.BICUBIC, "expand": True}
    paper = sheet.rotate(**tilt)
    mask = Image.new("L", sheet.size, 255).rotate(**tilt)
    at = (-14, 2)
    grain = 0.30 + 0.035 * clouds(rng, 24, octaves=5, gain=0.7, stretch=9.0) + 0.03 * clouds(rng, 2, stretch=4)
    canvas, cover = Image.new("L", (W, H)), Image.new("L", (W, H))
    canvas.paste(paper, at)
    cover.paste(mask, at)
    shadow = Image.new("L", (W, H))
    shadow.paste(mask, (at[0] + 9, at[1] + 12))
    shade = np.asarray(shadow.filter(ImageFilter.GaussianBlur(9))) / 255
    alpha = np.asarray(cover) / 255
    fibre = 1 + 0.012 * clouds(rng, 70, octaves=3, gain=0.8)
    view = grain * (1 - 0.6 * shade) * (1 - alpha) + np.asarray(canvas) / 255 * alpha * fibre
    return view * (1.02 - 0.30 * ((X - 0.55) ** 2 + (Y - 0.35) ** 2))


if __name__ == "__main__":
    main()
