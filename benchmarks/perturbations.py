"""What noise on weights, noise on parameters and adversarial inputs do to a denoiser that is trained with them.

    python benchmarks/perturbations.py DATA [--minutes 1 | --steps 1000] [--seeds 3] [--arch conv-dae] [--only TEXT]

Small gray nets learn from DATA/images/train/bsds400 with Gaussian noise, each variant with each seed (18 runs by
default) and the same pictures and noise in the same order. Printed: PSNR on the middles of Set12, as mean and
standard deviation over the seeds, then the difference from the plain training with the same seed. Disturbed is:

    clean           nothing: what the net takes away from a picture without noise
    noise           Gaussian noise of --std; and of twice that, which the net never saw
    fgsm            the clean picture moved by --fgsm 8-bit steps against the net
    fgsm, noise     and then noise, as in training
    noise, fgsm     noise, and the noisy picture moved against the net: what an attacker would do
    noise, weights  noise, and Gaussian noise of --weights of each tensor's rms on the weights, mean of ten draws

FGSM takes two passes a step: with --minutes it has fewer steps, with --steps more time.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from denoise_cli import corrupt, nets
from denoise_cli.metrics import psnr
from denoise_cli.train import data, loop, perturb
from denoise_cli.train.pictures import Pictures

NETS = {"unet": {"widths": (16, 32), "blocks": (1, 1)}, "dncnn": {"width": 16, "depth": 6}, "conv-dae": {}}
CPU = torch.device("cpu")
DRAWS = 10  # of noise on the weights


def variants(a: argparse.Namespace) -> dict[str, dict[str, float]]:
    weights, parameters, attack = {"weight_noise": a.weight_noise}, {"param_noise": a.param_noise}, {"fgsm": a.fgsm}
    return {
        "plain": {},
        f"weight noise {a.weight_noise:g}": weights,
        f"param noise {a.param_noise:g}": parameters,
        f"fgsm {a.fgsm:g}": attack,
        "weight noise and fgsm": weights | attack,
        "all three": weights | parameters | attack,
    }


def trained(options: loop.Options, pool: Sequence[np.ndarray]) -> tuple[nn.Module, int]:
    """The averaged net and how many steps it had; as ``denoise train`` does it, without files."""
    torch.manual_seed(options.seed)
    state = loop.start(nets.build(options.arch, options.net), options, CPU)
    noise = corrupt.parse(options.noise)
    loop.train(state, options, data.Patches(pool, noise, options.patch, options.batch_size, options.seed))
    return loop.averaged(state), state.step


def scores(net: nn.Module, clean: Tensor, a: argparse.Namespace) -> dict[str, float]:
    """PSNR of each column, of (N, 1, H, W) pictures; noise and draws are the same for every net."""
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)) * (a.std / 255)
    noisy, eps = clean + noise, a.fgsm / 255

    def quality(x: Tensor, share: float = 0.0, seed: int = 0) -> float:
        with torch.no_grad():
            y = perturb.forward(net, x, share, torch.Generator().manual_seed(seed)).clip(0, 1).numpy()
        return float(np.mean([psnr(one, target) for one, target in zip(y, clean.numpy(), strict=True)]))

    worse = perturb.fgsm(net, mse_loss, clean, eps).clip(0, 1)
    # The loss of an attack on a noisy picture is against the clean one, as that on a clean one is.
    against_clean = perturb.fgsm(net, lambda y, given: mse_loss(y, clean), noisy, eps)
    return {
        "clean": quality(clean),
        f"noise {a.std:g}": quality(noisy),
        f"noise {2 * a.std:g}": quality(clean + 2 * noise),
        "fgsm": quality(worse),
        "fgsm, noise": quality(worse + noise),
        "noise, fgsm": quality(against_clean),
        "noise, weights": float(np.mean([quality(noisy, a.weights, seed) for seed in range(DRAWS)])),
    }


def line(name: str, table: np.ndarray, sign: str = "") -> None:
    """`table` is (seeds, columns)."""
    spread = table.std(0, ddof=1) if len(table) > 1 else np.full(table.shape[1], np.nan)
    cells = [f"{mean:{sign}.2f} +-{std:5.2f}" for mean, std in zip(table.mean(0), spread, strict=True)]
    print(f"{name:24}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=1.0, help="of each run")
    parser.add_argument("--steps", type=int, help="of each run, instead of --minutes")
    parser.add_argument("--arch", choices=NETS, default="unet")
    parser.add_argument("--std", type=float, default=25.0, help="of the noise, 8-bit steps")
    parser.add_argument("--weight-noise", type=float, default=0.05)
    parser.add_argument("--param-noise", type=float, default=0.01)
    parser.add_argument("--fgsm", type=float, default=8.0, help="in training and in the test, 8-bit steps")
    parser.add_argument("--weights", type=float, default=0.1, help="noise on the weights in the test")
    parser.add_argument("--only", default="", help="variants whose name holds this, and the plain one")
    parser.add_argument("--threads", type=int, help="of torch")
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)

    config = nets.config_of(nets.build(a.arch, {**NETS[a.arch], "channels": 1}))
    base = loop.Options(
        arch=a.arch, net=config, noise=f"gaussian:std={a.std:g}", loss=nets.NETS[a.arch].default_loss,
        steps=a.steps, max_time=None if a.steps else 60 * a.minutes,
    )  # fmt: skip
    task = Pictures(a.data / "images/train/bsds400", base, val=a.data / "images/test/set12", channels=1)
    task.load(nets.build(a.arch, config), CPU, print)
    pool, clean = task.stream.pictures, torch.from_numpy(np.stack([e.clean for e in task.examples]))

    length = f"{a.steps} steps" if a.steps else f"{a.minutes:g} minutes"
    print(f"{a.arch}, {length} a run, {a.seeds} seeds; PSNR on Set12, dB, mean +- standard deviation\n")
    tables: dict[str, np.ndarray] = {}
    for name, changed in variants(a).items():
        if changed and a.only not in name:
            continue
        rows, steps = [], []
        for seed in range(a.seeds):
            net, count = trained(replace(base, seed=seed, **changed), pool)
            rows.append(scores(net, clean, a))
            steps.append(count)
        if not tables:
            print(f"{'trained with':24}" + "".join(f"{column:>16}" for column in rows[0]))
        tables[name] = np.array([list(row.values()) for row in rows])
        line(f"{name} ({np.mean(steps):.0f})" if not a.steps else name, tables[name])
    print("\nthe same, less the plain training with the same seed")
    for name, table in list(tables.items())[1:]:
        line(name, table - tables["plain"], "+")


if __name__ == "__main__":
    main()
