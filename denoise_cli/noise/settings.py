"""Random settings of every kind of layer, on which theory is held against draws: one law for tests and benchmarks.

``KINDS[name](rng)`` gives layers, mu and sigma. Means and spreads are such that every branch of a layer is met: on
both sides of a kink, within and far beyond the bends of tanh and sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from denoise_cli.noise.activations import LeakyReLU, ReLU, Sigmoid, Tanh
from denoise_cli.noise.layers import Conv, Layer, MaxPool

Setting = tuple[list[Layer], float, float]


def _around(rng: np.random.Generator, layers: list) -> Setting:
    return layers, float(rng.uniform(-2, 2)), float(10 ** rng.uniform(-0.7, 0.7))


def _conv(rng: np.random.Generator, most: int = 9) -> Conv:
    count = int(rng.integers(1, most + 1))
    return Conv(tuple(rng.normal(0, 1, count).tolist()), float(rng.normal()))


KINDS: dict[str, Callable[[np.random.Generator], Setting]] = {
    "conv": lambda rng: _around(rng, [_conv(rng)]),
    "relu": lambda rng: _around(rng, [ReLU()]),
    "leaky-relu": lambda rng: _around(rng, [LeakyReLU(float(10 ** rng.uniform(-2, 0)))]),
    "tanh": lambda rng: _around(rng, [Tanh()]),
    "sigmoid": lambda rng: _around(rng, [Sigmoid()]),
    "maxpool": lambda rng: _around(rng, [MaxPool(int(rng.integers(2, 17)))]),
    "conv, relu, maxpool": lambda rng: _around(rng, [_conv(rng, 4), ReLU(), MaxPool(int(rng.integers(2, 5)))]),
    "tanh, maxpool": lambda rng: _around(rng, [Tanh(), MaxPool(int(rng.integers(2, 10)))]),
    "sigmoid, conv of one weight, relu, maxpool": lambda rng: _around(
        rng, [Sigmoid(), Conv((float(rng.uniform(0.5, 3)),), float(rng.uniform(-1, 0))), ReLU(), MaxPool(3)]
    ),
}
