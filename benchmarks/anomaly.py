"""Anomaly detection on MNIST: an autoencoder that has learnt one digit, shown all ten.

    python benchmarks/anomaly.py DATA [--digits 1,8] [--epochs 10] [--rate 0.01]

DATA holds mnist.npz. For each digit the net of mnist-latent16 is trained on half of its training pictures; the
other half gives the threshold. ``denoise eval --anomaly`` then tells the test pictures of that digit from those of
the others. Trained with weak noise (std 0.1 of full scale, no mean), with the strong one of the text, and without.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from mnist import run

NOISES = {
    "no noise": "gaussian:std=0",
    "std 0.1 of full scale": "gaussian:std=0.1fs+quantise",
    "N(0.5, 0.5), the text's": "gaussian:std=0.5fs,mean=0.5fs+quantise",
}


def judged(normal: Path, test: Path, model: Path, rate: float) -> dict[str, float]:
    """What ``denoise eval --anomaly`` finds: auc, threshold, and the shares false_alarms and detected."""
    options = ["--anomaly", normal, "--test", test, "--false-alarm-rate", rate, "--json"]
    return json.loads(run("eval", "-m", model, *options))


def shares(found: dict[str, float], digits: int) -> str:
    """The end of a row: false alarms and detected ones."""
    return f"{100 * found['false_alarms']:.{digits}f} % | {100 * found['detected']:.1f} % |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--digits", default="1,8")
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--threads", type=int)
    a = parser.parse_args()
    more = ["--threads", a.threads] if a.threads else []
    with np.load(a.data / "mnist.npz") as held:
        arrays = {name: held[name] for name in ("x_train", "y_train", "x_test", "y_test")}

    print(f"{a.epochs:g} epochs; threshold at a false-alarm rate of {a.rate:g}\n")
    print("| normal | trained with | ROC AUC | threshold | false alarms | detected |\n|---|---|---|---|---|---|")
    for digit in map(int, a.digits.split(",")):
        own = arrays["x_train"][arrays["y_train"] == digit]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            np.savez(folder / "train.npz", x_train=own[::2])
            np.savez(folder / "normal.npz", normal=own[1::2])
            same = arrays["y_test"] == digit
            np.savez(folder / "test.npz", normal=arrays["x_test"][same], other=arrays["x_test"][~same])
            for index, (words, noise) in enumerate(NOISES.items()):
                model = folder / f"{index}.onnx"
                run("train", folder / "train.npz", "-o", model, "--recipe", "mnist-latent16", "--noise", noise,
                    "--epochs", a.epochs, "-q", *more)  # fmt: skip
                found = judged(folder / "normal.npz", folder / "test.npz", model, a.rate)
                row = f"| {digit} | {words} | {found['auc']:.4f} | {found['threshold']:.5f} | {shares(found, 2)}"
                print(row, flush=True)


if __name__ == "__main__":
    main()
