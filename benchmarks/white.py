"""Which noise the tool takes for white, and what the models for white noise are worth on each.

    python benchmarks/white.py DATA [--first 17]

For each kind of noise: the share of pictures that get the model for white noise, and over the first of them the
PSNR of the general model, of the one for white noise, and of the one that is chosen. DATA/images/test holds cbsd68,
bsd68 and polyu.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from real_noise import pairs, rounded

from denoise_cli import denoise, shipped
from denoise_cli.corrupt import parse
from denoise_cli.media import image
from denoise_cli.metrics import is_white, psnr, traits
from denoise_cli.session import Session

NOISES = (
    "gaussian:std=5", "gaussian:std=10", "gaussian:std=15", "gaussian:std=25", "gaussian:std=50",
    "uniform:width=60", "poisson:peak=100", "poisson:peak=30", "speckle:std=0.15", "salt-pepper:amount=0.05",
    "salt-pepper:amount=0.2", "gaussian:std=25+jpeg:quality=85", "camera", "camera+jpeg:quality=85",
)  # fmt: skip


def measured(files: list[Path], spec: str, general: Session, white: Session, first: int) -> str:
    shares, scores = [], []
    for index, path in enumerate(files):
        clean = image.read(path).data
        noisy = parse(f"{spec}+quantise")(clean, np.random.default_rng(index)).astype(np.float32)
        shares.append(is_white(noisy))
        if index < first:
            both = [psnr(rounded(denoise.array(noisy, session)), clean) for session in (general, white)]
            scores.append([*both, both[shares[-1]]])
    columns = " / ".join(f"{score:6.2f}" for score in np.mean(scores, axis=0))
    return f"{spec:32} {np.mean(shares):6.1%}   {columns}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--first", type=int, default=17, help="so many pictures are denoised")
    arguments = parser.parse_args()
    root = arguments.data / "images" / "test"
    for folder, general, white in (("cbsd68", "image", "image-white"), ("bsd68", "gray", "gray-white")):
        files = sorted((root / folder).iterdir())
        sessions = [Session(shipped.locate(name), "cpu") for name in (general, white)]
        print(f"{folder}, {len(files)} pictures: taken for white; PSNR of {general} / {white} / the chosen one")
        for spec in NOISES:
            print(measured(files, spec, *sessions, arguments.first), flush=True)
    found = [traits(image.read(noisy).data) for noisy, _ in pairs(root / "polyu")]
    white = [one for one in found if one is not None and one.white]
    print(f"polyu, {len(found)} pictures of cameras: {len(white)} taken for white")
    print(f"their least slope {min(one.slope for one in found if one):.2f}, correlation "
          f"{min(one.correlation for one in found if one):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
