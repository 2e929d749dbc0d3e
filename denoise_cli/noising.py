"""Corrupt files: the library side of ``denoise corrupt``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import BinaryIO

import numpy as np

from denoise_cli import media, pipeline
from denoise_cli.corrupt import Chain
from denoise_cli.media.files import Job
from denoise_cli.metrics import ResidualMeter
from denoise_cli.pipeline import Result
from denoise_cli.signal import Sink, Source


def run(
    jobs: Iterable[Job], noise: Chain, *, seed: int = 0, hands: int = 2, floating: bool = False
) -> Iterator[Result]:
    """Corrupt every job; yields a Result for each as it is done. `floating` writes float TIFF, unclipped.

    The noise of a file depends on the seed and on the file's bytes alone: not on its name, its folder,
    the other files, or how many are done at once.
    """

    def work(job: Job, source: Source, sink: Sink) -> Result:
        added = ResidualMeter()
        for block, noisy in blocks(source, noise, seed):
            sink.write(noisy)
            added.add(block, noisy)
        return Result(job, residual=added.rms())

    yield from pipeline.each(jobs, work, hands, open_sink=partial(media.open_sink, floating=floating))


def blocks(source: Source, noise: Chain, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (clean, noisy) blocks of a file, (C, n, W) float32 each; an evaluation with this seed sees the same."""
    rng = np.random.default_rng([seed, fingerprint(source.file)])
    drawn = noise.drawn(rng)
    for block in source.blocks():
        yield block, drawn(block, rng)


def fingerprint(file: BinaryIO) -> int:
    """64 bits of the hash of a file's content. Its position stays: a decoder reads the same descriptor."""
    digest, offset = hashlib.blake2b(digest_size=8), 0
    while chunk := os.pread(file.fileno(), 1 << 20, offset):
        digest.update(chunk)
        offset += len(chunk)
    return int.from_bytes(digest.digest(), "big")
