"""Anomaly detection on a sensor series: an autoencoder that has learnt how three channels go together.

    python benchmarks/anomaly_series.py [--steps 600] [--rate 0.02] [--threads N]

The series is that of series.py, made here. ``denoise train --kind series`` learns ten minutes of it; others, in
files of four seconds, give the threshold, and ``denoise eval --anomaly`` tells files like these from files with one
fault: a channel that stands still for a second, one that follows another recording, and a rhythm twice as fast.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from anomaly import judged, shares
from mnist import run
from series import RATE, sensor

LENGTH = 4 * RATE  # samples of a file
NOISES = {"no noise": "gaussian:std=0", "std 0 to 1": "gaussian:std=0-1", "masking": "masking:amount=0.3,size=20"}


def still(x: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    channel, start = rng.integers(3), rng.integers(LENGTH - RATE)
    x[channel, start : start + RATE] = x[channel, start]
    return x


def foreign(x: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    channel = rng.integers(3)
    x[channel] = other[channel]
    return x


def hurried(x: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The first half of the file at twice its speed, in its place and once more."""
    fast = x[:, ::2]
    return np.concatenate([fast, fast], axis=1)


FAULTS: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]] = {
    "a channel stands still": still,
    "a channel of another time": foreign,
    "twice as fast": hurried,
}


def files(folder: Path, x: np.ndarray) -> None:
    """(3, T) as .npy files of `LENGTH` samples."""
    folder.mkdir(parents=True)
    for index, start in enumerate(range(0, x.shape[1] - LENGTH + 1, LENGTH)):
        np.save(folder / f"{index:03}.npy", x[:, start : start + LENGTH].astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--threads", type=int)
    a = parser.parse_args()
    more = ["--threads", a.threads] if a.threads else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "train.npy", sensor(0).astype(np.float32))
        files(folder / "normal", sensor(1))
        rng, pieces, others = np.random.default_rng(0), sensor(3), sensor(4)
        for fault, make in FAULTS.items():
            test = folder / fault.replace(" ", "-")
            files(test / "normal", sensor(2))
            starts = range(0, pieces.shape[1] - LENGTH + 1, LENGTH)
            cut = [(pieces[:, s : s + LENGTH].copy(), others[:, s : s + LENGTH]) for s in starts]
            files(test / "faulty", np.concatenate([make(x, other, rng) for x, other in cut], axis=1))
        print(f"{a.steps} steps; {len(starts)} files of each kind; threshold at a false-alarm rate of {a.rate:g}\n")
        print("| trained with | fault | ROC AUC | false alarms | detected |\n|---|---|---|---|---|")
        for words, noise in NOISES.items():
            model, train = folder / f"{words.replace(' ', '-')}.onnx", ["--kind", "series", "--noise", noise, *more]
            run("train", folder / "train.npy", "-o", model, "--steps", a.steps, "-q", *train)
            for fault in FAULTS:
                found = judged(folder / "normal", folder / fault.replace(" ", "-"), model, a.rate)
                print(f"| {words} | {fault} | {found['auc']:.4f} | {shares(found, 1)}", flush=True)


if __name__ == "__main__":
    main()
