"""How well a small classifier reads noisy digits, trained with noise and without.

    python benchmarks/augmentation.py MNIST.npz [--epochs 2] [--seeds 3] [--count 20000]

Two convolutions and a linear layer, Adam, batches of 64, the same seeds and steps for all; the only difference is
one corruption of denoise_cli.corrupt between the batch and the net. Accuracy in percent on the 10,000 test digits,
mean and standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise_cli import corrupt

TRAINED_WITH = ("", "gaussian:std=0-192+quantise", "salt-pepper:amount=0-0.5", "masking:amount=0-0.7")
SHOWN = ("", "gaussian:std=64+quantise", "gaussian:std=128+quantise", "gaussian:std=192+quantise",
         "salt-pepper:amount=0.3", "masking:amount=0.5")  # fmt: skip


def classifier() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 10),
    )  # fmt: skip


def corrupted(x: Tensor, spec: str, generator: torch.Generator) -> Tensor:
    return corrupt.parse(spec)(x, generator) if spec else x


def trained(x: Tensor, y: Tensor, spec: str, epochs: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net, generator = classifier(), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(epochs):
        for chosen in torch.randperm(len(x), generator=generator).split(64):
            loss = F.cross_entropy(net(corrupted(x[chosen], spec, generator)), y[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return net


@torch.no_grad()
def accuracy(net: nn.Module, x: Tensor, y: Tensor, spec: str) -> float:
    noisy = corrupted(x, spec, torch.Generator().manual_seed(0))
    return 100 * (net(noisy).argmax(1) == y).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mnist", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--count", type=int, default=20_000, help="digits to train on")
    arguments = parser.parse_args()
    with np.load(arguments.mnist) as file:
        arrays = {name: file[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    order = np.random.default_rng(0).permutation(len(arrays["x_train"]))[: arguments.count]  # the file is sorted
    x, test = (torch.from_numpy(a.astype(np.float32) / 255)[:, None] for a in (arrays["x_train"], arrays["x_test"]))
    y, truth = (torch.from_numpy(a.astype(np.int64)) for a in (arrays["y_train"], arrays["y_test"]))
    print("| trained with | " + " | ".join(f"`{spec}`" if spec else "clean" for spec in SHOWN) + " |")
    print("|---|" + "---|" * len(SHOWN))
    for spec in TRAINED_WITH:
        nets = [trained(x[order], y[order], spec, arguments.epochs, seed) for seed in range(arguments.seeds)]
        cells = []
        for shown in SHOWN:
            scores = [accuracy(net, test, truth, shown) for net in nets]
            cells.append(f"{statistics.mean(scores):.1f} ± {statistics.pstdev(scores):.1f}")
        print(f"| {f'`{spec}`' if spec else 'nothing'} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
