"""Layers of a network as Gaussian noise meets them, and their spec: ``conv(9*0.11,bias=0.1),relu,maxpool(4)``.

A layer knows how many independent inputs one of its outputs is made of (`width`), what it makes of a law, and
of samples. `propagate` goes through them in order and says of each step whether it is exact:

- a convolution of a Gaussian is Gaussian (moments.combination);
- activations and max-pooling compose exactly, in any order (density.py), on whatever law comes in;
- a convolution of several weights of anything else has exact moments (moments.weighted_sum), but no law in closed
  form: the Gaussian of the same mean and variance stands in for it, and everything from there on is approximate.

Inputs of a layer are taken for independent and alike, as the paper takes them. In a network neighbours share
inputs: how far that is from the truth, network.py and measure.py measure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from denoise_cli import brackets
from denoise_cli.errors import UsageError, choice
from denoise_cli.noise.activations import Activation, Affine, LeakyReLU, ReLU, Sigmoid, Tanh
from denoise_cli.noise.density import Law
from denoise_cli.noise.moments import Moments, weighted_sum

MAX_WIDTH = 1 << 16  # inputs of one output
HEAVIEST = 1e30  # weight, and one over the lightest: the fourth power of either is a number
MOST = 64  # layers


@dataclass(frozen=True)
class Conv:
    """One output of a convolution: Σ wᵢXᵢ + bias."""

    weights: tuple[float, ...]
    bias: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.weights) <= MAX_WIDTH:
            raise UsageError(f"conv: 1 to {MAX_WIDTH} weights, not {len(self.weights)}")
        if not np.abs([*self.weights, self.bias]).max() <= HEAVIEST:  # nor NaN
            raise UsageError(f"conv: weights and bias must be in {-HEAVIEST:g}..{HEAVIEST:g}")
        if np.abs(self.weights).max() < 1 / HEAVIEST:
            raise UsageError(
                f"conv: where all weights are 0, or below {1 / HEAVIEST:g}, nothing is left to look at"
            )

    @property
    def width(self) -> int:
        return len(self.weights)

    def __str__(self) -> str:
        parts: list[str] = []
        start = 0
        for i in range(1, len(self.weights) + 1):
            if i == len(self.weights) or self.weights[i] != self.weights[start]:
                count = i - start
                parts.append(f"{count}*{self.weights[start]!r}" if count > 1 else repr(self.weights[start]))
                start = i
        return f"conv({','.join([*parts, *([f'bias={self.bias!r}'] if self.bias else [])])})"


@dataclass(frozen=True)
class MaxPool:
    """The largest of n independent inputs."""

    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.n <= MAX_WIDTH:
            raise UsageError(f"maxpool: over 1 to {MAX_WIDTH} inputs, not {self.n}")

    @property
    def width(self) -> int:
        return self.n

    def __str__(self) -> str:
        return f"maxpool({self.n})"


Layer = Conv | MaxPool | Activation


@dataclass(frozen=True)
class Step:
    """The noise after one layer; of the input, `layer` is None."""

    layer: Layer | None
    law: Law
    moments: Moments
    exact: bool

    @property
    def name(self) -> str:
        return "input" if self.layer is None else str(self.layer)


def propagate(layers: Sequence[Layer], mu: float = 0.0, sigma: float = 1.0) -> list[Step]:
    """The input N(mu, sigma²), and the noise after each layer."""
    law = Law(mu, sigma)
    steps = [Step(None, law, law.moments, True)]
    for layer in layers:
        before = steps[-1]
        if isinstance(layer, Conv):
            law, moments, exact = _convolved(layer, before)
        else:
            law = before.law.largest_of(layer.n) if isinstance(layer, MaxPool) else before.law.through(layer)
            moments, exact = law.moments, True
        steps.append(Step(layer, law, moments, exact and before.exact))
    return steps


def _convolved(layer: Conv, before: Step) -> tuple[Law, Moments, bool]:
    if not before.law.normal and layer.width == 1 and layer.weights[0] > 0:
        law = before.law.through(Affine(layer.weights[0], layer.bias))
        return law, law.moments, True
    moments = weighted_sum(layer.weights, before.moments, layer.bias)
    if moments.std == 0:
        raise UsageError(f"{before.name} has left no noise for {layer}")
    return Law(moments.mean, moments.std), moments, before.law.normal


# --- Specs ------------------------------------------------------------------------------------------------

_ALONE: dict[str, type[Activation]] = {"relu": ReLU, "tanh": Tanh, "sigmoid": Sigmoid}
FORMS: dict[str, str] = {
    "conv": "conv(0.2,0.5,0.3,bias=0.1), conv(9*0.11)", "relu": "relu", "leaky-relu": "leaky-relu(0.1)",
    "tanh": "tanh", "sigmoid": "sigmoid", "maxpool": "maxpool(4), maxpool(2x2)",
}  # fmt: skip


def parse(spec: str) -> list[Layer]:
    """``conv(9*0.11),relu,maxpool(4)`` -> layers; raises UsageError that names what is wrong, and the choices."""
    try:
        parts = brackets.split(spec, ",")
    except ValueError:
        raise UsageError(f'layers "{spec}": the brackets do not match') from None
    if len(parts) > MOST:
        raise UsageError(f"{len(parts)} layers; the limit is {MOST}, and beyond the first few little changes")
    return [_layer(text.strip()) for text in parts]


def spell(layers: Sequence[Layer]) -> str:
    """The inverse of `parse`."""
    return ",".join(map(str, layers))


def _layer(text: str) -> Layer:
    match = re.fullmatch(r"([A-Za-z_-]*)(?:\((.*)\))?", text)
    name = match[1].lower().replace("_", "-") if match else text.partition("(")[0]
    if match is None or name not in FORMS:
        raise UsageError(choice("layer", name, FORMS))
    inner = [part.strip() for part in match[2].split(",")] if match[2] else []
    if name in _ALONE and not inner:
        return _ALONE[name]()
    try:
        if name == "leaky-relu" and len(inner) <= 1:
            return LeakyReLU(*map(float, inner))
        if name == "maxpool" and len(inner) == 1:
            sides = [int(side) for side in inner[0].split("x")]
            if len(sides) <= 3:
                return MaxPool(int(np.prod(sides, dtype=object)))
        if name == "conv":
            return _conv(inner)
    except ValueError:
        pass
    raise UsageError(f'"{text}": write {FORMS[name]}')


def _conv(inner: Sequence[str]) -> Conv:
    weights: list[float] = []
    bias: float | None = None
    for part in inner:
        if part.startswith("bias="):
            if bias is not None:
                raise ValueError
            bias = float(part.removeprefix("bias="))
            continue
        count, star, value = part.rpartition("*")
        times = int(count) if star else 1
        if not 1 <= times <= MAX_WIDTH:
            raise ValueError
        weights += [float(value)] * times
        if len(weights) > MAX_WIDTH:
            break
    if not weights:
        raise ValueError
    return Conv(tuple(weights), bias or 0.0)
