"""Recorded noise, mixed into recordings at an SNR: ``denoise corrupt --noise-file``.

noise file --skip to a random place--> blocks --resample--> Tape --gain--> + the clean blocks
     ^____________ again and again ___________|
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from denoise_cli import media
from denoise_cli.corrupt.base import Amount, Corruption
from denoise_cli.corrupt.draws import Span
from denoise_cli.corrupt.level import ActiveLevelMeter
from denoise_cli.corrupt.sounds import added, rate_of
from denoise_cli.corrupt.tapes import Tape
from denoise_cli.errors import InputError, UsageError
from denoise_cli.media import files
from denoise_cli.signal import Kind, Source

KEEP = 1 << 22  # samples of a short noise that stay in memory, so that it is not decoded for every turn


@dataclass(frozen=True)
class NoiseFile(Corruption):
    """One of the recordings, drawn per file, from a random place on and looped, at an SNR.

    The level of the noise is its active level, and so is the clean signal's. Noise with as many channels as
    the file goes channel to channel; any other is mixed to one, which goes to all.
    """

    name = "noise-file"
    kinds: ClassVar[tuple[Kind, ...]] = ("audio",)
    paths: tuple[Path, ...] = ()
    snr: Amount = 10.0  # dB
    p: Amount = 1.0

    @classmethod
    def amounts(cls) -> list[str]:
        return ["snr", "p"]

    @classmethod
    def of(cls, path: Path, snr: str | float | Span) -> NoiseFile:
        """Take a recording, or all below a folder; raises UsageError where there is none."""
        if not path.exists():
            raise UsageError(f"noise file {media.printable(path)}: no such file or folder")
        found = files.find([str(path)], None, suffixes=media.AUDIO_SUFFIXES)
        paths = tuple(job.source for job in found.jobs if job.source is not None)
        if not paths:
            raise UsageError(f"noise folder {media.printable(path)}: no recordings in it")
        return cls(paths, snr)

    @property
    def asks_level(self) -> bool:
        return True

    def heard(self, header, rng, level):
        path = self.paths[rng.integers(len(self.paths))]
        rate, channels = rate_of(header), header.channels
        status = path.stat()
        noise = _measured(path, rate, channels, (status.st_mtime_ns, status.st_size))
        chunks = _looped(path, noise, int(rng.integers(noise.length)))
        return added(Tape(chunks), self.below(level, self.snr.value) / noise.level)


@dataclass(frozen=True)
class Measured:
    """What a pass over a noise file tells of it, as it is heard in a recording."""

    rate: int  # samples a second, its own
    length: int  # samples at its own rate
    level: float  # active level in the recording
    heard_rate: int  # samples a second of the recording
    channels: int  # of the recording


def open_noise(path: Path) -> Source:
    from denoise_cli.media import audio

    return audio.open_audio(files.open_input(path), str(path))


@lru_cache(maxsize=256)
def _measured(path: Path, rate: int, channels: int, version: tuple[int, int]) -> Measured:
    meter, length = ActiveLevelMeter(rate), 0
    with closing(open_noise(path)) as source:
        own = rate_of(source.header)
        tuned = _tuner(own, rate, channels)
        for block in source.blocks():
            length += block.shape[1]
            meter.add(tuned(_fitted(block, channels), False))
    meter.add(tuned(np.empty((channels, 0), np.float32), True))
    if (level := meter.rms()) == 0:
        raise InputError(f"noise file {media.printable(path)} is silent")
    return Measured(own, length, level, rate, channels)


def _looped(path: Path, noise: Measured, start: int) -> Iterator[np.ndarray]:
    """The file from sample `start` on, then from its beginning for ever, at the recording's rate: (C, m)."""
    tuned = _tuner(noise.rate, noise.heard_rate, noise.channels)
    kept = list(_blocks(path, noise.channels)) if noise.length * noise.channels <= KEEP else None
    while True:
        position = 0
        for block in kept or _blocks(path, noise.channels):
            skipped = min(max(0, start - position), block.shape[1])
            position += block.shape[1]
            if (chunk := tuned(block[:, skipped:], False)).shape[1]:
                yield chunk
        if position <= start:
            raise InputError(f"noise file {media.printable(path)} changed while it was read")
        start = 0


def _blocks(path: Path, channels: int) -> Iterator[np.ndarray]:
    with closing(open_noise(path)) as source:
        for block in source.blocks():
            yield _fitted(block, channels)


def _fitted(block: np.ndarray, channels: int) -> np.ndarray:
    """(C, n, 1) -> (channels, n)."""
    x = block[:, :, 0]
    return x if len(x) == channels else np.repeat(x.mean(axis=0, keepdims=True), channels, axis=0)


def _tuner(old: int, new: int, channels: int) -> Callable[[np.ndarray, bool], np.ndarray]:
    """Resample consecutive (channels, n) pieces; the flag says which is the last."""
    if old == new:
        return lambda x, last: x
    import soxr

    stream = soxr.ResampleStream(old, new, channels, dtype="float32")
    return lambda x, last: stream.resample_chunk(np.ascontiguousarray(x.T), last=last).reshape(-1, channels).T
