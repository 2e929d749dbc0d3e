"""Random numbers for corruptions: what strengths are drawn from, and one face for numpy's and torch's generators.

This file imports no torch: a tensor brings its own.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from denoise_cli.errors import UsageError

Array = Any  # numpy.ndarray or torch.Tensor, float32


LARGEST = 1e9  # of what a noise can be told, in any unit: beyond it float32 has nothing left of a file


@dataclass(frozen=True)
class Span:
    """A number, or a range that is drawn from: ``25`` or ``0-55``."""

    low: float
    high: float
    share: bool = field(default=False, compare=False)  # was given as a share of full scale: 0.5fs

    def __str__(self) -> str:
        return _exact(self.low) if self.low == self.high else f"{_exact(self.low)}-{_exact(self.high)}"

    @property
    def value(self) -> float:
        """The number, of a span that is one: of every span once a file's strengths are drawn."""
        assert self.low == self.high, f"{self} is a range"
        return self.low

    def at(self, share: Any, logarithmic: bool = False) -> Any:
        """Return what lies a share in [0, 1] of the way up the range, or up its logarithm."""
        return (
            self.low * (self.high / self.low) ** share if logarithmic else self.low + (self.high - self.low) * share
        )

    _PATTERN: ClassVar[re.Pattern] = re.compile(
        r"(?P<low>[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)(?:-(?P<high>[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?))?",
        re.I,
    )

    @classmethod
    def parse(cls, text: str) -> Span:
        match = cls._PATTERN.fullmatch(text.strip())
        if match is None:
            raise UsageError(f'"{text}" is neither a number nor a range such as 0-55')
        low = float(match["low"])
        high = low if match["high"] is None else float(match["high"])
        if not (np.isfinite(low) and np.isfinite(high)):
            raise UsageError(f'"{text}" is not finite')
        if max(abs(low), abs(high)) > LARGEST:
            raise UsageError(f'"{text}" is beyond {LARGEST:g}')
        if low > high:
            raise UsageError(f'range "{text}" runs backwards')
        return cls(low, high)

    @classmethod
    def of(cls, value: float | str | Span) -> Span:
        if isinstance(value, Span):
            return value
        return cls.parse(value) if isinstance(value, str) else cls(float(value), float(value))


def _exact(value: float) -> str:
    """The shortest text that reads as this number, and holds no plus sign, which joins specs."""
    short = f"{value:g}"
    return (short if float(short) == value else repr(float(value))).replace("e+", "e")


class Draws:
    """Random numbers in the shape and library of one array: numpy here, torch below."""

    def __init__(self, x: Array, rng: Any):
        self.rng = rng
        self.shape = tuple(x.shape)
        # One strength a sample: (B, 1, 1, 1) for a batch, () for a single array.
        self.lead = (self.shape[0], 1, 1, 1) if len(self.shape) == 4 else ()

    def normal(self, shape: tuple[int, ...]) -> Array:
        return self.rng.standard_normal(shape, dtype=np.float32)

    def uniform(self, shape: tuple[int, ...]) -> Array:
        return self.rng.random(shape, dtype=np.float32)

    def poisson(self, rate: Array) -> Array:
        return np.asarray(self.rng.poisson(rate), dtype=np.float32)

    def where(self, condition: Array, a: Array, b: Array) -> Array:
        return np.asarray(np.where(condition, a, b), dtype=np.float32)

    def joined(self, channels: Sequence[Array]) -> Array:
        """Arrays of the same pixels, one after the other along the axis of channels."""
        return np.concatenate(channels, axis=-3)

    def ramp(self, n: int) -> Array:
        """0, 1, ... n - 1."""
        return np.arange(n, dtype=np.float32)

    def span(self, span: Span, logarithmic: bool = False) -> Array:
        """A scalar where the span is one number, else one draw a sample."""
        return span.low if span.low == span.high else span.at(self.uniform(self.lead), logarithmic)


class TorchDraws(Draws):
    def __init__(self, x: Array, rng: Any):
        super().__init__(x, rng)
        self.x = x
        self.torch = sys.modules["torch"]  # x is one of its tensors, so it is loaded

    def normal(self, shape):
        return self.x.new_empty(shape).normal_(generator=self.rng)

    def uniform(self, shape):
        return self.x.new_empty(shape).uniform_(generator=self.rng)

    def poisson(self, rate):
        return self.torch.poisson(rate, generator=self.rng)

    def where(self, condition, a, b):
        return self.torch.where(condition, a, b)

    def joined(self, channels):
        return self.torch.cat(list(channels), dim=-3)

    def ramp(self, n):
        return self.torch.arange(n, dtype=self.x.dtype, device=self.x.device)


def draws_for(x: Array, rng: Any) -> Draws:
    return Draws(x, rng) if isinstance(x, np.ndarray) else TorchDraws(x, rng)
