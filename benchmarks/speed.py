"""Seconds per megapixel on one core, beside DnCNN 17 x 64 in the same run, and what a second core adds.

    python benchmarks/speed.py [--model image] [--precision auto] [--side 1024] [--rounds 5]

Needs torch, to make the DnCNN. The two nets take turns, so that a machine that drifts drifts for both;
medians are printed. The ratio is what to quote.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from denoise_cli import nets
from denoise_cli.card import ModelCard
from denoise_cli.models import choose
from denoise_cli.session import Session
from denoise_cli.train.export import export


def dncnn(folder: Path) -> Path:
    net = nets.build("dncnn", {"channels": 1, "width": 64, "depth": 17})
    export(net, ModelCard("dncnn", channels=1, multiple=1), folder / "dncnn.onnx")
    return folder / "dncnn.onnx"


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def parallel(call: Callable[[], object], threads: int) -> None:
    running = [threading.Thread(target=call) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="image")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    side = arguments.side
    megapixels = side * side / 1e6
    with tempfile.TemporaryDirectory() as folder:
        ours = Session(choose(arguments.model, arguments.precision, "cpu"), "cpu")
        other = Session(dncnn(Path(folder)), "cpu")
        x = rng.random((1, ours.card.channels, side, side), dtype=np.float32)
        g = rng.random((1, 1, side // 2, side // 2), dtype=np.float32)
        ours(x), other(g)  # warm up
        one, two, net = [], [], []
        for _ in range(arguments.rounds):
            one.append(seconds(lambda: (ours(x), ours(x))) / 2 / megapixels)
            two.append(seconds(lambda: parallel(lambda: (ours(x), ours(x)), 2)) / 4 / megapixels)
            net.append(seconds(lambda: other(g)) / megapixels * 4)
    name = ours.path.stem
    print(f"{name}, one thread:            {statistics.median(one):.3f} s/MP  (min {min(one):.3f})")
    print(f"{name}, two threads:           {statistics.median(two):.3f} s/MP")
    print(
        f"two threads against one:      {statistics.median(a / b for a, b in zip(one, two, strict=True)):.2f} times"
    )
    print(f"DnCNN 17 x 64, one thread:    {statistics.median(net):.3f} s/MP  (min {min(net):.3f})")
    print(
        f"faster than DnCNN:            {statistics.median(a / b for a, b in zip(net, one, strict=True)):.1f} times"
    )


if __name__ == "__main__":
    main()
