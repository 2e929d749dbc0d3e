"""Corruptions: frozen values that are called on arrays, and their spec strings.

    noise = parse("gaussian:std=0-55")        # a range is drawn anew for each file or batch sample
    noisy = noise(clean, np.random.default_rng(0))
    str(noise) == "gaussian:std=0-55"

``+`` joins corruptions that follow each other, and ``|``, which binds closer, those of which one is drawn for each
file or sample: ``gaussian:std=0-55|camera+quantise:p=0.7`` is white or camera noise, then perhaps rounding.
Parentheses keep a chain together: ``gaussian|(camera+jpeg)`` is white noise, or that of a camera and then JPEG.

The same object works on numpy arrays and, for training, on torch tensors on any device (this file imports
no torch: a tensor brings its own). Arrays are (C, H, W), or (B, C, H, W) for a batch, in [0, 1]; strengths
of additive noise are in 8-bit steps, 0-255, and 0.5fs is half of full scale, 127.5 of them. Nothing is clipped
unless a corruption says so: a file's own depth clips when it is written, and `quantise` does it inside a chain.

Files of any kind go through ``noise.stream(header, rng)``. Recordings are in [-1, 1], and strengths in the same
unit: full scale is 1. Most names mean the same for both; sounds.py has those that only sound knows.

base.py   what a corruption is        draws.py  random numbers for numpy and for torch
pictures.py  sounds.py  the kinds     tapes.py  noise as an endless tape      level.py  how loud a recording is
camera.py  noise as of a camera       mosaic.py  the filters of its sensor
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from denoise_cli import brackets
from denoise_cli.corrupt.base import Amount, Corruption, Process
from denoise_cli.corrupt.camera import Camera
from denoise_cli.corrupt.draws import Array, Draws, Span
from denoise_cli.corrupt.pictures import (
    PICTURES,
    Gaussian,
    Jpeg,
    Masking,
    Poisson,
    Quantise,
    SaltPepper,
    Speckle,
    Uniform,
)  # fmt: skip
from denoise_cli.corrupt.sounds import SOUNDS
from denoise_cli.errors import UsageError, choice
from denoise_cli.signal import Header

__all__ = [
    "CORRUPTIONS", "Amount", "Camera", "Chain", "Corruption", "Gaussian", "Jpeg", "Masking", "OneOf", "Poisson",
    "Process", "Quantise", "SaltPepper", "Span", "Speckle", "Uniform", "parse",
]  # fmt: skip


class _Several:
    """What holds for several corruptions, be one of them drawn or all of them applied."""

    parts: tuple[Corruption | Chain, ...]

    def each(self) -> Iterator[Corruption]:
        """Every single corruption that may happen."""
        for part in self.parts:
            if isinstance(part, _Several):
                yield from part.each()
            else:
                yield part

    @property
    def asks_level(self) -> bool:
        return any(part.asks_level for part in self.parts)

    def _no_level(self) -> str:
        return next(part._no_level() for part in self.parts if part.asks_level)

    def check(self, header: Header) -> None:
        """Raise InputError, saying why, where a part makes no sense for such a file."""
        for part in self.parts:
            part.check(header)


@dataclass(frozen=True)
class OneOf(_Several, Corruption):
    """One of several corruptions, all equally likely, drawn for each file or sample."""

    name = "one-of"  # which no spec holds: it joins its parts' with a bar
    parts: tuple[Corruption | Chain, ...] = ()
    p: ClassVar[Span] = Span(1, 1)

    @classmethod
    def amounts(cls) -> list[str]:
        return []

    def __str__(self) -> str:
        return "|".join(f"({part})" if isinstance(part, Chain) else str(part) for part in self.parts)

    def drawn(self, rng: np.random.Generator) -> Corruption | Chain:  # type: ignore[override]
        return self.parts[int(rng.integers(len(self.parts)))].drawn(rng)

    def stream(self, header: Header, rng: np.random.Generator, level: float | None = None) -> Process:
        self.check(header)
        return self.drawn(rng).stream(header, rng, level)

    def tabled(self, z: Array, draws: Draws) -> Array:
        return self._shared(z, draws, lambda part, some: part.on_table(some, draws.rng))

    def apply(self, x: Array, draws: Draws) -> Array:
        return self._shared(x, draws, lambda part, some: part(some, draws.rng))

    def _shared(self, x: Array, draws: Draws, hit: Callable[[Corruption | Chain, Array], Array]) -> Array:
        """Each sample of a batch goes to the part that is drawn for it, and no part sees the others' samples."""
        turns: Any = draws.uniform(draws.lead[:1]).tolist()
        if not draws.lead:
            return hit(self.parts[int(len(self.parts) * turns)], x)
        rows: dict[Corruption | Chain, list[int]] = {}
        for row, turn in enumerate(turns):
            rows.setdefault(self.parts[int(len(self.parts) * turn)], []).append(row)
        y = x + 0
        for part, its in rows.items():
            y[its] = hit(part, x[its])
        return y


@dataclass(frozen=True)
class Chain(_Several):
    """Corruptions one after the other; its spec joins theirs with a plus sign."""

    parts: tuple[Corruption | Chain, ...] = ()

    def __str__(self) -> str:
        return "+".join(map(str, self.parts))

    def drawn(self, rng: np.random.Generator) -> Chain:
        return Chain(tuple(part.drawn(rng) for part in self.parts))

    def stream(self, header: Header, rng: np.random.Generator, level: float | None = None) -> Process:
        """Begin one file: ranges are drawn, and what comes back turns its blocks into noisy ones.

        As ``Corruption.stream``. `level` is that of the clean file, for every part of the chain.
        """
        self.check(header)
        drawn = self.drawn(rng)
        # A picture's parts take turns with one generator; a recording's have one each, for the numbers that
        # a part gets must not depend on how often the others had their turn.
        sound = header.kind == "audio"
        generators = rng.spawn(len(self.parts)) if sound else [rng] * len(self.parts)
        steps = [part.stream(header, one, level) for part, one in zip(drawn.parts, generators, strict=True)]

        def process(block: np.ndarray) -> np.ndarray:
            for step in steps:
                block = step(block)
            return block

        return process

    def __call__(self, x: Array, rng: Any = None) -> Array:
        for part in self.parts:
            x = part(x, rng)
        return x

    def on_table(self, z: Array, rng: Any = None) -> Array:
        """As ``Corruption.on_table``, one part after the other."""
        for part in self.parts:
            z = part.on_table(z, rng)
        return z


CORRUPTIONS: dict[str, type[Corruption]] = {c.name: c for c in (*PICTURES, *SOUNDS)}


def parse(spec: str | Iterable[str]) -> Chain:
    """Read ``name:key=value,key=low-high``, several joined by ``|`` and ``+`` with ``()``, or given one by one.

    Raises UsageError, with the choices, for an unknown name or key and for a value out of range.
    """
    specs = [spec] if isinstance(spec, str) else spec
    return Chain(tuple(_parse_part(part) for one in specs for part in _split(one, "+")))


def _split(spec: str, at: str) -> list[str]:
    try:
        return brackets.split(spec, at)
    except ValueError:
        raise UsageError(f'noise "{spec[:80]}": parentheses come in pairs, and not within each other') from None


def _parse_part(spec: str) -> Corruption | Chain:
    parts = tuple(map(_parse_whole, _split(spec, "|")))
    return parts[0] if len(parts) == 1 else OneOf(parts)


def _parse_whole(spec: str) -> Corruption | Chain:
    text = spec.strip()
    if not (text.startswith("(") and text.endswith(")")):
        return _parse_one(spec)
    chain = parse(text[1:-1])
    return chain.parts[0] if len(chain.parts) == 1 else chain


def _parse_one(spec: str) -> Corruption:
    name, _, options = spec.strip().partition(":")
    if name not in CORRUPTIONS:
        raise UsageError(choice("noise", name, CORRUPTIONS))
    kind = CORRUPTIONS[name]
    known = kind.amounts()
    values: dict[str, Span] = {}
    for option in filter(None, options.split(",")):
        key, equals, value = option.partition("=")
        key = key.strip()
        if key not in known:
            raise UsageError(choice(f"option of {name}", key, known))
        if not equals:
            raise UsageError(f'{name}: "{option}" lacks a value; write {key}=NUMBER or {key}=LOW-HIGH')
        if key in values:
            raise UsageError(f"{name}: {key} is given twice")
        values[key] = kind.parsed(key, value)
    for level, other in kind.instead.items():
        if level in values and other in values:
            raise UsageError(f"{name}: give {other} or {level}, not both")
    return kind(**values)  # type: ignore[arg-type]
