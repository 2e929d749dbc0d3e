"""What a denoising autoencoder fills holes with, against column means and scikit-learn's IterativeImputer.

python benchmarks/imputation.py [--steps 1200] [--seeds 3]

scikit-learn's own wine, breast cancer and diabetes tables, 70 % of the rows to train on, the others with a fifth of
their values missing completely at random. Means, deviations and every imputer know the training rows alone.
Printed is the root mean square error of the filled values, in standard deviations of the training rows:
mean over the seeds, and their range. The autoencoder is trained by the library call behind ``denoise train --kind
table``, with its defaults, on the complete rows, and run as ``denoise run`` does.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - it is behind this door
from sklearn.impute import IterativeImputer

from denoise_cli import denoise
from denoise_cli.session import Session
from denoise_cli.signal import Header, Signal
from denoise_cli.train import fit, loop, tables

MISSING = 0.2
TRAINED = 0.7  # share of the rows
DATA = {"wine": load_wine, "breast cancer": load_breast_cancer, "diabetes": load_diabetes}


def autoencoder(training: np.ndarray, holes: np.ndarray, steps: int, seed: int) -> np.ndarray:
    """(n, F) with NaN -> the same filled, by a model trained on `training`."""
    with tempfile.TemporaryDirectory() as folder:
        sheet, model = Path(folder, "training.csv"), Path(folder, "model.onnx")
        with sheet.open("w", newline="") as file:
            csv.writer(file).writerows([[f"c{j}" for j in range(training.shape[1])], *training.tolist()])
        settings = loop.Options(
            arch="dense", noise=tables.NOISE["table"], loss="mse", optimiser=tables.OPTIMISER, lr=tables.RATE,
            batch_size=tables.BATCH["table"], steps=steps, seed=seed,
        )  # fmt: skip
        fit.fit(tables.Tables(sheet, settings), model, device="cpu")
        session = Session(model, "cpu")
        data = np.ascontiguousarray(holes.T.astype(np.float32))[:, :, None]
        header = Header("table", len(data), data.shape[1])
        return denoise.signal(Signal(data, header), session, denoise.Options(threads=1))[:, :, 0].T


def scores(name: str, seed: int, steps: int) -> dict[str, float]:
    x = DATA[name]().data.astype(np.float64)
    rng = np.random.default_rng(seed)
    order, cut = rng.permutation(len(x)), round(TRAINED * len(x))
    training, true = x[order[:cut]], x[order[cut:]]
    gone = rng.random(true.shape) < MISSING
    holes = np.where(gone, np.nan, true)
    mean, std = training.mean(0), training.std(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        iterative = IterativeImputer(max_iter=20, random_state=seed).fit((training - mean) / std)
        filled = iterative.transform((holes - mean) / std) * std + mean
    answers = {
        "column means": np.broadcast_to(mean, true.shape),
        "IterativeImputer": filled,
        "autoencoder": autoencoder(training, holes, steps, seed),
    }
    return {who: float(np.sqrt(np.mean((((y - true) / std)[gone]) ** 2))) for who, y in answers.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    print(
        "| | " + " | ".join(("column means", "IterativeImputer", "autoencoder")) + " |\n|---|---|---|---|",
        flush=True,
    )
    for name in DATA:
        found = [scores(name, seed, options.steps) for seed in range(options.seeds)]
        cells = []
        for who in found[0]:
            values = [one[who] for one in found]
            cells.append(f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print(
        f"\n{options.steps} steps, {options.seeds} seeds; {time.process_time() - began:.0f} s of one core",
        flush=True,
    )


if __name__ == "__main__":
    main()
