"""What a model loses in int8, at faint and strong noise, and how much faster it is.

    python benchmarks/precision.py DATA [--model image] [--first 12]

Quantises the model as `denoise quantise` does, with the pictures of DATA/images/train, and runs both forms in turns
over DATA/images/test/cbsd68 with clipped and rounded Gaussian noise. One thread.
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

LEVELS = (3, 10, 25, 50)


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
        quantise(model, arguments.data / "images" / "train", integers)
        sessions = {"float": Session(model, "cpu"), "int8": Session(integers, "cpu")}
    seconds, pixels = dict.fromkeys(sessions, 0.0), 0
    print("| sigma | float, dB | int8, dB | lost |")
    print("|---|---|---|---|")
    for level in LEVELS:
        noise, scores = parse(f"gaussian:std={level}+quantise"), {name: [] for name in sessions}
        for index, path in enumerate(files):
            clean = image.read(path).data
            noisy = noise(clean, np.random.default_rng(index))
            pixels += clean[0].size
            for name, session in sessions.items():
                began = time.process_time()
                y = denoise.array(noisy, session, denoise.Options(threads=1))
                seconds[name] += time.process_time() - began
                scores[name].append(psnr((y.clip(0, 1) * 255).round() / 255, clean))
        floats, ints = (float(np.mean(scores[name])) for name in sessions)
        print(f"| {level} | {floats:.2f} | {ints:.2f} | {floats - ints:.2f} |", flush=True)
    cost = {name: seconds[name] / pixels * 1e6 for name in sessions}
    print(f"{len(files)} pictures; float {cost['float']:.2f}, int8 {cost['int8']:.2f} s of processor a megapixel, "
          f"{cost['float'] / cost['int8']:.2f} times faster")  # fmt: skip


if __name__ == "__main__":
    main()
