"""Which noise the tool takes for white, and what the models for white noise are worth on each.

    python benchmarks/white.py DATA [--first 17] [--noise gaussian:std=25 ...]
    python scripts/make_graphics.py FOLDER --count 160
    python benchmarks/white.py DATA --drawings FOLDER

For each kind of noise: the share of pictures whose noise is taken for white and the share that gets the model for
white noise; and the PSNR of the general model, of the one for white noise, of the one that is chosen, and of the
better one of each picture. DATA/images/test holds cbsd68, bsd68 and polyu. Of the drawings the 40 that no model has
seen are taken, in colour and in gray.
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
from denoise_cli.models import Models
from denoise_cli.session import Session

NOISES = (
    "gaussian:std=5", "gaussian:std=10", "gaussian:std=15", "gaussian:std=25", "gaussian:std=50",
    "uniform:width=60", "poisson:peak=100", "poisson:peak=30", "speckle:std=0.15", "salt-pepper:amount=0.05",
    "salt-pepper:amount=0.2", "gaussian:std=25+jpeg:quality=85", "camera", "camera+jpeg:quality=85",
)  # fmt: skip

SEEN = 120  # drawings that the models were trained on


def measured(clean: list[np.ndarray], spec: str, general: Session, white: Session) -> str:
    taken, chosen, scores = [], [], []
    for index, picture in enumerate(clean):
        noisy = parse(f"{spec}+quantise")(picture, np.random.default_rng(index)).astype(np.float32)
        models = Models(None, device="cpu")
        taken.append(is_white(noisy))
        denoise.array(noisy, models)
        chosen.append(models.latest == white.card.name)
        both = [psnr(rounded(denoise.array(noisy, session)), picture) for session in (general, white)]
        scores.append([*both, both[chosen[-1]], max(both)])
    columns = " / ".join(f"{score:6.2f}" for score in np.mean(scores, axis=0))
    return f"{spec:32} {np.mean(taken):6.1%} {np.mean(chosen):6.1%}   {columns}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--first", type=int, default=17, help="so many pictures of each set")
    parser.add_argument("--noise", nargs="+", default=NOISES)
    parser.add_argument("--drawings", type=Path)
    arguments = parser.parse_args()
    root = arguments.data / "images" / "test"
    if arguments.drawings:
        colour = [image.read(path).data for path in sorted(arguments.drawings.iterdir())[SEEN:]]
        sets = {"drawings": colour, "drawings in gray": [x.mean(axis=0, keepdims=True) for x in colour]}
    else:
        files = {name: sorted((root / name).iterdir())[: arguments.first] for name in ("cbsd68", "bsd68")}
        sets = {name: [image.read(path).data for path in paths] for name, paths in files.items()}
    for (name, clean), pair in zip(sets.items(), (("image", "image-white"), ("gray", "gray-white")), strict=True):
        sessions = [Session(shipped.locate(model), "cpu") for model in pair]
        print(f"{name}, {len(clean)}: taken for white, given to {pair[1]}; PSNR of {pair[0]} / {pair[1]} /")
        print("  the chosen one / the better one of each picture")
        for spec in arguments.noise:
            print(measured(clean, spec, *sessions), flush=True)
    if arguments.drawings:
        return
    found = [traits(image.read(noisy).data) for noisy, _ in pairs(root / "polyu")]
    white = [one for one in found if one is not None and one.white]
    print(f"polyu, {len(found)} pictures of cameras: {len(white)} taken for white")
    print(f"their least slope {min(one.slope for one in found if one):.2f}, correlation "
          f"{min(one.correlation for one in found if one):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
