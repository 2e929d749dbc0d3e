"""Largest difference between tiled and whole-picture inference at the halo that the card states.

python benchmarks/tiling.py DATA [--model image] [--pictures 12]

In float output, before rounding, in 8-bit steps, over the colour test set at sigma 25 (8-bit input).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from denoise_cli import denoise, evaluate
from denoise_cli.corrupt import parse
from denoise_cli.media import image
from denoise_cli.models import choose
from denoise_cli.session import Session


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="image")
    parser.add_argument("--pictures", type=int, default=12)
    arguments = parser.parse_args()
    session = Session(choose(arguments.model, "auto", "cpu"), "cpu")
    noise = parse("gaussian:std=25+quantise")
    worst = 0.0
    pairs = evaluate.pairs(None, arguments.data / "images" / "test" / "cbsd68")[: arguments.pictures]
    for index, pair in enumerate(pairs):
        x = noise(image.read(pair.clean).data, np.random.default_rng(index))
        whole = denoise.array(x, session, denoise.Options(tile=4096))
        tiled = denoise.array(x, session, denoise.Options(tile=192))
        worst = max(worst, float(np.abs(whole - tiled).max()) * 255)
    print(f"{len(pairs)} pictures, halo {session.card.halo}: largest difference {worst:.5f} of an 8-bit step")


if __name__ == "__main__":
    main()
