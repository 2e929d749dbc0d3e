"""PSNR on photographs with the noise of real cameras, and of clean pictures that should come back as they are.

    python benchmarks/real_noise.py DATA [--model image ...] [--precision auto] [--stamp]
    python benchmarks/real_noise.py DATA --told 2 5 8 12

--told scores a model that may be told the level, as --std does: for each level, and for the one of them that is
best for each picture, which a user would find by looking.

DATA/images/test holds polyu, pairs NAME_real.JPG (noisy) and NAME_mean.JPG (the mean of many exposures), and set12,
bsd68 and cbsd68. Outputs are rounded to 8 bits.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from quality import stamp

from denoise_cli import denoise
from denoise_cli.media import image
from denoise_cli.metrics import psnr
from denoise_cli.models import choose
from denoise_cli.session import Session

HARM = 0.1  # dB a picture may lose


def rounded(y: np.ndarray) -> np.ndarray:
    return (y.clip(0, 1) * 255).round() / 255


def pairs(folder: Path) -> list[tuple[Path, Path]]:
    return [(path, path.with_name(path.name.replace("_real", "_mean"))) for path in sorted(folder.glob("*_real.*"))]


def camera(session: Session, files: Sequence[tuple[Path, Path]]) -> tuple[float, float, float, int]:
    """Mean PSNR before and after, the worst change of a picture, and how many lose more than HARM dB."""
    before, after = [], []
    for noisy, mean in files:
        x, clean = image.read(noisy).data, image.read(mean).data
        before.append(psnr(x, clean))
        after.append(psnr(rounded(denoise.array(x, session)), clean))
    change = np.subtract(after, before)
    return float(np.mean(before)), float(np.mean(after)), float(change.min()), int((change < -HARM).sum())


def told(session: Session, files: Sequence[tuple[Path, Path]], levels: Sequence[float]) -> np.ndarray:
    """PSNR untold, and told each of the levels: (pairs, 1 + levels)."""
    scores = []
    for noisy, mean in files:
        x, clean = image.read(noisy).data, image.read(mean).data
        asked = [denoise.Options(std=level) for level in (None, *levels)]
        scores.append([psnr(rounded(denoise.array(x, session, options)), clean) for options in asked])
    return np.array(scores)


def clean(session: Session, files: Sequence[Path]) -> tuple[float, float]:
    """Mean and lowest PSNR of clean pictures after the model, before rounding: which would hide small changes."""
    scores = []
    for path in files:
        x = image.read(path).data
        scores.append(psnr(denoise.array(x, session).clip(0, 1), x))
    return float(np.mean(scores)), float(np.min(scores))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", nargs="+", default=["image"])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--told", nargs="+", type=float, metavar="STD")
    parser.add_argument("--stamp", action="store_true", help="write the figures into the card")
    arguments = parser.parse_args()
    if arguments.told and arguments.stamp:
        parser.error("a card has no place for what --told prints")
    root = arguments.data / "images" / "test"
    for model in arguments.model:
        session = Session(choose(model, arguments.precision, "cpu"), "cpu")
        files = pairs(root / "polyu")
        if arguments.told:
            scores = told(session, files, arguments.told)
            labels = ["untold", *(f"told {level:g}" for level in arguments.told)]
            means = ", ".join(f"{label} {mean:.2f}" for label, mean in zip(labels, scores.mean(0), strict=True))
            best = scores[:, 1:].max(1).mean()
            print(
                f"{session.path.name}: polyu, {len(files)} pairs: {means}, best per picture {best:.2f} dB",
                flush=True,
            )
            continue
        before, after, worst, harmed = camera(session, files)
        print(
            f"{session.path.name}: polyu, {len(files)} pairs: {before:.2f} -> {after:.2f} dB; worst change "
            f"{worst:+.2f} dB; {harmed} lose more than {HARM} dB",
            flush=True,
        )
        figures = {"polyu PSNR, real camera noise, before / after": f"{before:.2f} / {after:.2f}"}
        for name in ("set12", "bsd68", "cbsd68"):
            mean, least = clean(session, sorted((root / name).iterdir()))
            print(f"{session.path.name}: {name} clean: {mean:.2f} dB, lowest {least:.2f} dB", flush=True)
            figures[f"{name} PSNR, clean input, mean / lowest"] = f"{mean:.2f} / {least:.2f}"
        if arguments.stamp:
            stamp(session.path, figures)


if __name__ == "__main__":
    main()
