"""The engine: Jobs in, Results out. The command line, Python users and a cluster call `run`.

    file threads (a file each):  read -> windows -> tiles --+          +--> crop -> strength -> write, commit
                                                            v          |
    worker threads (a core each):                      batches of tiles -> session

Decoding and encoding of some files hide behind the inference of others. What is in flight is bounded: a
file thread holds two windows, and there are only a few file threads, so memory does not depend on the
number or the size of files. What is computed depends on neither threads nor batches nor order.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from denoise_cli import pipeline, tiles
from denoise_cli.errors import UsageError
from denoise_cli.media.files import Job
from denoise_cli.metrics import NoiseMeter
from denoise_cli.pipeline import Result, Stopped
from denoise_cli.session import Session
from denoise_cli.signal import Header, Sink, Source

TILE = 1120  # side of the largest tile by default: about 150 MB of activations a thread
WINDOW = 8 << 20  # most pixels of a row window, halo included, all channels counted


@dataclass(frozen=True)
class Options:
    """How to run; only `strength`, `std` and, within 0.01 of an 8-bit step, `tile` change the result."""

    strength: float = 1.0  # 0 leaves the input, 1 is all the model gives
    std: float | None = None  # noise level told to the model, 8-bit steps
    tile: int = TILE  # side of a square tile, pixels; tiles of other shapes have its area
    batch: int | None = None  # tiles a call; default 1 on a processor, 8 on a GPU
    threads: int | None = None  # default: the cores this process may use

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UsageError(f"--strength must be in 0..1, not {self.strength:g}")
        if self.std is not None and not 0 <= self.std <= 255:
            raise UsageError(f"--std must be in 0..255, not {self.std:g}")
        for name, low in (("tile", 64), ("batch", 1), ("threads", 1)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise UsageError(f"--{name} must be at least {low}, not {value}")


class Workers:
    """N threads that batch waiting tiles of equal shape into one call of the session."""

    def __init__(self, session: Session, options: Options):
        if options.std is not None and not session.card.noise_input:
            name = session.card.name
            raise UsageError(f'model "{name}" is blind: it finds the noise level itself and takes no --std')
        self.session = session
        self.sigma = None if options.std is None else options.std / 255
        self.batch = options.batch or (8 if session.on_gpu else 1)
        threads = options.threads or len(os.sched_getaffinity(0))
        self.waiting: deque[tuple[np.ndarray, Future]] = deque()
        self.changed = threading.Condition()
        self.stopped = False
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def submit(self, tile: np.ndarray) -> Future:
        """Queue one tile, (C, H, W) float32; the future gives (C, H, W)."""
        future: Future = Future()
        with self.changed:
            if self.stopped:
                raise Stopped
            self.waiting.append((tile, future))
            self.changed.notify()
        return future

    def _take(self) -> list[tuple[np.ndarray, Future]]:
        with self.changed:
            while not self.waiting and not self.stopped:
                self.changed.wait()
            if self.stopped:
                return []
            taken = [self.waiting.popleft()]
            while self.waiting and len(taken) < self.batch and self.waiting[0][0].shape == taken[0][0].shape:
                taken.append(self.waiting.popleft())
            return taken

    def _work(self) -> None:
        while taken := self._take():
            try:
                for (_, future), y in zip(taken, self._infer([tile for tile, _ in taken]), strict=True):
                    future.set_result(y)
            except Exception as error:  # whoever waits for the tile shall have it
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
            del taken

    def _infer(self, samples: list[np.ndarray]) -> np.ndarray:
        x = samples[0][None] if len(samples) == 1 else np.stack(samples)
        height, width = x.shape[-2:]
        return self.session(tiles.pad(x, self.session.card.multiple), self.sigma)[:, :, :height, :width]

    def stop(self) -> None:
        """End the threads after the call they are in; tiles still waiting fail with Stopped."""
        with self.changed:
            self.stopped = True
            for _, future in self.waiting:
                future.set_exception(Stopped())
            self.waiting.clear()
            self.changed.notify_all()
        for thread in self.threads:
            thread.join()


def run(jobs: Iterable[Job], session: Session, options: Options | None = None) -> Iterator[Result]:
    """Denoise every job; yield a Result for each as it is done.

    A job that fails yields a Result with its error, and the others go on. Raises UsageError for options
    the model does not know, NoSpaceError and UnavailableError where going on would only repeat the error.
    Closing the generator stops the run and leaves no partial file.
    """
    options = options or Options()
    workers = Workers(session, options)

    def work(job: Job, source: Source, sink: Sink) -> Result:
        before, after, residual = _stream(source, sink, workers, options)
        return Result(job, noise_before=before, noise_after=after, residual=residual)

    # One file for each thread of the session, and one more being decoded or encoded meanwhile.
    yield from pipeline.each(jobs, work, max(len(workers.threads), workers.batch) + 1, release=workers.stop)


def array(x: np.ndarray, session: Session, options: Options | None = None) -> np.ndarray:
    """Denoise one picture in memory: (C, H, W) float32 in [0, 1] -> the same, not clipped."""
    options = options or Options()
    groups = ((0, 1, 2),) if len(x) == 3 else tuple((c,) for c in range(len(x)))
    header = Header("image", len(x), x.shape[1], x.shape[2], groups=groups)
    workers = Workers(session, options)
    try:
        return np.concatenate([y for _, y in _windows([x], header, workers, options)], axis=1)
    finally:
        workers.stop()


def _stream(source: Source, sink: Sink, workers: Workers, options: Options) -> tuple[float, float, float]:
    """Read, infer and write; returns noise before, noise after and residual, in 8-bit steps."""
    before, after = NoiseMeter(), NoiseMeter()
    removed, samples = 0.0, 0
    for x, y in _windows(source.blocks(), source.header, workers, options):
        sink.write(y)
        before.add(x)
        after.add(y)
        difference = (y[:, ::16] - x[:, ::16]).ravel()  # every 16th row is plenty for a mean
        removed += float(np.dot(difference, difference))
        samples += difference.size
    return before.std(), after.std(), 255 * (removed / max(samples, 1)) ** 0.5


def _windows(
    blocks: Iterable[np.ndarray], header: Header, workers: Workers, options: Options
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (input, output) of consecutive rows, (C, n, W) each; the next window is read meanwhile."""
    assert header.length is not None, "a picture knows its height"
    card = workers.session.card
    rows, columns = plan(header, card.halo, card.multiple, options.tile)
    blocks = iter(blocks)
    for _ in range(header.frames):
        ahead: _Window | None = None
        for cut, data in tiles.windows(blocks, rows):
            behind, ahead = ahead, _Window(cut, data, header, columns, workers)
            if behind is not None:
                yield behind.join(options.strength)
        if ahead is not None:
            yield ahead.join(options.strength)
    for _ in blocks:  # nothing is left, but the source may have found by now that its file is cut short
        pass


def plan(header: Header, halo: int, multiple: int, tile: int) -> tuple[list[tiles.Cut], list[tiles.Cut]]:
    """Rows and columns of the tiles; a function of the file and the model alone, never of the threads."""
    assert header.length is not None
    rows, columns = tiles.grid(header.length, header.width, halo, multiple, tile * tile)
    tallest = max(cut.high - cut.low for cut in rows)
    limit = WINDOW // (header.width * header.channels)
    if tallest > limit:
        rows = tiles.cuts(header.length, max(limit - 2 * halo, 2 * halo, multiple), halo, multiple)
    return rows, columns


class _Window:
    """The tiles of one row window, on their way through the session."""

    def __init__(self, cut: tiles.Cut, data: np.ndarray, header: Header, columns: list[tiles.Cut], workers: Workers):
        self.cut, self.data, self.header, self.columns = cut, data, header, columns
        self.card = workers.session.card
        self.futures = [
            [workers.submit(sample) for sample in self.card.lift(data[_channels(group), :, column.read])]
            for group in header.groups
            for column in columns
        ]

    def join(self, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """The core's input and output, (C, rows, W) each; waits for the tiles."""
        x = self.data[:, self.cut.keep]
        y = np.empty(x.shape, np.float32)
        waiting = iter(self.futures)
        for group in self.header.groups:
            for column in self.columns:
                samples = [future.result()[:, self.cut.keep, column.keep] for future in next(waiting)]
                y[_channels(group), :, column.start : column.stop] = self.card.lower(samples, len(group))
        self.futures.clear()
        if strength < 1:
            y = x + np.float32(strength) * (y - x)
        return x, y


def _channels(group: tuple[int, ...]) -> slice:
    """Channels of a group, which follow one another, as a view: an index of numbers would copy."""
    return slice(group[0], group[-1] + 1)
