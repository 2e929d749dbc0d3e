"""Corruptions of recordings; those that pictures have too are in pictures.py.

    pink brown hum     added, at a standard deviation (full scale = 1) or at an SNR in dB
    clicks             added
    dropouts clipping  what takes the place of the signal

Samples are in [-1, 1]. Pink and brown noise are independent in channels; hum, clicks and dropouts hit
all channels alike, as they do in a cable, on a record and on a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from denoise_cli.corrupt import tapes
from denoise_cli.corrupt.base import Amount, Corruption, Process
from denoise_cli.corrupt.tapes import Tape
from denoise_cli.errors import InputError
from denoise_cli.signal import Header, Kind


def rate_of(header: Header) -> int:
    assert header.rate is not None, "a recording has a rate"
    return header.rate


def added(tape: Tape, gain: float, offset: float = 0.0) -> Process:
    """Return x -> x + gain · tape + offset."""
    scale, shift = np.float32(gain), np.float32(offset)

    def process(block: np.ndarray) -> np.ndarray:
        noise = tape.take(block.shape[1])[:, :, None]
        return block + (noise * scale + shift if offset else noise * scale)

    return process


def strength(part: Corruption, rms: float, level: float | None) -> float:
    """The rms that noise shall have: `rms`, or what lies the part's SNR in dB below the level."""
    snr = part.snr  # type: ignore[attr-defined]
    return rms if snr is None else part.below(level, snr.value)


def replaced(tape: Tape, value: float) -> Process:
    """`value` where the tape is true."""
    return lambda block: np.where(tape.take(block.shape[1])[:, :, None], np.float32(value), block)


@dataclass(frozen=True)
class Sound(Corruption):
    """Base of those that only recordings have."""

    kinds: ClassVar[tuple[Kind, ...]] = ("audio",)


@dataclass(frozen=True)
class Pink(Sound):
    """Noise with equal power in every octave above 20 Hz: -3 dB an octave."""

    name = "pink"
    instead: ClassVar[Mapping[str, str]] = {"snr": "std"}
    slope: ClassVar[float] = 1.0
    std: Amount = 0.05  # full scale = 1
    snr: Amount = None  # dB against the active level; instead of std
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("std", 0, 1)

    def heard(self, header, rng, level):
        chunks = tapes.coloured(self.slope, rate_of(header), header.channels, rng)
        return added(Tape(chunks), strength(self, self.std.value, level))


@dataclass(frozen=True)
class Brown(Pink):
    """Integrated noise, as of wind and rumble: -6 dB an octave above 20 Hz, nothing at 0 Hz."""

    name = "brown"
    slope: ClassVar[float] = 2.0


@dataclass(frozen=True)
class Hum(Sound):
    """Mains hum: a tone and its harmonics, the k-th with 1/k of the first's amplitude, phases drawn."""

    name = "hum"
    instead: ClassVar[Mapping[str, str]] = {"snr": "std"}
    frequency: Amount = 50.0  # Hz
    std: Amount = 0.05  # full scale = 1; of all harmonics together
    harmonics: Amount = 8.0  # tones, the first one counted
    snr: Amount = None  # dB against the active level; instead of std
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("frequency", 1)
        self._check("std", 0, 1)
        self._check("harmonics", 1, 1000)

    def check(self, header):
        super().check(header)
        if self.frequency.low >= (half := rate_of(header) / 2):
            raise InputError(f"hum: {self.frequency} Hz is not below {half:g} Hz, half the rate of this recording")

    def heard(self, header, rng, level):
        k = np.arange(1, round(self.harmonics.value) + 1)
        chunks = tapes.tones(self.frequency.value * k, 1 / k, rate_of(header), rng)
        return added(Tape(chunks), strength(self, self.std.value, level))


@dataclass(frozen=True)
class Clicks(Sound):
    """Clicks as of a record: they come at random, as rain does, and add to the signal."""

    name = "clicks"
    rate: Amount = 5.0  # a second, on average
    level: Amount = 0.5  # the highest, full scale = 1; heights are uniform below it, of either sign
    width: Amount = 3.0  # samples at most; each click draws its own
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("rate", 0, 10_000)
        self._check("level", 0, 1)
        self._check("width", 1, 1000)

    def heard(self, header, rng, level):
        width = round(self.width.value)
        return added(Tape(tapes.pulses(self.rate.value / rate_of(header), self.level.value, width, rng)), 1.0)


@dataclass(frozen=True)
class Dropouts(Sound):
    """Silence in all channels that comes at random: lost packets, a bad cable."""

    name = "dropouts"
    rate: Amount = 2.0  # a second, on average
    length: Amount = 20.0  # ms; where two overlap they are one
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("rate", 0, 10_000)
        self._check("length", 0, 60_000)

    def heard(self, header, rng, level):
        rate = rate_of(header)
        length = max(1, round(self.length.value * rate / 1000))
        return replaced(Tape(tapes.gaps(self.rate.value / rate, length, rng)), 0.0)


@dataclass(frozen=True)
class Clipping(Sound):
    """What is beyond the threshold is cut off, as in a recording made too loud."""

    name = "clipping"
    instead: ClassVar[Mapping[str, str]] = {"crest": "threshold"}
    threshold: Amount = 0.5  # full scale = 1
    crest: Amount = None  # dB of the threshold above the active level, so that quiet files clip too; instead of it
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        self._check("threshold", 0)

    def heard(self, header, rng, level):
        limit = np.float32(self.threshold.value if self.crest is None else self.below(level, -self.crest.value))
        return lambda block: block.clip(-limit, limit)


SOUNDS: tuple[type[Sound], ...] = (Pink, Brown, Hum, Clicks, Dropouts, Clipping)
