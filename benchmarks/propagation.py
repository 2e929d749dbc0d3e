"""How Gaussian noise passes through a network: theory against Monte Carlo, and the shipped network measured.

python benchmarks/propagation.py [--samples 1000000] [--settings 20] [--picture FILE] [--no-network]

First table: the largest and the median Kolmogorov-Smirnov distance between exact law and draws over random settings
of every layer kind (the bar is 0.005 with a million draws). Second: the layers of models/image.onnx.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

from denoise_cli.noise import settings
from denoise_cli.noise.layers import propagate
from denoise_cli.noise.sampling import draw, ks_distance

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--settings", type=int, default=20)
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "clean" / "harbour.png")
    parser.add_argument("--no-network", action="store_true")
    arguments = parser.parse_args()
    print(
        f"Kolmogorov-Smirnov distance, {arguments.samples} draws, {arguments.settings} random settings of each kind"
    )
    print("| layers | largest | median |\n|---|---|---|")
    for index, (kind, make) in enumerate(settings.KINDS.items()):
        distances = []
        for seed in range(arguments.settings):
            layers, mu, sigma = make(np.random.default_rng([index, seed, 0]))
            samples = draw(layers, mu, sigma, arguments.samples, np.random.default_rng([index, seed, 1]))[-1]
            distances.append(ks_distance(samples, propagate(layers, mu, sigma)[-1].law))
        print(f"| {kind} | {max(distances):.5f} | {statistics.median(distances):.5f} |", flush=True)
    if not arguments.no_network:
        command = [sys.executable, "-m", "denoise_cli", "propagate", arguments.picture, "--std", "25"]
        subprocess.run(command, check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
