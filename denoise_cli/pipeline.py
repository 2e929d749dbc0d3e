"""Many files through one function: a few threads, a file each, and the one boundary for their errors.

`run` and `corrupt` differ only in what they do between a Source and a Sink.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace

from denoise_cli import media
from denoise_cli.errors import DenoiseError, NoSpaceError, UnavailableError, UsageError
from denoise_cli.media.files import Job
from denoise_cli.signal import Kind, Sink, Source


@dataclass(frozen=True)
class Result:
    """What became of one job. Noise and residual are in 8-bit steps, or dB of full scale; None: not measured."""

    job: Job
    seconds: float = 0.0
    kind: Kind = "image"
    size: int = 0  # pixels, all frames together; samples of a channel; rows of a table
    duration: float | None = None  # seconds that a recording lasts
    noise_before: float | None = None  # estimated standard deviation, or level of the noise
    noise_after: float | None = None
    residual: float | None = None  # rms of what was taken away
    model: str = ""  # by name; "": none
    clipped: float | None = None  # share of the samples of a recording that lay beyond full scale, and were cut
    left: tuple[str, ...] = ()  # what the output's format did not take along of the input, by name
    filled: int | None = None  # missing values of a table that were replaced
    score: float | None = None  # mean squared difference of input and output, where anomalies are flagged
    anomaly: bool | None = None  # whether that is above the model's threshold
    error: str | None = None  # one line; None: done


class Stopped(Exception):
    """Raised inside threads when the run is being ended."""


Work = Callable[[Job, Source, Sink], Result]


def each(
    jobs: Iterable[Job],
    work: Work,
    hands: int,
    *,
    open_sink: Callable[..., Sink] = media.open_sink,
    open_source: Callable[[Job], Source] = media.open_source,
    release: Callable[[], None] = lambda: None,
    committing: Callable[[Sink], AbstractContextManager[object]] = nullcontext,
) -> Iterator[Result]:
    """Call ``work(job, source, sink)`` for every job on `hands` threads; yield Results as they come.

    A job that fails yields a Result with its error, and the others go on; NoSpaceError, UnavailableError
    and UsageError (an empty stdin) end the run, for they would only repeat. Closing the generator ends it too:
    `release` is called to free threads that wait for something, a sink that has ``cancel`` need not finish, and
    when all threads have ended no partial file is left. A sink is committed within `committing`.
    """
    todo, lock = iter(jobs), threading.Lock()
    done: queue.Queue[Result | BaseException | None] = queue.Queue()
    stop = threading.Event()
    sinks: set[Sink] = set()  # those that are open

    def hand() -> None:
        try:
            while not stop.is_set():
                with lock:
                    job = next(todo, None)
                if job is None:
                    break
                done.put(_one(job, work, open_sink, open_source, committing, sinks, stop))
        except Stopped:
            pass
        except BaseException as error:
            done.put(error)
        finally:
            done.put(None)

    threads = [threading.Thread(target=hand, daemon=True) for _ in range(hands)]
    for thread in threads:
        thread.start()
    try:
        running = len(threads)
        while running:
            item = done.get()
            if item is None:
                running -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item
    finally:
        stop.set()
        release()
        for thread in threads:
            while thread.is_alive():
                for sink in tuple(sinks):
                    if cancel := getattr(sink, "cancel", None):
                        cancel()
                thread.join(0.1)


def _one(
    job: Job,
    work: Work,
    open_sink: Callable[..., Sink],
    open_source: Callable[[Job], Source],
    committing: Callable[[Sink], AbstractContextManager[object]],
    sinks: set[Sink],
    stop: threading.Event,
) -> Result:
    """One file from opening to renaming."""
    began = time.perf_counter()
    try:
        with closing(open_source(job)) as source:
            sink = open_sink(job, source)
            sinks.add(sink)
            try:
                result = work(job, source, sink)
                with committing(sink):
                    if stop.is_set():
                        raise Stopped
                    sink.commit()
            finally:
                sinks.discard(sink)
                sink.discard()
            header = source.header
            size = result.size or header.size or 0  # of a stream only its end tells the length
            return replace(
                result,
                seconds=time.perf_counter() - began,
                kind=header.kind,
                size=size,
                duration=size / header.rate if header.rate else None,
                clipped=getattr(sink, "clipped", None),
                left=tuple(getattr(sink, "left", ())),
            )
    except (Stopped, NoSpaceError, UnavailableError, UsageError, BrokenPipeError):
        raise
    except DenoiseError as error:
        return Result(job, time.perf_counter() - began, error=str(error))
    except Exception as error:  # decoders raise anything; this file is named, the others go on
        return Result(job, time.perf_counter() - began, error=media.describe(error))
