"""What a choice in training is worth: short runs of the same length, told apart by one thing each.

    python benchmarks/training.py DATA [--steps 1000] [--only TEXT]

DATA/images/train holds the photographs. Printed: PSNR on the held-out ones after that many steps (their noise is
the same for all), the units of the blocks that no pixel reaches any more, and the time. A short run tells what
trains fast, which is not always what ends best.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from denoise_cli import nets
from denoise_cli.train import loop
from denoise_cli.train.pictures import Pictures

BASE = loop.Options(batch_size=16, patch=64, gray=0.4, amp=True, seed=1, steps=1, ema=0.99)
VARIANTS = {
    "as shipped: muon, 7e-3": {},
    "muon, 2e-2": {"lr": 2e-2},
    "muon, 2e-3": {"lr": 2e-3},
    "adamw, 5e-4": {"optimiser": "adamw"},
    "adamw, 1e-3": {"optimiser": "adamw", "lr": 1e-3},
    "blocks 1 2 5": {"net": {"blocks": (1, 2, 5)}},
    "blocks 1 2 3": {"net": {"blocks": (1, 2, 3)}},
    "8 patches of 96": {"batch_size": 8, "patch": 96},
    "32 patches of 64": {"batch_size": 32},
    "mse": {"loss": "mse"},
    "l1": {"loss": "l1"},
}


def unreached(net: nn.Module, x: torch.Tensor) -> tuple[int, int]:
    """Units in front of a leaky ReLU that are above zero on less than a thousandth of the pixels; and all."""
    shares: list[torch.Tensor] = []

    def watch(layer: nn.Module, given: object, result: torch.Tensor) -> None:
        shares.append((result > 0).float().mean((0, 2, 3)))

    hooks = [m.register_forward_hook(watch) for name, m in net.named_modules() if name.endswith(".a")]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    every = torch.cat(shares)
    return int((every < 1e-3).sum()), len(every)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--only", default="", help="variants whose name holds this, and the first")
    arguments = parser.parse_args()
    print(f"{'variant':24}{'PSNR':>8}{'dead':>12}{'seconds':>9}   ({arguments.steps} steps)")
    device = torch.device("cpu")
    for name, changed in VARIANTS.items():
        if changed and arguments.only not in name:
            continue
        options = replace(BASE, steps=arguments.steps, **changed)  # type: ignore[arg-type]
        task = Pictures(arguments.data / "images/train", options)
        torch.manual_seed(options.seed)
        net = nets.build(options.arch, task.options.net)
        task.load(net, device, lambda line: None)
        state = loop.start(net, task.options, device)
        began = time.perf_counter()
        loop.train(state, task.options, task.stream)
        seconds = time.perf_counter() - began
        noisy = task.stream.pair(task.stream.batch(0), device, torch.Generator().manual_seed(0)).noisy
        dead, units = unreached(state.net, noisy)
        score = task.validate(loop.averaged(state))
        print(f"{name:24}{score:8.2f}{f'{dead} of {units}':>12}{seconds:9.0f}", flush=True)


if __name__ == "__main__":
    main()
