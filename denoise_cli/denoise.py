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
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from denoise_cli import pipeline, tiles
from denoise_cli.card import ModelCard
from denoise_cli.errors import ModelError, OutOfMemory, UsageError
from denoise_cli.media.files import Job
from denoise_cli.metrics import NoiseMeter, ResidualMeter
from denoise_cli.pipeline import Result, Stopped
from denoise_cli.session import Session
from denoise_cli.signal import Header, Signal, Sink, Source

TILE = 1120  # side of the largest tile by default: about 170 MB of activations a thread
# A picture larger than this is read in windows of rows, two of which are in memory, with their results, so
# its tiles are smaller. With two threads the whole process then stays under 700 MB.
WINDOW = 15 << 20  # samples, halo and channels counted
WINDOW_TILE = 800


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


@dataclass(frozen=True)
class Tile:
    """One sample for the model, and where its result goes."""

    x: np.ndarray  # (C, H, W) float32
    deliver: Callable[[np.ndarray], None]  # called with the result, (C, H, W), in a worker thread
    done: Future[None] = field(default_factory=Future)


class Workers:
    """N threads that batch waiting tiles of equal shape into one call of the session."""

    def __init__(self, session: Session, options: Options):
        if session.card.kind != "image":
            raise ModelError(f'model "{session.card.name}" is for {session.card.kind}, not for pictures')
        if options.std is not None and not session.card.noise_input:
            name = session.card.name
            raise UsageError(f'model "{name}" is blind: it finds the noise level itself and takes no --std')
        if options.std is None and session.card.noise_input:
            raise UsageError(f'model "{session.card.name}" must be told the noise level: give --std')
        self.session = session
        self.sigma = None if options.std is None else options.std / 255
        self.batch = options.batch or (8 if session.on_gpu else 1)
        threads = options.threads or len(os.sched_getaffinity(0))
        self.waiting: deque[Tile] = deque()
        self.changed = threading.Condition()
        self.stopped = False
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def submit(self, tile: Tile) -> None:
        with self.changed:
            if self.stopped:
                raise Stopped
            self.waiting.append(tile)
            self.changed.notify()

    def _take(self) -> list[Tile]:
        with self.changed:
            while not self.waiting and not self.stopped:
                self.changed.wait()
            if self.stopped:
                return []
            taken = [self.waiting.popleft()]
            while self.waiting and len(taken) < self.batch and self.waiting[0].x.shape == taken[0].x.shape:
                taken.append(self.waiting.popleft())
            return taken

    def _work(self) -> None:
        while taken := self._take():
            try:
                for tile, y in zip(taken, self._infer(taken), strict=True):
                    tile.deliver(y)
                    tile.done.set_result(None)
                    del y
            except Exception as error:  # whoever waits for the tile shall have it
                for tile in taken:
                    if not tile.done.done():
                        tile.done.set_exception(error)
            del taken

    def _infer(self, taken: list[Tile]) -> list[np.ndarray]:
        x = taken[0].x[None] if len(taken) == 1 else np.stack([tile.x for tile in taken])
        height, width = x.shape[-2:]
        try:
            return list(self.session(tiles.pad(x, self.session.card.multiple), self.sigma)[:, :, :height, :width])
        except OutOfMemory:
            if len(taken) == 1:
                raise
            half = self.batch = len(taken) // 2  # for the rest of the run too
            return self._infer(taken[:half]) + self._infer(taken[half:])

    def stop(self) -> None:
        """End the threads after the call they are in; tiles still waiting fail with Stopped."""
        with self.changed:
            self.stopped = True
            for tile in self.waiting:
                tile.done.set_exception(Stopped())
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
    """Denoise one picture in memory: (C, H, W) float32 in [0, 1] -> the same, not clipped.

    Three channels are taken for RGB, any others each for itself.
    """
    groups = ((0, 1, 2),) if len(x) == 3 else tuple((c,) for c in range(len(x)))
    return signal(Signal(x, Header("image", len(x), x.shape[1], x.shape[2], groups=groups)), session, options)


def signal(noisy: Signal, session: Session, options: Options | None = None) -> np.ndarray:
    """Denoise a file in memory as `run` would, frames and all: float32 of the shape of its data, not clipped."""
    options = options or Options()
    workers = Workers(session, options)
    try:
        height = noisy.header.length or 1
        frames = (noisy.data[:, top : top + height] for top in range(0, noisy.data.shape[1], height))
        return np.concatenate([y for _, y in _windows(frames, noisy.header, workers, options)], axis=1)
    finally:
        workers.stop()


def _stream(source: Source, sink: Sink, workers: Workers, options: Options) -> tuple[float, float, float]:
    """Read, infer and write; returns noise before, noise after and residual, in 8-bit steps."""
    before, after, removed = NoiseMeter(), NoiseMeter(), ResidualMeter()
    for x, y in _windows(source.blocks(), source.header, workers, options):
        sink.write(y)
        before.add(x)
        after.add(y)
        removed.add(x[:, ::16], y[:, ::16])  # every 16th row is plenty for a mean
        del x, y  # before the next window is made
    return before.std(), after.std(), removed.rms()


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
            del data  # else it lives until the next window has been read
            if behind is not None:
                yield behind.join(options.strength)
                del behind
        if ahead is not None:
            yield ahead.join(options.strength)
    for _ in blocks:  # nothing is left, but the source may have found by now that its file is cut short
        pass


def plan(header: Header, halo: int, multiple: int, tile: int) -> tuple[list[tiles.Cut], list[tiles.Cut]]:
    """Rows and columns of the tiles; a function of the file and the model alone, never of the threads."""
    assert header.length is not None
    samples = header.length * header.width * header.channels
    side = tile if samples <= WINDOW else min(tile, WINDOW_TILE)
    rows, columns = tiles.grid(header.length, header.width, halo, multiple, side * side)
    tallest = max(cut.high - cut.low for cut in rows)
    limit = WINDOW // (header.width * header.channels)
    if tallest > limit:
        core = max(limit - 2 * halo, 2 * halo, multiple)
        rows = tiles.cuts(header.length, core, halo, multiple)
        columns = tiles.cuts(
            header.width, max(side * side // (core + 2 * halo) - 2 * halo, multiple), halo, multiple
        )
    return rows, columns


class _Window:
    """The tiles of one row window, on their way through the session; workers write their results into `y`."""

    def __init__(
        self, cut: tiles.Cut, data: np.ndarray, header: Header, columns: list[tiles.Cut], workers: Workers
    ):
        card = workers.session.card
        self.x = data[:, cut.keep]
        self.y = np.empty(self.x.shape, np.float32)
        self.tiles = []
        for group in header.groups:
            first, last = group[0], group[-1] + 1  # consecutive, so that slices do and nothing is copied
            for column in columns:
                target = self.y[first:last, :, column.start : column.stop]
                for which, sample in card.lift(data[first:last, :, column.read]):
                    crop = _Crop(target[which], card, len(group), cut.keep, column.keep)
                    self.tiles.append(Tile(sample, crop))
        for tile in self.tiles:
            workers.submit(tile)

    def join(self, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """The core's input and output, (C, rows, W) each; waits for the tiles."""
        for tile in self.tiles:
            tile.done.result()
        self.tiles.clear()
        if strength < 1:  # in place: x + strength (y - x)
            self.y -= self.x
            self.y *= np.float32(strength)
            self.y += self.x
        return self.x, self.y


@dataclass(frozen=True)
class _Crop:
    """Puts the core of a tile's result where it belongs."""

    target: np.ndarray  # a view of the window's output
    card: ModelCard
    channels: int  # of the group
    rows: slice
    columns: slice

    def __call__(self, y: np.ndarray) -> None:
        self.target[...] = self.card.lower(y[:, self.rows, self.columns], self.channels)
