"""Endless noise for sound, made in chunks of its own size and recut to whatever is asked for.

    chunks:  |  made at once   |  made at once   |  made at once ...
    take(n): |    5    | 3 |         12         |  ...

What a chunk holds never depends on how it is taken, so that a file has the same noise, to the bit, however it
is cut into blocks, and a filter's state is the chunk before. Noise has an rms of 1; shapes are (C, n) float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

CHUNK = 1 << 14  # samples made at once, where nothing asks for another size
BAND = 20.0  # Hz; coloured noise begins here, as hearing does


class Tape:
    """Takes consecutive pieces off an endless iterator of (C, m) chunks."""

    def __init__(self, chunks: Iterator[np.ndarray]):
        self._chunks = chunks
        self._rest: np.ndarray | None = None  # of the last chunk

    def take(self, n: int) -> np.ndarray:
        """Return the next (C, n) samples."""
        parts, missing = [], n
        while True:
            chunk = next(self._chunks) if self._rest is None else self._rest
            parts.append(chunk[:, :missing])
            self._rest = chunk[:, missing:] if chunk.shape[1] > missing else None
            missing -= parts[-1].shape[1]
            if missing == 0:
                return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def white(channels: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Gaussian white noise, independent in channels."""
    while True:
        yield rng.standard_normal((channels, CHUNK), dtype=np.float32)


def uniform(channels: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Numbers from [0, 1), independent in channels: raw material, not of unit rms."""
    while True:
        yield rng.random((channels, CHUNK), dtype=np.float32)


def coloured(slope: float, rate: int, channels: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    r"""Gaussian noise whose power density falls as 1 / f^slope above 20 Hz and vanishes below.

    1 is pink (-3 dB an octave), 2 is brown (-6 dB). White noise through the filter of ``colour``, by
    overlap-save (A. Oppenheim, R. Schafer, "Discrete-time signal processing", 3rd ed. 2010, section 8.7.3):

        white:     | chunk k-1 | chunk k |
                         \_____________/  transform, times the filter's, transform back
        circular:  | wrapped   | chunk k of the output |
    """
    taps = colour(slope, rate)
    size = len(taps)
    response = np.fft.rfft(taps, 2 * size)
    both = np.empty((channels, 2 * size), np.float32)
    both[:, size:] = rng.standard_normal((channels, size), dtype=np.float32)
    while True:
        both[:, :size] = both[:, size:]
        both[:, size:] = rng.standard_normal((channels, size), dtype=np.float32)
        yield np.fft.irfft(np.fft.rfft(both) * response, 2 * size)[:, size:].astype(np.float32, copy=False)


def colour(slope: float, rate: int) -> np.ndarray:
    """Taps of a linear-phase filter with |H|² ~ 1 / f^slope, for unit rms: (n,) float32, n a power of two.

    The wanted response sampled, under a Hann window (Oppenheim and Schafer, section 7.5) of a quarter of a
    second or more, which tells 20 Hz from 30. Below 20 Hz it falls as f² and blocks DC: noise with more and more
    power towards 0 Hz would drift away.
    """
    size = max(64, 1 << (rate // 4).bit_length())
    place = np.fft.rfftfreq(size, 1 / rate) / BAND
    magnitude = np.where(place < 1, place**2, np.maximum(place, 1) ** (-slope / 2))
    window = np.hanning(size + 1)[:-1]
    taps = np.roll(np.fft.irfft(magnitude, size), size // 2) * window
    taps -= window * (taps.sum() / window.sum())
    return (taps / np.sqrt(np.square(taps).sum())).astype(np.float32)


def tones(
    frequencies: np.ndarray, amplitudes: np.ndarray, rate: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Sines below half the rate, each with a phase that is drawn once: (1, n).

    The rms of 1 is that of all tones that were asked for. One table of a chunk serves for ever:
    sin(a + b) = sin a cos b + cos a sin b, where a is the phase at the chunk's beginning.
    """
    amplitudes = amplitudes * math.sqrt(2 / np.square(amplitudes).sum())
    turns = rng.random(len(frequencies))
    low = frequencies < rate / 2
    cycles, amplitudes, turns = frequencies[low] / rate, amplitudes[low], turns[low]
    angles = 2 * np.pi * (np.outer(cycles, np.arange(CHUNK)) % 1)
    cosines, sines = np.cos(angles), np.sin(angles)
    position = 0
    while True:
        a = 2 * np.pi * ((cycles * position + turns) % 1)
        wave = (amplitudes * np.sin(a)) @ cosines + (amplitudes * np.cos(a)) @ sines
        yield wave[None].astype(np.float32)
        position += CHUNK


def pulses(rate: float, height: float, width: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rectangular clicks at `rate` a sample on average (a Poisson process): (1, n).

    Each has a height from U(-height, height) and lasts 1 to `width` samples.
    """
    tail = np.zeros(width, np.float32)  # of clicks that reach into the next chunk
    while True:
        chunk = np.zeros(CHUNK + width, np.float32)
        chunk[:width] = tail
        count = rng.poisson(rate * CHUNK)
        starts, widths = rng.integers(CHUNK, size=count), rng.integers(1, width + 1, size=count)
        heights = rng.uniform(-height, height, count).astype(np.float32)
        for k in range(width):
            np.add.at(chunk, starts[widths > k] + k, heights[widths > k])
        tail = chunk[CHUNK:].copy()
        yield chunk[None, :CHUNK]


def gaps(rate: float, length: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Where a dropout is: (1, n) of bool. They begin at `rate` a sample on average and last `length` samples."""
    left = 0  # samples of a gap that reaches into this chunk
    while True:
        starts = rng.integers(CHUNK, size=rng.poisson(rate * CHUNK))
        edges = np.zeros(CHUNK + 1, np.int64)  # gaps that begin less those that end
        np.add.at(edges, starts, 1)
        np.add.at(edges, np.minimum(starts + length, CHUNK), -1)
        edges[0] += left > 0
        edges[min(left, CHUNK)] -= left > 0
        left = max(left, int(starts.max(initial=-length)) + length) - CHUNK
        yield (np.cumsum(edges[:CHUNK]) > 0)[None]


def cells(amount: float, length: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Time in cells of `length` samples, each hit with probability `amount`: (1, n) of bool."""
    while True:
        hit = rng.random(max(1, CHUNK // length)) < amount
        for start in range(0, length, CHUNK):  # a cell may be longer than what is made at once
            yield np.repeat(hit, min(CHUNK, length - start))[None]
