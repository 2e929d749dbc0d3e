"""What a model loses in int8, from no noise to strong noise, and how much faster it is.

    python benchmarks/precision.py DATA [--model image] [--first 12]

Runs in turns over DATA/images/test/cbsd68, clipped and rounded after the noise: the float model, what `denoise
quantise` makes of it with the pictures of DATA/images/train, and its int8 form that ships, which was trained.
One thread; outputs are rounded to 8 bits.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from denoise_cli import denoise, shipped
from denoise_cli.corrupt import parse
from denoise_cli.media import image
from denoise_cli.metrics import psnr
from denoise_cli.session import Session
from denoise_cli.train.quantise import quantise

LEVELS = (0, 3, 10, 25, 50)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="image")
    parser.add_argument("--first", type=int, default=12, help="pictures")
    arguments = parser.parse_args()
    model = shipped.locate(arguments.model)
    files = sorted((arguments.data / "images" / "test" / "cbsd68").iterdir())[: arguments.first]
    with tempfile.TemporaryDirectory() as folder:
        integers = Path(folder) / "model.int8.onnx"
        quantise(model, arguments.data / "images" / "train", integers, say=lambda line: None)
        forms = {"float": model, "quantised": integers, "trained": shipped.variant(model, "int8")}
        sessions = {name: Session(path, "cpu") for name, path in forms.items() if path is not None}
    seconds, pixels = dict.fromkeys(sessions, 0.0), 0
    print(f"| sigma | {' | '.join(f'{name}, dB' for name in sessions)} |")
    print("|---|" + "---|" * len(sessions))
    for level in LEVELS:
        noise = parse(f"gaussian:std={level}+quantise")
        scores: dict[str, list[float]] = {name: [] for name in sessions}
        for index, path in enumerate(files):
            clean = image.read(path).data
            noisy = noise(clean, np.random.default_rng(index))
            if len(noisy) > sessions["float"].card.channels:  # a model for gray takes each channel for itself
                clean, noisy = clean[1:2], noisy[1:2]
            pixels += clean[0].size
            for name, session in sessions.items():
                began = time.process_time()
                y = denoise.array(noisy, session, denoise.Options(threads=1))
                seconds[name] += time.process_time() - began
                scores[name].append(psnr((y.clip(0, 1) * 255).round() / 255, clean))
        print(f"| {level} | {' | '.join(f'{np.mean(values):.2f}' for values in scores.values())} |", flush=True)
    cost = {name: seconds[name] / pixels * 1e6 for name in sessions}
    print(f"{len(files)} pictures; seconds of processor a megapixel, and how many times faster than float:")
    print(", ".join(f"{name} {cost[name]:.2f} ({cost['float'] / cost[name]:.2f})" for name in sessions))


if __name__ == "__main__":
    main()
