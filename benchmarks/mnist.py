"""The denoising autoencoder of 28 x 28 digits: one level of noise in training against a range of them.

    python benchmarks/mnist.py DATA [--epochs 10] [--seeds 3] [--models DIR] [--sheet docs/mnist.png]

DATA holds mnist.npz. The recipes mnist-latent16 (noise N(0.5, 0.5) of full scale) and mnist-latent16-range (std
drawn from 0 to 1) are trained with ``denoise train``, each with each seed, and scored on the 10,000 test pictures
with ``denoise eval``, at noise of mean 0.5 and three standard deviations. A model that lies in --models is not
trained again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from pathlib import Path

import numpy as np

from denoise_cli.cli import main as denoise

RECIPES = {"one level": "mnist-latent16", "a range": "mnist-latent16-range"}
LEVELS = ("0.5", "0.75", "1")  # of full scale


def run(*arguments: object) -> str:
    """Call the command line; returns what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        code = denoise([str(argument) for argument in arguments])
    if code:
        raise SystemExit(code)
    return text.getvalue()


def trained(data: Path, folder: Path, recipe: str, seed: int, epochs: float, *more: object) -> Path:
    """The model of a recipe and a seed, trained unless it is there."""
    model = folder / f"{recipe}.{seed}.onnx"
    if not model.exists():
        folder.mkdir(parents=True, exist_ok=True)
        run(
            "train",
            data,
            "-o",
            model,
            "--recipe",
            recipe,
            "--seed",
            seed,
            "--epochs",
            epochs,
            "--resume",
            "-q",
            *more,
        )
    return model


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", type=Path, default=Path("runs/mnist"))
    parser.add_argument("--sheet", type=Path, help="of the first seed of each: NAME.png, NAME-range.png")
    parser.add_argument("--threads", type=int)
    a = parser.parse_args()
    data, more = a.data / "mnist.npz", ["--threads", a.threads] if a.threads else []
    noise = ["--noise", "gaussian:mean=0.5fs", "--sweep", "std=" + ",".join(f"{level}fs" for level in LEVELS)]

    print(f"{a.epochs:g} epochs a training, {a.seeds} seeds; 10,000 test pictures; mean +- std of the seeds\n")
    print("| trained with | std in the test, of full scale | noisy PSNR | PSNR dB | MSE |\n|---|---|---|---|---|")
    for name, recipe in RECIPES.items():
        scores = []
        for seed in range(a.seeds):
            model = trained(data, a.models, recipe, seed, a.epochs, *more)
            sheet = []
            if a.sheet is not None and seed == 0:
                one = recipe == "mnist-latent16"
                sheet = ["--sheet", a.sheet if one else a.sheet.with_stem(f"{a.sheet.stem}-range")]
            rows = json.loads(run("eval", f"{data}:x_test", "-m", model, *noise, "--json", *sheet))["rows"]
            scores.append([[row["noisy_psnr"], row["psnr"], row["mse"]] for row in rows])
        mean, spread = np.mean(scores, axis=0), np.std(scores, axis=0, ddof=min(1, a.seeds - 1))
        for level, (noisy, psnr, mse), (_, psnr_std, mse_std) in zip(LEVELS, mean, spread, strict=True):
            spreads = (f" +- {psnr_std:.2f}", f" +- {mse_std:.5f}") if a.seeds > 1 else ("", "")
            print(
                f"| {name} | {level} | {noisy:.2f} | {psnr:.2f}{spreads[0]} | {mse:.5f}{spreads[1]} |", flush=True
            )


if __name__ == "__main__":
    main()
