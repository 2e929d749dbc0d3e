"""Corrupt files: the library side of ``denoise corrupt``."""

from __future__ import annotations

import hashlib
import io
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import BinaryIO

import numpy as np

from denoise_cli import media, pipeline
from denoise_cli.corrupt import Chain, Process
from denoise_cli.corrupt.level import active_level
from denoise_cli.corrupt.sounds import rate_of
from denoise_cli.errors import InputError
from denoise_cli.media.files import Job
from denoise_cli.media.layout import TABULAR, Layout
from denoise_cli.media.limits import Limits
from denoise_cli.media.table import TableSource
from denoise_cli.metrics import ResidualMeter
from denoise_cli.pipeline import Result, Stopped
from denoise_cli.signal import Sink, Source


def run(
    jobs: Iterable[Job],
    noise: Chain,
    *,
    seed: int = 0,
    hands: int = 2,
    floating: bool = False,
    layout: Layout | None = None,
    limits: Limits = Limits(),
) -> Iterator[Result]:
    """Corrupt every job; yields a Result for each as it is done. `floating` writes float samples, unclipped.

    `layout` is given where the files are tables or series. `limits` say how large a file may be.

    The noise of a file depends on the seed and on the file's bytes alone: not on its name, its folder,
    the other files, or how many are done at once. A file for which the noise makes no sense fails alone.
    """
    ended = threading.Event()

    def work(job: Job, source: Source, sink: Sink) -> Result:
        added, length, kind = ResidualMeter(), 0, source.header.kind
        for block, noisy in blocks(source, noise, seed, ended=ended):
            sink.write(noisy)
            length += block.shape[1]
            if kind not in TABULAR:  # whose columns have units of their own
                added.add(block, noisy)
        size = length if kind == "audio" else 0
        return Result(job, size=size, residual=None if kind in TABULAR else added.rms())

    sinks = partial(media.open_sink, floating=floating)
    sources = partial(media.open_source, layout=layout, limits=limits)
    yield from pipeline.each(jobs, work, hands, open_sink=sinks, open_source=sources, release=ended.set)


def blocks(
    source: Source,
    noise: Chain,
    seed: int,
    *,
    again: Callable[[], Source] | None = None,
    ended: threading.Event | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (clean, noisy) blocks of a file, (C, n, W) float32 each; an evaluation with this seed sees the same.

    Parameters
    ----------
    source
        Opened and not yet read.
    again
        Opens the file once more; by default through ``source.file``. Called only where a part of the noise
        asks for the level of the clean signal, which takes a pass over it before the first block comes.
    ended
        Looked at before each block is read.

    Raises
    ------
    Stopped
        It was set.
    InputError
        The noise makes no sense for such a file, or the file is damaged.
    """
    header = source.header
    noise.check(header)  # before the pass over a long file
    level = None
    if noise.asks_level:
        with closing((again or partial(_again, source))()) as other:
            level = active_level(_until(ended, other.blocks()), rate_of(header))
    rng = np.random.default_rng([seed, fingerprint(source.file)])
    hit = noise.stream(header, rng, level)
    if isinstance(source, TableSource):
        yield from _standardised(source, hit)
        return
    for block in _until(ended, source.blocks()):
        yield block, hit(block)


def _until(ended: threading.Event | None, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
        if ended is not None and ended.is_set():
            raise Stopped
        yield block


def _standardised(source: TableSource, hit: Process) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of a table, hit in units of each column's standard deviation; what was not hit stays to the bit."""
    moments = source.moments()
    mean = moments.mean[:, None, None]
    std = np.where(moments.std > 0, moments.std, 1)[:, None, None]
    for block in source.blocks():
        z = ((block - mean) / std).astype(np.float32)
        noisy = hit(z)
        changed = (noisy != z) & ~np.isnan(z)
        # A column that never varies has no unit for noise to be in; its values may still go missing.
        changed &= (moments.std > 0)[:, None, None] | np.isnan(noisy)
        with np.errstate(over="ignore"):
            hit_block = np.where(changed, noisy * std + mean, block).astype(np.float32)
        if np.isinf(hit_block).any():
            column = int(np.isinf(hit_block).any(axis=(1, 2)).argmax()) + 1
            raise InputError(f"column {column} of numbers would be beyond what float32 holds")
        yield block, hit_block


def _again(source: Source) -> Source:
    """Open a recording a second time; the first one's decoder stays where it is."""
    from denoise_cli.media import audio

    file, name = io.BufferedReader(View(source.file)), getattr(source, "name", "-")
    return audio.open_audio(file, name, limits=Limits(hours=math.inf))  # the first one knows its own


class View(io.RawIOBase):
    """The bytes of an open file with a position of their own, which a duplicate descriptor would share."""

    def __init__(self, file: BinaryIO):
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: os.fstat(self.fileno()).st_size}
        self._position = max(0, start[whence] + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer) -> int:
        read = os.preadv(self.fileno(), [buffer], self._position)
        self._position += read
        return read


def fingerprint(file: BinaryIO) -> int:
    """64 bits of the hash of a file's content. Its position stays: a decoder reads the same descriptor."""
    digest, offset = hashlib.blake2b(digest_size=8), 0
    while chunk := os.pread(file.fileno(), 1 << 20, offset):
        digest.update(chunk)
        offset += len(chunk)
    return int.from_bytes(digest.digest(), "big")
