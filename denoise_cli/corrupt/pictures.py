"""The corruptions of pictures but for camera.py; most of them recordings have, too."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from denoise_cli.corrupt import tapes
from denoise_cli.corrupt.base import Amount, Corruption
from denoise_cli.corrupt.camera import Camera
from denoise_cli.corrupt.sounds import added, rate_of, replaced, strength
from denoise_cli.corrupt.tapes import Tape
from denoise_cli.signal import Kind

EXTREME = 3.0  # standard deviations from the mean: where a value of a table gets stuck


@dataclass(frozen=True)
class Gaussian(Corruption):
    """x + N(mean, std^2), independent for every pixel or sample and channel: white noise."""

    kinds: ClassVar[tuple[Kind, ...]] = ("image", "audio", "table", "series")

    name = "gaussian"
    scaled: ClassVar[tuple[str, ...]] = ("std", "mean")
    instead: ClassVar[Mapping[str, str]] = {"snr": "std"}
    std: Amount = 25.0  # 8-bit steps; of recordings full scale = 1
    mean: Amount = 0.0  # the same unit
    snr: Amount = None  # dB against the active level, recordings only; instead of std
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("std", 0)

    def apply(self, x, draws):
        return x + (draws.normal(draws.shape) * (draws.span(self.std) / 255) + draws.span(self.mean) / 255)

    def tabled(self, z, draws):
        return z + (draws.normal(draws.shape) * draws.span(self.std) + draws.span(self.mean))

    def heard(self, header, rng, level):
        tape = Tape(tapes.white(header.channels, rng))
        return added(tape, strength(self, self.std.value, level), self.mean.value)


@dataclass(frozen=True)
class Uniform(Corruption):
    """x + U(-width, width)."""

    kinds: ClassVar[tuple[Kind, ...]] = ("image", "audio", "table", "series")

    name = "uniform"
    scaled: ClassVar[tuple[str, ...]] = ("width",)
    instead: ClassVar[Mapping[str, str]] = {"snr": "width"}
    width: Amount = 25.0  # half the interval, in 8-bit steps; of recordings full scale = 1
    snr: Amount = None  # dB against the active level, recordings only; instead of width
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("width", 0)

    def apply(self, x, draws):
        return x + (2 * draws.uniform(draws.shape) - 1) * (draws.span(self.width) / 255)

    def tabled(self, z, draws):
        return z + (2 * draws.uniform(draws.shape) - 1) * draws.span(self.width)

    def heard(self, header, rng, level):
        width = strength(self, self.width.value / 3**0.5, level) * 3**0.5  # the rms of U(-w, w) is w / √3
        return added(Tape(tapes.uniform(header.channels, rng)), 2 * width, -width)


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

    def heard(self, header, rng, level):
        tape, std = Tape(tapes.white(header.channels, rng)), np.float32(self.std.value)
        return lambda block: block + block * tape.take(block.shape[1])[:, :, None] * std


@dataclass(frozen=True)
class Poisson(Corruption):
    """Photon counts: Poisson(x peak) / peak. Negative samples count as dark."""

    name = "poisson"
    kinds: ClassVar[tuple[Kind, ...]] = ("image",)
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
    """A fraction of the samples becomes white or black, each channel for itself; in recordings 1 or -1.

    In tables a value gets stuck three standard deviations from the mean of its column.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image", "audio", "table", "series")

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

    def tabled(self, z, draws):
        u, amount = draws.uniform(draws.shape), draws.span(self.amount)
        stuck = draws.where(u < amount * draws.span(self.salt), z * 0 + EXTREME, z * 0 - EXTREME)
        return draws.where(u < amount, stuck, z)

    def heard(self, header, rng, level):
        tape, amount = Tape(tapes.uniform(header.channels, rng)), self.amount.value
        salt = np.float32(amount * self.salt.value)

        def process(block: np.ndarray) -> np.ndarray:
            u = tape.take(block.shape[1])[:, :, None]
            return np.where(u < amount, np.where(u < salt, np.float32(1), np.float32(-1)), block)

        return process


@dataclass(frozen=True)
class Masking(Corruption):
    """A fraction of the pixels, or of square blocks of pixels, is set to `value` in all channels.

    Of a recording a fraction of its time, in pieces of `size` milliseconds. Of a table a fraction of its values
    goes missing, in pieces of `size` rows.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image", "audio", "table", "series")

    name = "masking"
    amount: Amount = 0.25  # fraction of the pixels, or of the time
    size: Amount = 1.0  # side of a block in pixels, 1 masks single pixels; of recordings in ms
    value: Amount = 0.0  # in [0, 1]; of recordings in [-1, 1]
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("amount", 0, 1)
        self._check("size", 1)
        self._check("value", -1, 1)

    def apply(self, x, draws):
        height, width = draws.shape[-2:]
        side = self._side(draws)
        cells = draws.uniform((*draws.shape[:-3], 1, -(-height // side), -(-width // side)))
        hit = cells < draws.span(self.amount)
        if side > 1:
            rows, columns = np.arange(height) // side, np.arange(width) // side
            hit = hit[..., rows, :][..., columns]
        return draws.where(hit, x * 0 + draws.span(self.value), x)

    def drawn(self, rng):
        part = super().drawn(rng)
        fixed = self.size.low == self.size.high
        return part if fixed else replace(part, size=self._whole(rng.random))  # type: ignore[call-arg]

    def stream(self, header, rng, level=None):
        """Blocks of pixels that the end of one block of rows has cut go on in the next one."""
        if header.kind != "image":
            return super().stream(header, rng, level)
        self.check(header)
        part: Any = self.drawn(rng)
        if part.p.value == 0:
            return lambda block: block
        side = round(part.size.value)
        column = np.arange(header.width) // side  # of cells, for every pixel of a row
        cells, top = np.zeros((0, column[-1] + 1), bool), 0

        def process(block: np.ndarray) -> np.ndarray:
            nonlocal cells, top
            begun = top // side  # the row of cells in which this block begins
            row = np.arange(top, top + block.shape[1]) // side
            cells = cells[-1:] if top % side else cells[:0]
            new = rng.random((row[-1] + 1 - begun - len(cells), len(cells.T)), np.float32) < part.amount.value
            cells = np.concatenate([cells, new])
            top = (top + len(row)) % header.length  # another frame begins with cells of its own
            return np.where(cells[row - begun][:, column], np.float32(part.value.value), block)

        return process

    def tabled(self, z, draws):
        """Values go missing, each column for itself, `size` rows in a row."""
        rows, side = draws.shape[-2], self._side(draws)
        cells = draws.uniform((*draws.shape[:-2], -(-rows // side), 1))
        hit = cells < draws.span(self.amount)
        if side > 1:
            hit = hit[..., np.arange(rows) // side, :]
        return draws.where(hit, z * 0 + float("nan"), z)

    def _side(self, draws) -> int:
        """Of a block: one number for the whole call, for cells of one grid share it."""
        if self.size.low == self.size.high:  # a file's own
            return round(self.size.low)
        return self._whole(lambda: float(draws.uniform(())))

    def _whole(self, uniform: Callable[[], float]) -> int:
        """One of the whole numbers in the range of sizes, all equally likely."""
        low, high = self.size.low, self.size.high
        return min(int(low + (high + 1 - low) * uniform()), int(high))

    def heard(self, header, rng, level):
        length = max(1, round(self.size.value * rate_of(header) / 1000))
        return replaced(Tape(tapes.cells(self.amount.value, length, rng)), self.value.value)


@dataclass(frozen=True)
class Quantise(Corruption):
    """Clip to [0, 1] and round to `bits` bits: what a file does to its samples.

    Of recordings to the 2^bits levels of PCM, from -1 to one step below 1; 0 is one of them.
    """

    name = "quantise"
    bits: Amount = 8.0
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("bits", 1, 16)

    def apply(self, x, draws):
        bits = draws.span(self.bits)
        levels = 2 ** (round(bits) if isinstance(bits, float) else bits.round()) - 1
        return (x.clip(0, 1) * levels).round() / levels

    def heard(self, header, rng, level):
        half = np.float32(2 ** (round(self.bits.value) - 1))
        return lambda block: (block * half).round().clip(-half, half - 1) / half


@dataclass(frozen=True)
class Jpeg(Corruption):
    """Clip, round to 8 bits and pass through JPEG at `quality`; three channels or each for itself."""

    name = "jpeg"
    kinds: ClassVar[tuple[Kind, ...]] = ("image",)
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


PICTURES: tuple[type[Corruption], ...] = (
    Gaussian, Uniform, Speckle, Poisson, SaltPepper, Masking, Quantise, Jpeg, Camera,
)  # fmt: skip
