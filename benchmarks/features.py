"""Does a denoising autoencoder learn better features than a plain one? A linear classifier on what each encodes.

    python benchmarks/features.py DATA [--epochs 10] [--seeds 3] [--models DIR] [--train 10000]

DATA holds mnist.npz. The same net is trained with noise of one level (mnist-latent16), with a range of levels
(mnist-latent16-range) and without noise (mnist-latent16-plain); ``denoise encode`` turns digits into 16 numbers,
and scikit-learn's LogisticRegression learns the digit from them, from as many labelled pictures as --train says.
Printed is its accuracy on the 10,000 test pictures, clean ones and ones with the noise of the training, beside that
of the same classifier on raw pixels. In each column it learns from pictures of the kind that it is tested on.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from mnist import run, trained
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from denoise_cli.corrupt import parse

RECIPES = {
    "denoising, one level": "mnist-latent16",
    "denoising, a range": "mnist-latent16-range",
    "plain": "mnist-latent16-plain",
}
NOISES = {"clean": "", "N(0.5, 0.5)": "gaussian:std=0.5fs,mean=0.5fs+quantise"}


def accuracy(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(
        classifier.fit(train.reshape(len(train), -1), train_labels).score(test.reshape(len(test), -1), test_labels)
    )


def noised(x: np.ndarray, spec: str, seed: int) -> np.ndarray:
    """(N, H, W) uint8 with a noise, as files hold it."""
    if not spec:
        return x
    noisy = parse(spec)(x[:, None].astype(np.float32) / 255, np.random.default_rng(seed))
    return np.rint(noisy[:, 0] * 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", type=Path, default=Path("runs/mnist"))
    parser.add_argument("--train", type=int, default=10_000, help="labelled pictures")
    parser.add_argument("--threads", type=int)
    a = parser.parse_args()
    data, more = a.data / "mnist.npz", ["--threads", a.threads] if a.threads else []
    with np.load(data) as held:
        chosen = np.random.default_rng(0).permutation(len(held["x_train"]))[: a.train]
        train, train_labels = held["x_train"][chosen], held["y_train"][chosen]
        test, test_labels = held["x_test"], held["y_test"]

    print(f"{a.train} labelled pictures, {a.epochs:g} epochs a training, {a.seeds} seeds; accuracy in %\n")
    print("| features | " + " | ".join(NOISES) + " |\n|---|" + "---|" * len(NOISES))
    pairs = [(noised(train, spec, 1), noised(test, spec, 2)) for spec in NOISES.values()]
    cells = [f"{100 * accuracy(x, train_labels, y, test_labels):.2f}" for x, y in pairs]
    print("| raw pixels, 784 | " + " | ".join(cells) + " |", flush=True)
    for name, recipe in RECIPES.items():
        scores = []
        for seed in range(a.seeds):
            model = trained(data, a.models, recipe, seed, a.epochs, *more)
            with tempfile.TemporaryDirectory() as folder:
                files = []
                for index, x in enumerate(one for pair in pairs for one in pair):
                    pixels, latents = Path(folder) / f"x{index}.npy", Path(folder) / f"z{index}.npy"
                    np.save(pixels, x)
                    run("encode", pixels, "-o", latents, "-m", model, "-q")
                    files.append(np.load(latents))
            scores.append(
                [accuracy(files[k], train_labels, files[k + 1], test_labels) for k in range(0, len(files), 2)]
            )
        mean, spread = 100 * np.mean(scores, axis=0), 100 * np.std(scores, axis=0, ddof=min(1, a.seeds - 1))
        cells = [f"{m:.2f} +- {s:.2f}" for m, s in zip(mean, spread, strict=True)]
        print(f"| {name}, 16 | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
