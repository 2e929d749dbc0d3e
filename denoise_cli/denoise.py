"""The engine: Jobs in, Results out. The command line, Python users and a cluster call `run`.

    file threads (a file each):  read -> windows -> tiles --+          +--> crop -> strength -> write, commit
                                                            v          |
    worker threads (a core each):                      batches of tiles -> session

Decoding and encoding of some files hide behind the inference of others. What is in flight is bounded: windows
have room together, and there are only a few file threads, so memory does not depend on the number or the size of
files. What is computed depends on neither threads nor batches nor order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from denoise_cli import holes, media, pipeline, tabular, tiles
from denoise_cli.card import ModelCard
from denoise_cli.errors import InputError, UsageError
from denoise_cli.holes import Holes
from denoise_cli.media.files import Job
from denoise_cli.media.layout import TABULAR
from denoise_cli.media.limits import Limits
from denoise_cli.metrics import LevelMeter, NoiseMeter, ResidualMeter
from denoise_cli.pipeline import Result
from denoise_cli.segments import segments
from denoise_cli.session import Session
from denoise_cli.signal import Header, Signal, Sink, Source
from denoise_cli.verdict import Verdict
from denoise_cli.workers import TILE, WINDOW, Choice, Options, Workers, threads_of

if TYPE_CHECKING:
    from denoise_cli.media.containers import AudioOptions
    from denoise_cli.media.table import TableSource

__all__ = ["TILE", "Options", "array", "plan", "run", "signal", "spread"]

WINDOW_TILE = 1000  # side of a tile of a picture that is read in windows
BUSY = 4  # tiles a thread: so many keep the threads busy, and no further window need be read meanwhile


def run(
    jobs: Iterable[Job],
    models: Choice,
    options: Options | None = None,
    audio: AudioOptions | None = None,
    limits: Limits = Limits(),
    mask: Holes | None = None,
    quality: int | None = None,
) -> Iterator[Result]:
    """Denoise every job; yield a Result for each as it is done.

    `models` is a Session, or a function that gives the one for a file's header, asked by one thread at a time.
    Where the noise of a picture is white it is asked for both, with `header.white` and without.
    `audio` says how recordings are written where not as they came, `limits` how large a file may be, and `quality`,
    1 to 100, how well JPEG, WebP and AVIF hold what was made.
    With `mask` the holes of a picture are filled and nothing else is touched.
    A job that fails yields a Result with its error, and the others go on. Raises UsageError for options
    the model does not know, NoSpaceError and UnavailableError where going on would only repeat the error.
    Closing the generator stops the run and leaves no partial file.
    """
    options = options or Options()
    workers = Workers(models, options)

    def work(job: Job, source: Source, sink: Sink) -> Result:
        if mask is not None:
            return _masked(job, source, sink, workers, options, mask)
        stream = _STREAMS.get(source.header.kind, _picture)
        return stream(job, source, sink, workers, options)

    # One file for each thread of the session, and one more being decoded or encoded meanwhile.
    hands = max(len(workers.threads), workers.batch or 1) + 1
    sinks = partial(media.open_sink, audio=audio, quality=quality)
    # A table has no magic number and its columns are the model's: only a model that is for tables finds one.
    card: ModelCard | None = getattr(models, "card", None)
    layout = card.layout if card else None
    sources = partial(media.open_source, layout=layout, limits=limits)
    yield from pipeline.each(
        jobs, work, hands, open_sink=sinks, open_source=sources, release=workers.stop, committing=workers.committing
    )


def array(x: np.ndarray, session: Choice, options: Options | None = None) -> np.ndarray:
    """Denoise one picture in memory: (C, H, W) float32 in [0, 1] -> the same, not clipped.

    Three channels are taken for RGB, any others each for itself. Raises InputError for what is no such array.
    """
    if x.ndim != 3 or len(x) > Limits().channels:
        raise InputError(f"a picture is (C, H, W), with at most {Limits().channels} channels, not {x.shape}")
    return signal(Signal(x, Header.picture(x.shape)), session, options)


def signal(noisy: Signal, session: Choice, options: Options | None = None) -> np.ndarray:
    """Denoise a file in memory as `run` would, frames and all: float32 of the shape of its data, not clipped.

    Raises InputError where there is nothing in it.
    """
    if noisy.data.size == 0:
        raise InputError(f"there is nothing in an array of {noisy.data.shape}")
    options = options or Options()
    workers = Workers(session, options)
    try:
        if noisy.header.kind == "audio":
            outputs = segments([noisy.data], noisy.header, workers, options)
            return np.concatenate([y for _, y in outputs], axis=1)
        if noisy.header.kind in TABULAR:
            missing = int(np.isnan(noisy.data).sum()) > noisy.extras.get("gaps", 0)
            impute = tabular.imputes(options, missing)
            outputs = tabular.rows([noisy.data], noisy.header, workers, options, impute)
            return np.concatenate([y for _, y in outputs], axis=1)
        height = noisy.header.length or 1
        frames = (noisy.data[:, top : top + height] for top in range(0, noisy.data.shape[1], height))
        with workers.sighted(noisy.header, frames) as (chosen, blocks):
            return np.concatenate([y for _, y in _windows(blocks, noisy.header, chosen, workers, options)], axis=1)
    finally:
        workers.stop()


def _picture(job: Job, source: Source, sink: Sink, workers: Workers, options: Options) -> Result:
    """Read, infer and write; noise and residual are in 8-bit steps."""
    before, after, removed = NoiseMeter(), NoiseMeter(), ResidualMeter()
    with workers.sighted(source.header, source.blocks()) as (session, blocks):
        verdict = Verdict(session.card, options)
        for x, y in _windows(blocks, source.header, session, workers, options):
            sink.write(y)
            before.add(x)
            after.add(y)
            removed.add(x[:, ::16], y[:, ::16])  # every 16th row is plenty for a mean
            verdict.add(x, y)
            del x, y  # before the next window is made
    name = session.card.name
    left = 0.0 if before.blank else after.std()  # what was black and white is so no more, and has no more noise
    result = Result(job, model=name, noise_before=before.std(), noise_after=left, residual=removed.rms())
    return verdict.on(result)


def _masked(job: Job, source: Source, sink: Sink, workers: Workers, options: Options, mask: Holes) -> Result:
    """Read a picture with holes, fill them, write."""
    if source.header.kind != "image":
        raise UsageError("--mask is for pictures")
    mask, session = mask.over(source.header, getattr(source, "orientation", 1)), workers.session(source.header)
    seen, top = mask.hidden(source.blocks(), holes.value(session.card)), 0
    for x, y in _windows(seen, source.header, session, workers, replace(options, strength=1.0)):
        sink.write(mask.filled(x, y, top))
        top += x.shape[1]
    return Result(job, model=session.card.name, filled=int(mask.missing.sum()))


def _recording(job: Job, source: Source, sink: Sink, workers: Workers, options: Options) -> Result:
    """Read, infer and write; the level of the noise is in dB of full scale."""
    rate = source.header.rate
    assert rate is not None, "a recording has a rate"
    before, after = LevelMeter(rate), LevelMeter(rate)
    card = workers.session(source.header).card
    verdict = Verdict(card, options)
    length = 0
    for x, y in segments(source.blocks(), source.header, workers, options):
        sink.write(y)
        before.add(x)
        after.add(y)
        verdict.add(x, y)
        length += x.shape[1]
        del x, y
    done = Result(job, size=length, model=card.name, noise_before=before.floor(), noise_after=after.floor())
    return verdict.on(done)


def _table(job: Job, source: Source, sink: Sink, workers: Workers, options: Options) -> Result:
    """Read, infer and write a table or a series."""
    card = workers.session(source.header).card  # a model for something else is refused before the file is read
    held = cast("TableSource", source)
    impute, filled = tabular.imputes(options, held.has_missing()), -held.gaps
    verdict = Verdict(card, options)
    # Whether a file is anomalous is told by what the model makes of the values that are known.
    for x, y in tabular.rows(source.blocks(), source.header, workers, options, impute and not options.flag):
        verdict.add(x, y)
        sink.write(tabular.imputed(x, y) if impute else y)
        filled += int(np.isnan(x).sum())
        del x, y
    return verdict.on(Result(job, model=card.name, filled=filled))


_STREAMS = {"audio": _recording, "table": _table, "series": _table}


def _windows(
    blocks: Iterable[np.ndarray], header: Header, session: Session, workers: Workers, options: Options
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (input, output) of consecutive rows, (C, n, W) each; the next windows are read meanwhile, if small."""
    assert header.length is not None, "a picture knows its height"
    card = session.card
    rows, columns = plan(header, card.halo, card.multiple, options.tile)
    blocks = iter(blocks)
    size = max(cut.high - cut.low for cut in rows) * header.width * header.channels
    held: deque[_Window] = deque()
    taken = 0  # windows that there is room for

    def serve(keep: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal taken
        while len(held) > keep:
            yield held.popleft().join(options.strength)
            workers.room.give(size)
            taken -= 1

    try:
        for _ in range(header.frames):
            windows = tiles.windows(blocks, rows)
            for _ in rows:
                if not (held and workers.room.take(size, wait=False)):
                    yield from serve(0)
                    workers.room.take(size, wait=True)
                taken += 1
                held.append(_Window(*next(windows), header, columns, session, workers))
                yield from serve((BUSY * len(workers.threads) - 1) // len(held[-1].tiles))
        yield from serve(0)
    finally:
        workers.room.give(size * taken)
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


def spread(header: Header, card: ModelCard, options: Options) -> int:
    """Threads for each tile of a file that is the only one: all, where it has one tile."""
    if header.kind != "image" or header.length is None:
        return 1
    rows, columns = plan(header, card.halo, card.multiple, options.tile)
    samples = sum(1 if len(group) == card.channels else len(group) for group in header.groups)
    return max(1, threads_of(options) // (len(rows) * len(columns) * samples * header.frames))


class _Window:
    """The tiles of one row window, on their way through the session; workers write their results into `y`."""

    def __init__(
        self,
        cut: tiles.Cut,
        data: np.ndarray,
        header: Header,
        columns: list[tiles.Cut],
        session: Session,
        workers: Workers,
    ):
        self.x = data[:, cut.keep]
        self.y = np.empty(self.x.shape, np.float32)
        self.tiles = []
        for group in header.groups:
            first, last = group[0], group[-1] + 1  # consecutive, so that slices do and nothing is copied
            for column in columns:
                target = self.y[first:last, :, column.start : column.stop]
                read = data[first:last, :, column.read]
                self.tiles += workers.start(session, read, target, cut.keep, column.keep)

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
