"""Processor time of small calls, each a whole process; medians of several runs.

python benchmarks/startup.py [--rounds 11]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def measure(command: list[str], rounds: int) -> tuple[float, float]:
    """Median processor seconds (user + system) and wall seconds."""
    used, wall = [], []
    for index in range(rounds + 1):
        began, before = time.perf_counter(), os.times()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        after = os.times()
        if index:  # the first warms the file cache
            used.append(after.children_user + after.children_system - before.children_user - before.children_system)
            wall.append(time.perf_counter() - began)
    return statistics.median(used), statistics.median(wall)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    denoise = [str(Path(sys.executable).with_name("denoise"))]
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "x.png")
        noise = np.random.default_rng(0).normal(128, 25, (512, 512, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noise).save(picture)
        one = ["run", str(picture), "-o", str(Path(folder, "y.png")), "--on-exists", "overwrite", "-q"]
        rows = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "denoise --version": [*denoise, "--version"],
            "denoise --help": [*denoise, "--help"],
            "denoise run, one 512 x 512 PNG": [*denoise, *one],
        }
        for name, command in rows.items():
            used, wall = measure(command, rounds)
            print(f"{name:32} {used * 1000:6.0f} ms of processor, {wall * 1000:6.0f} ms of wall time")


if __name__ == "__main__":
    main()
