"""Worker threads, one a core, that put waiting tiles through their models.

file threads  --submit-->  waiting tiles  --batches of equal shape-->  session  --deliver-->  file threads
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace

import numpy as np

from denoise_cli import ensemble, sight, tiles
from denoise_cli.card import ModelCard
from denoise_cli.errors import InputError, ModelError, OutOfMemory, UsageError
from denoise_cli.pipeline import Stopped
from denoise_cli.session import Session
from denoise_cli.signal import Header, Sink

TILE = 1120  # side of the largest tile by default: about 170 MB of activations a thread
# A picture larger than this is read in windows of rows, one or two of which are in memory, with their results, so
# its tiles are smaller. With two threads the whole process then stays under 700 MB.
WINDOW = 28_000_000  # samples, halo and channels counted
SIGHT = 1 << 20  # pixels at the top of a picture by which its model is chosen, where there are several
NOUNS = {"image": "pictures", "audio": "recordings", "table": "tables", "series": "series"}


@dataclass(frozen=True)
class Options:
    """How to run; `batch` and `threads` never change the result, `tile` at most by 0.01 of an 8-bit step."""

    strength: float = 1.0  # 0 leaves the input, 1 is all the model gives
    std: float | None = None  # noise level told to the model, 8-bit steps
    ensemble: int = 1  # pictures: mean over so many mirrored and turned copies, at as many times the cost
    tile: int = TILE  # side of a square tile, pixels; tiles of other shapes have its area
    batch: int | None = None  # tiles a call; default 1 on a processor, 8 on a GPU
    threads: int | None = None  # default: the cores this process may use
    link: bool = True  # recordings: one mask for all channels, so that the stereo image stays
    atten_lim: float | None = None  # recordings: noise is lowered by at most so many dB
    gentle: bool = False  # recordings, no atten_lim: as far as the voice asks for, see gentle.py; the commands' way
    impute: bool | None = None  # tables: only missing values are replaced; None: where there are any
    flag: bool = False  # measure how well the model gives each file back, and mark those it does not

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UsageError(f"--strength must be in 0..1, not {self.strength:g}")
        if self.std is not None and not 0 <= self.std <= 255:
            raise UsageError(f"--std must be in 0..255, not {self.std:g}")
        if self.atten_lim is not None and not self.atten_lim >= 0:
            raise UsageError(f"--atten-lim must be at least 0 dB, not {self.atten_lim:g}")
        if self.ensemble not in ensemble.SIZES:
            raise UsageError(
                f"--ensemble must be one of {', '.join(map(str, ensemble.SIZES))}, not {self.ensemble}"
            )
        if self.flag and (self.strength != 1 or self.ensemble > 1 or self.atten_lim is not None or self.gentle):
            raise UsageError(
                "--flag-anomalies judges the model as it is: leave --strength, --ensemble and --atten-lim out"
            )
        for name, low, high in (("tile", 64, 1 << 16), ("batch", 1, 4096), ("threads", 1, 512)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"--{name} must be in {low}..{high}, not {value}")

    @property
    def sigma(self) -> float | None:
        """`std` as a session takes it, in [0, 1]."""
        return None if self.std is None else self.std / 255

    def check(self, card: ModelCard) -> None:
        """Raise UsageError, or ModelError for a threshold that is missing, where a model does not go with them."""
        if self.std is not None and not card.noise_input:
            raise UsageError(
                f'model "{card.name}" is blind: it finds the noise level itself; leave --std out, see --strength'
            )
        if self.std is None and card.noise_input and not card.noise_optional:
            raise UsageError(f'model "{card.name}" must be told the noise level: give --std')
        if self.flag and not card.anomaly:
            form = "" if card.precision == "float" else f" in {card.precision}, a file of its own"
            raise ModelError(
                f'model "{card.name}" has no threshold for anomalies{form}; '
                "denoise eval --anomaly --store gives it one"
            )
        if self.flag and self.std != (told := card.anomaly.get("std")):
            how = "no --std" if told is None else f"--std {told}"
            raise UsageError(f'the threshold of model "{card.name}" was found with {how}: judge with that')


def threads_of(options: Options) -> int:
    if options.threads:
        return options.threads
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


Choice = Session | Callable[[Header], Session]  # one for every file, or which one for a file


@dataclass(frozen=True)
class Tile:
    """One sample for a model, and where its result goes."""

    session: Session
    x: np.ndarray  # (C, H, W), (C, T), or (rows, C) of a table, float32; T on the model's grid
    deliver: Callable[[np.ndarray], None]  # called with the result, of x's shape, in a worker thread
    done: Future[None] = field(default_factory=Future)

    def goes_with(self, other: Tile) -> bool:
        return self.session is other.session and self.x.shape == other.x.shape


@dataclass(frozen=True)
class _Into:
    """Puts a result of a model where it belongs."""

    target: np.ndarray  # a view of the output, (c, h, w)
    card: ModelCard
    channels: int  # of the group
    rows: slice  # of the result
    columns: slice

    def __call__(self, y: np.ndarray) -> None:
        self.target[...] = self.card.lower(y[:, self.rows, self.columns], self.channels)


class Room:
    """How many samples of windows may be in memory at once, over all files: a folder of large photographs is many.

    Whoever holds none is always let in at last, for others hold only while they are served; whoever holds some must
    not wait for more, but go on with what there is.
    """

    def __init__(self, samples: int):
        self._samples, self._taken = samples, 0
        self._alone = 0  # who wait for all of it
        self._changed = threading.Condition()
        self._closed = False

    def take(self, samples: int, *, wait: bool) -> bool:
        """Take room for so many; alone, one may take any number. Raises Stopped where the run has ended."""
        with self._changed:
            while not self._closed and (
                (self._taken and samples > self._samples - self._taken) or (wait and self._alone)
            ):
                if not wait:
                    return False
                self._changed.wait()
            if self._closed:
                raise Stopped
            self._taken += samples
            return True

    def give(self, samples: int) -> None:
        with self._changed:
            self._taken -= samples
            self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have all of it, once those who hold some have given it back. Raises Stopped where the run has ended."""
        with self._changed:
            self._alone += 1
            while self._taken and not self._closed:
                self._changed.wait()
            self._alone -= 1
            if self._closed:
                raise Stopped
            self._taken = self._samples
        try:
            yield
        finally:
            self.give(self._samples)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _after(first: Callable[[], None], blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks, and once they are asked for, `first` before them."""
    first()
    yield from blocks


class Workers:
    """N threads that batch waiting tiles of one model and of equal shape into one call of its session."""

    def __init__(self, models: Choice, options: Options):
        self._options = options
        self._checked: list[Session] = []
        self._opening = threading.Lock()
        if hasattr(models, "card"):
            only: Session = models  # type: ignore[assignment]
            self._check(only)
            self._models: Callable[[Header], Session] = lambda header: only
        else:
            self._models = models
        self._choosing = self._models is models  # which model serves depends on the file
        self.batch = options.batch  # None: by the device of the model
        threads = threads_of(options)
        # A window holds tiles for several threads; the next one may be read meanwhile.
        self.room = Room(WINDOW * (threads + 1) // 2)
        self.sights = Room(WINDOW)  # of pictures that were looked at and whose windows wait for theirs
        self.waiting: deque[Tile] = deque()
        self.changed = threading.Condition()
        self.stopped = False
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def session(self, header: Header) -> Session:
        """The model for a file; opened on first use.

        Raises UsageError where none ships or it does not go with the options, InputError where it is for others.
        """
        with self._opening:
            session = self._models(header)
            self._check(session)
        if session.card.kind != header.kind:
            what = f'model "{session.card.name}" is for {NOUNS[session.card.kind]}, not for {NOUNS[header.kind]}'
            raise InputError(what)
        return session

    @contextmanager
    def sighted(
        self, header: Header, blocks: Iterable[np.ndarray]
    ) -> Iterator[tuple[Session, Iterator[np.ndarray]]]:
        """The model for a picture, whose noise is looked at where there are several; and its blocks, (C, n, W).

        Of several frames each may have noise of its own: they get the model for any. What was read to be looked at
        waits in memory until the blocks are asked for; Stopped is raised where the run ends before there is room.
        """
        if not self._choosing or header.frames > 1:
            yield self.session(header), iter(blocks)
            return
        assert header.length is not None, "a picture knows its height"
        size = min(header.length * header.width * header.channels, WINDOW)
        self.sights.take(size, wait=True)
        with ExitStack() as held:
            held.callback(self.sights.give, size)
            rows = min(header.length, -(-SIGHT // header.width))
            seen, blocks = tiles.peek(blocks, rows)
            yield self._suited(header, seen), _after(held.close, blocks)

    def _suited(self, header: Header, seen: np.ndarray) -> Session:
        """The model for a picture of which these rows, (C, n, W), have been seen."""
        stds = sight.white(seen, header.groups)
        if stds is None:
            return self.session(header)
        headers = header, replace(header, white=True)
        models = [self.session(each) for each in headers]
        if models[0] is models[1]:
            return models[0]
        return self.session(headers[sight.better(seen, header.groups, stds, models, self._compute)])

    def _compute(self, session: Session, x: np.ndarray) -> np.ndarray:
        """What a model makes of (C, H, W), one group of channels: little, so the thread that asks does it at once.

        Behind the tiles of other pictures it would wait, and the threads then for the tiles of this one.
        """
        y = np.empty(x.shape, np.float32)
        for which, sample in session.card.lift(x):
            y[which] = session.card.lower(session(sample[None], self._options.sigma)[0], len(x))
        return y

    def _check(self, session: Session) -> None:
        if session not in self._checked:
            self._options.check(session.card)
            self._checked.append(session)

    def committing(self, sink: Sink) -> AbstractContextManager[None]:
        """While a picture is encoded that takes as much memory as windows do, there are none."""
        return self.room.alone() if getattr(sink, "hungry", False) else nullcontext()

    def start(
        self,
        session: Session,
        x: np.ndarray,
        y: np.ndarray,
        rows: slice = slice(None),
        columns: slice = slice(None),
    ) -> list[Tile]:
        """Put (C, H, W), one group of channels, through a model; `rows` and `columns` of the result go into `y`."""
        started = []
        for which, sample in session.card.lift(x):
            started.append(Tile(session, sample, _Into(y[which], session.card, len(x), rows, columns)))
            self.submit(started[-1])
        return started

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
            taken = [first := self.waiting.popleft()]
            batch = self.batch or (8 if first.session.on_gpu else 1)
            while self.waiting and len(taken) < batch and first.goes_with(self.waiting[0]):
                taken.append(self.waiting.popleft())
            return taken

    def _work(self) -> None:
        while taken := self._take():
            self._serve(taken)
            del taken  # a thread that waits must hold no tile, which would keep its whole window in memory

    def _serve(self, taken: list[Tile]) -> None:
        try:
            for tile, y in zip(taken, self._infer(taken), strict=True):
                tile.deliver(y)
                tile.done.set_result(None)
                del y
        except Exception as error:  # whoever waits for the tile shall have it
            for tile in taken:
                if not tile.done.done():
                    tile.done.set_exception(error)

    def _infer(self, taken: list[Tile]) -> list[np.ndarray]:
        session = taken[0].session
        x = taken[0].x[None] if len(taken) == 1 else np.stack([tile.x for tile in taken])
        try:
            if session.card.kind == "table":  # a tile is rows already
                return [session(tile.x) for tile in taken]
            if session.card.kind in ("audio", "series"):
                return list(session(x, self._options.sigma))
            size, sigma = self._options.ensemble, self._options.sigma
            return list(ensemble.mean(lambda copy: session(copy, sigma), x, session.card.multiple, size))
        except OutOfMemory:
            if len(taken) == 1:
                raise
            half = self.batch = len(taken) // 2  # for the rest of the run too
            return self._infer(taken[:half]) + self._infer(taken[half:])

    def stop(self) -> None:
        """End the threads, in the midst of a call where the session can; tiles still waiting fail with Stopped."""
        self.room.close()
        self.sights.close()
        with self.changed:
            self.stopped = True
            for tile in self.waiting:
                tile.done.set_exception(Stopped())
            self.waiting.clear()
            self.changed.notify_all()
        for thread in self.threads:
            while thread.is_alive():
                for session in list(self._checked):
                    if cancel := getattr(session, "cancel", None):
                        cancel(each.ident for each in self.threads)
                thread.join(0.1)
