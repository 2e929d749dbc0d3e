"""What every corruption is: a frozen value that prints itself as its spec and hits one file, block after block.

hit = corruption.stream(source.header, rng, level)     # one file: ranges are drawn, state begins
for block in source.blocks():
    noisy = hit(block)                                 # the state moves on in `hit`, never in the value
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from denoise_cli.corrupt.draws import Array, Draws, Span, draws_for
from denoise_cli.errors import InputError, UsageError
from denoise_cli.signal import Header, Kind

Amount = Any  # a number, "LOW-HIGH" or a Span; always a Span, or None, once the corruption is made
Process = Callable[[np.ndarray], np.ndarray]  # a block to a block, (C, n, W) float32 both

DECIBELS = 200  # above or below the signal: more than float32 holds beside it
IN_TABLES = (10, "standard deviations of a column; try 0.5")  # what a table's noise may have, and that in words
WORDS: dict[Kind, tuple[str, str]] = {
    "image": ("a picture", "pictures"),
    "audio": ("a recording", "recordings"),
    "table": ("a table", "tables"),
    "series": ("a series", "series"),
}


@dataclass(frozen=True)
class Corruption:
    """Base of all: holds spans, prints itself as its spec, and hits a sample with probability `p`.

    Call it as ``corruption(x, rng)`` with x float32 (C, H, W) or (B, C, H, W) in [0, 1] and rng a
    numpy Generator (numpy) or a torch Generator or None (torch); returns a new array of x's shape.
    What comes in blocks, and all sound, goes through ``stream``.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[Kind, ...]] = ("image", "audio")  # what it makes sense for
    scaled: ClassVar[tuple[str, ...]] = ()  # amounts that are in 8-bit steps for pictures, full scale = 1 for sound
    logarithmic: ClassVar[tuple[str, ...]] = ()  # amounts whose range is drawn from uniformly in its logarithm
    # Options in dB against the level of the clean recording, and the option that each is given instead of.
    instead: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        for key in self.amounts():
            value = getattr(self, key)
            object.__setattr__(self, key, None if value is None else self.parsed(key, value))
        for key in self.logarithmic:
            span = getattr(self, key)
            if span is not None and span.low <= 0 < span.high:
                raise UsageError(f"{self.name}: {key} is drawn by its logarithm: begin {span} above 0")
        self._check("p", 0, 1)
        for key in self.instead:
            if getattr(self, key) is not None:
                self._check(key, -DECIBELS, DECIBELS)

    @classmethod
    def amounts(cls) -> list[str]:
        """The fields that are numbers or ranges: what a spec may set."""
        return [field.name for field in fields(cls)]

    @classmethod
    def parsed(cls, key: str, value: float | str | Span) -> Span:
        """What an amount says: ``25``, ``0-55``, or, of pictures, ``0.5fs``: a share of full scale, 255 steps."""
        if not (isinstance(value, str) and value.strip().endswith("fs")):
            return Span.of(value)
        if key not in cls.scaled:
            raise UsageError(f'{cls.name}: {key} is no strength in 8-bit steps, so "{value}" means nothing')
        span = Span.parse(value.strip().removesuffix("fs"))
        return Span(255 * span.low, 255 * span.high, share=True)

    def _check(self, field: str, low: float, high: float = float("inf")) -> None:
        span: Span = getattr(self, field)
        if not (low <= span.low and span.high <= high):
            bound = f"at least {low:g}" if high == float("inf") else f"in {low:g}..{high:g}"
            raise UsageError(f"{self.name}: {field} must be {bound}, not {span}")

    def __str__(self) -> str:
        defaults: dict[str, Any] = {field.name: field.default for field in fields(self)}
        given = []
        for key in self.amounts():
            value = getattr(self, key)
            if value is not None and (defaults[key] is None or value != Span.of(defaults[key])):
                given.append(f"{key}={value}")
        return self.name + (":" + ",".join(given) if given else "")

    def drawn(self, rng: np.random.Generator) -> Corruption:
        """The same corruption with every range replaced by one draw: what one file gets, block after block."""
        values = {}
        for key in self.amounts():
            span = getattr(self, key)
            if span is None:
                continue
            # A range takes one random number, a fixed value none.
            fixed = span.low == span.high
            values[key] = span if fixed else Span.of(span.at(rng.random(), key in self.logarithmic))
        if 0 < values["p"].low < 1:  # a file is hit whole or not at all
            values["p"] = Span.of(float(rng.random() < values["p"].low))
        return replace(self, **values)

    @property
    def asks_level(self) -> bool:
        """Whether the strength hangs on the level of the clean signal, which a first pass must measure."""
        return any(getattr(self, key) is not None for key in self.instead)

    def check(self, header: Header) -> None:
        """Raise InputError, saying why, where this makes no sense for such a file."""
        if header.kind not in self.kinds:
            fit = " and ".join(WORDS[kind][1] for kind in self.kinds)
            raise InputError(f"{self.name} is for {fit}, and this is {WORDS[header.kind][0]}")
        shares = [key for key in self.scaled if getattr(self, key) is not None and getattr(self, key).share]
        if shares and header.kind != "image":
            unit = "full scale is 1" if header.kind == "audio" else "strengths are in standard deviations"
            raise InputError(
                f"{self.name}: {shares[0]} in fs is for pictures, and this is {WORDS[header.kind][0]}: {unit}"
            )
        if header.kind != "audio" and self.asks_level:
            raise InputError(f"{self._no_level()}, and this is {WORDS[header.kind][0]}")
        if header.kind == "image":
            return
        most, what = (1, "the full scale of recordings; try 0.05") if header.kind == "audio" else IN_TABLES
        overruled = self.instead.values() if self.asks_level else ()
        for key in self.scaled:
            span: Span = getattr(self, key)
            if key not in overruled and max(-span.low, span.high) > most:
                raise InputError(f"{self.name}: {key} {span} is beyond {most}, {what}")

    def _no_level(self) -> str:
        names = " and ".join(self.instead)
        return f"{self.name}: {names} is for recordings, {' and '.join(self.instead.values())} for pictures"

    def stream(self, header: Header, rng: np.random.Generator, level: float | None = None) -> Process:
        """Begin one file: draw the ranges, and return what turns each of its blocks into a noisy one.

        Parameters
        ----------
        header
            Of the file; for sound its ``rate`` and ``channels`` count.
        rng
            For pictures shared by all parts of a chain; for sound this part's own. The noise of sound is the
            same to the bit however the stream is cut into blocks.
        level
            Active level of the clean signal (see level.py), needed where ``asks_level``.

        Raises
        ------
        InputError
            This makes no sense for such a file, or the file is silent and an SNR was asked for.
        """
        self.check(header)
        part = self.drawn(rng)
        if header.kind in ("table", "series"):
            return lambda block: part.on_table(block, rng)
        if header.kind != "audio":
            return lambda block: part(block, rng)
        if part.p.value == 0:  # type: ignore[attr-defined]
            return lambda block: block
        return part.heard(header, rng, level)

    def heard(self, header: Header, rng: np.random.Generator, level: float | None) -> Process:
        """What ``stream`` returns for sound; here every span is one number and `p` is 1."""
        raise NotImplementedError

    def below(self, level: float | None, decibels: float) -> float:
        """What lies so many dB below the level of the clean signal; InputError where that is silent."""
        assert level is not None, f"{self}: asks_level, but none was given"
        if level == 0:
            raise InputError(f"{self.name}: the recording is silent, so that it has no level to set noise against")
        return level * 10 ** (-decibels / 20)

    def __call__(self, x: Array, rng: Any = None) -> Array:
        if self.asks_level:
            raise UsageError(self._no_level())
        draws = draws_for(x, np.random.default_rng() if rng is None and isinstance(x, np.ndarray) else rng)
        y = self.apply(x, draws)
        p: Span = self.p  # type: ignore[attr-defined]
        if p == Span(1.0, 1.0):
            return y
        return draws.where(draws.uniform(draws.lead) < draws.span(p), y, x)

    def on_table(self, z: Array, rng: Any = None) -> Array:
        """Hit a table or series, (C, T, 1) or (B, C, T, 1): C columns of T rows, each column of mean 0 and std 1.

        Strengths of additive noise are in standard deviations; NaN is a value that is missing, and stays missing.
        """
        draws = draws_for(z, rng)
        y = self.tabled(z, draws)
        p: Span = self.p  # type: ignore[attr-defined]
        if p != Span(1.0, 1.0):
            y = draws.where(draws.uniform(draws.lead) < draws.span(p), y, z)
        return draws.where(z == z, y, z)  # only NaN differs from itself

    def tabled(self, z: Array, draws: Draws) -> Array:
        """What `on_table` does to all that it hits."""
        raise InputError(f"{self.name} is not for tables; choose from gaussian, uniform, salt-pepper, masking")

    def apply(self, x: Array, draws: Draws) -> Array:
        fit = " and ".join(WORDS[kind][1] for kind in self.kinds)
        raise UsageError(f"{self.name} is for {fit}, block by block: use stream()")
