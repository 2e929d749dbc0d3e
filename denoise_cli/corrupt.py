"""Corruptions: frozen values that are called on arrays, and their spec strings.

    noise = parse("gaussian:std=0-55")        # a range is drawn anew for each file or batch sample
    noisy = noise(clean, np.random.default_rng(0))
    str(noise) == "gaussian:std=0-55"

The same object works on numpy arrays and, for training, on torch tensors on any device (this file imports
no torch: a tensor brings its own). Arrays are (C, H, W), or (B, C, H, W) for a batch, in [0, 1]; strengths
of additive noise are in 8-bit steps, 0-255. Nothing is clipped unless a corruption says so: a file's own
depth clips when it is written, and `quantise` does it inside a chain.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from denoise_cli.draws import Array, Draws, Span, draws_for
from denoise_cli.errors import UsageError, choice

Amount = Any  # a number, "LOW-HIGH" or a Span; always a Span once the corruption is made


@dataclass(frozen=True)
class Corruption:
    """Base of all: holds spans, prints itself as its spec, and hits a sample with probability `p`.

    Call it as ``corruption(x, rng)`` with x float32 (C, H, W) or (B, C, H, W) in [0, 1] and rng a
    numpy Generator (numpy) or a torch Generator or None (torch); returns a new array of x's shape.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, Span.of(getattr(self, field.name)))
        self._check("p", 0, 1)

    def _check(self, field: str, low: float, high: float = float("inf")) -> None:
        span: Span = getattr(self, field)
        if not (low <= span.low and span.high <= high):
            bound = f"at least {low:g}" if high == float("inf") else f"in {low:g}..{high:g}"
            raise UsageError(f"{self.name}: {field} must be {bound}, not {span}")

    def __str__(self) -> str:
        given = [
            f"{f.name}={getattr(self, f.name)}"
            for f in fields(self)
            if getattr(self, f.name) != Span.of(f.default)  # type: ignore[arg-type]
        ]  # type: ignore[arg-type]
        return self.name + (":" + ",".join(given) if given else "")

    def drawn(self, rng: np.random.Generator) -> Corruption:
        """The same corruption with every range replaced by one draw: what one file gets, block after block."""
        values = {}
        for field in fields(self):
            span = getattr(self, field.name)
            # A range takes one random number, a fixed value none.
            values[field.name] = span if span.low == span.high else Span.of(float(rng.uniform(span.low, span.high)))
        if 0 < values["p"].low < 1:  # a file is hit whole or not at all
            values["p"] = Span.of(float(rng.random() < values["p"].low))
        return replace(self, **values)

    def __call__(self, x: Array, rng: Any = None) -> Array:
        draws = draws_for(x, np.random.default_rng() if rng is None and isinstance(x, np.ndarray) else rng)
        y = self.apply(x, draws)
        p: Span = self.p  # type: ignore[attr-defined]
        if p == Span(1.0, 1.0):
            return y
        return draws.where(draws.uniform(draws.lead) < draws.span(p), y, x)

    def apply(self, x: Array, draws: Draws) -> Array:
        raise NotImplementedError


@dataclass(frozen=True)
class Gaussian(Corruption):
    """x + N(mean, std^2), independent for every pixel and channel."""

    name = "gaussian"
    std: Amount = 25.0  # 8-bit steps
    mean: Amount = 0.0  # 8-bit steps
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("std", 0)

    def apply(self, x, draws):
        return x + (draws.normal(draws.shape) * (draws.span(self.std) / 255) + draws.span(self.mean) / 255)


@dataclass(frozen=True)
class Uniform(Corruption):
    """x + U(-width, width)."""

    name = "uniform"
    width: Amount = 25.0  # half the interval, in 8-bit steps
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("width", 0)

    def apply(self, x, draws):
        return x + (2 * draws.uniform(draws.shape) - 1) * (draws.span(self.width) / 255)


@dataclass(frozen=True)
class Speckle(Corruption):
    """x + x N(0, std^2): multiplicative noise."""

    name = "speckle"
    std: Amount = 0.2  # as a fraction of the signal
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("std", 0)

    def apply(self, x, draws):
        return x + x * draws.normal(draws.shape) * draws.span(self.std)


@dataclass(frozen=True)
class Poisson(Corruption):
    """Photon counts: Poisson(x peak) / peak. Negative samples count as dark."""

    name = "poisson"
    peak: Amount = 100.0  # photons at white; fewer is noisier
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("peak", 0.01)

    def apply(self, x, draws):
        peak = draws.span(self.peak)
        return draws.poisson(x.clip(0) * peak) / peak


@dataclass(frozen=True)
class SaltPepper(Corruption):
    """A fraction of the samples becomes white or black, each channel for itself."""

    name = "salt-pepper"
    amount: Amount = 0.1  # fraction of the samples that is hit
    salt: Amount = 0.5  # fraction of those that turns white
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("amount", 0, 1)
        self._check("salt", 0, 1)

    def apply(self, x, draws):
        u, amount = draws.uniform(draws.shape), draws.span(self.amount)
        # One uniform number decides both: u < amount is hit, and its lower part turns white.
        return draws.where(u < amount * draws.span(self.salt), x * 0 + 1, draws.where(u < amount, x * 0, x))


@dataclass(frozen=True)
class Masking(Corruption):
    """A fraction of the pixels, or of square blocks of pixels, is set to `value` in all channels."""

    name = "masking"
    amount: Amount = 0.25  # fraction of the pixels
    size: Amount = 1.0  # side of a block in pixels; 1 masks single pixels
    value: Amount = 0.0  # in [0, 1]
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("amount", 0, 1)
        self._check("size", 1)

    def apply(self, x, draws):
        height, width = draws.shape[-2:]
        size = self.size
        # The side of a block is one number for the whole call: cells of one grid share it.
        side = (
            int(size.low)
            if size.low == size.high
            else int(size.low + (size.high - size.low) * float(draws.uniform(())))
        )
        cells = draws.uniform((*draws.shape[:-3], 1, -(-height // side), -(-width // side)))
        hit = cells < draws.span(self.amount)
        if side > 1:
            rows, columns = np.arange(height) // side, np.arange(width) // side
            hit = hit[..., rows, :][..., columns]
        return draws.where(hit, x * 0 + draws.span(self.value), x)


@dataclass(frozen=True)
class Quantise(Corruption):
    """Clip to [0, 1] and round to `bits` bits: what a file does to its samples."""

    name = "quantise"
    bits: Amount = 8.0
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("bits", 1, 16)

    def apply(self, x, draws):
        bits = draws.span(self.bits)
        levels = 2 ** (int(bits) if isinstance(bits, float) else bits.round()) - 1
        return (x.clip(0, 1) * levels).round() / levels


@dataclass(frozen=True)
class Jpeg(Corruption):
    """Clip, round to 8 bits and pass through JPEG at `quality`; three channels or each for itself."""

    name = "jpeg"
    quality: Amount = 75.0
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("quality", 1, 100)

    def apply(self, x, draws):
        quality = draws.span(self.quality)
        array = x if isinstance(x, np.ndarray) else x.detach().cpu().numpy()
        batch = array if draws.lead else array[None]
        qualities = [quality] * len(batch) if np.isscalar(quality) else quality.reshape(-1).tolist()
        coded = np.stack([_jpeg(sample, round(q)) for sample, q in zip(batch, qualities, strict=True)])
        coded = coded if draws.lead else coded[0]
        return coded if isinstance(x, np.ndarray) else x.new_tensor(coded)


def _jpeg(x: np.ndarray, quality: int) -> np.ndarray:
    """(C, H, W) in [0, 1] through one JPEG (3 channels) or one a channel."""
    from PIL import Image

    levels = (x.clip(0, 1) * 255).round().astype(np.uint8)
    planes = [levels.transpose(1, 2, 0)] if len(levels) == 3 else list(levels)
    decoded = []
    for plane in planes:
        coded = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(plane)).save(coded, "JPEG", quality=quality)
        decoded.append(np.asarray(Image.open(coded), dtype=np.float32) / 255)
    return decoded[0].transpose(2, 0, 1).copy() if len(levels) == 3 else np.stack(decoded)


@dataclass(frozen=True)
class Chain:
    """Corruptions one after the other; its spec joins theirs with a plus sign."""

    parts: tuple[Corruption, ...] = ()

    def __str__(self) -> str:
        return "+".join(map(str, self.parts))

    def drawn(self, rng: np.random.Generator) -> Chain:
        return Chain(tuple(part.drawn(rng) for part in self.parts))

    def __call__(self, x: Array, rng: Any = None) -> Array:
        for part in self.parts:
            x = part(x, rng)
        return x


CORRUPTIONS: dict[str, type[Corruption]] = {
    c.name: c for c in (Gaussian, Uniform, Speckle, Poisson, SaltPepper, Masking, Quantise, Jpeg)
}


def parse(spec: str | Iterable[str]) -> Chain:
    """Read ``name:key=value,key=low-high``, several joined by ``+`` or given one by one.

    Raises UsageError, with the choices, for an unknown name or key and for a value out of range.
    """
    specs = spec.split("+") if isinstance(spec, str) else [part for one in spec for part in one.split("+")]
    return Chain(tuple(map(_parse_one, specs)))


def _parse_one(spec: str) -> Corruption:
    name, _, options = spec.strip().partition(":")
    if name not in CORRUPTIONS:
        raise UsageError(choice("noise", name, CORRUPTIONS))
    kind = CORRUPTIONS[name]
    known = [field.name for field in fields(kind)]
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
        values[key] = Span.parse(value)
    return kind(**values)  # type: ignore[arg-type]
