"""Draws the gallery of docs/noise.md into docs/noise/: densities over histograms, one command a picture.

python scripts/make_noise_gallery.py [--samples 300000]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "noise"

GALLERY = {  # file -> layers, mu, sigma
    "conv": ("conv(0.2,0.5,0.3,bias=0.5)", 0, 1),
    "relu": ("relu", 0, 1),
    "relu-shifted": ("relu", 1, 1),
    "leaky-relu": ("leaky-relu(0.2)", 0, 1),
    "tanh": ("tanh", 0, 0.5),
    "tanh-wide": ("tanh", 0, 1.5),
    "sigmoid": ("sigmoid", 0, 1),
    "sigmoid-wide": ("sigmoid", 1, 3),
    "maxpool-2": ("maxpool(2)", 0, 1),
    "maxpool-9": ("maxpool(9)", 1, 1),
    "conv-relu-maxpool": ("conv(9*0.33),relu,maxpool(4)", 0, 1),
    "tanh-maxpool": ("tanh,maxpool(4)", 0, 1),
    "relu-conv-relu": ("relu,conv(4*0.5),relu", 0, 1),
    "relu-conv-64": ("relu,conv(64*0.125)", 0, 1),
}


def command(name: str, samples: int) -> list[str]:
    layers, mu, sigma = GALLERY[name]
    target = (TARGET / f"{name}.png").relative_to(ROOT)
    return ["propagate", "--layers", layers, "--mu", str(mu), "--sigma", str(sigma), "--samples", str(samples),
            "--plot", str(target)]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=300_000)
    arguments = parser.parse_args()
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in GALLERY:
        line = command(name, arguments.samples)
        subprocess.run([sys.executable, "-m", "denoise_cli", *line, "--quiet"], cwd=ROOT, check=True)
        print("denoise", " ".join(f'"{part}"' if "(" in part else part for part in line), flush=True)


if __name__ == "__main__":
    main()
