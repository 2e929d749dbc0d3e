"""Standard streams and signals of the process, which nobody promises us to be in order."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType

PATIENCE = 1.0  # seconds that threads get to end in order after a signal


class Terminated(BaseException):
    """SIGTERM arrived."""


@contextmanager
def held() -> Iterator[None]:
    """Everything below, for the time of a command."""
    _fill_gaps()
    with ExitStack() as stack:
        if sys.stderr is None:  # closed by whoever started us
            sys.stderr = stack.enter_context(Path(os.devnull).open("w"))
            stack.callback(setattr, sys, "stderr", None)
        else:
            stack.enter_context(_libraries_silenced())
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            if number == signal.SIGTERM or before != signal.SIG_IGN:  # a shell ignores it for its background
                signal.signal(number, _end)
                stack.callback(signal.signal, number, before)
        yield


def to_nowhere() -> None:
    """Let what stdout still holds, and Python would write at its exit, go nowhere."""
    if sys.stdout is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second signal kills
    if _impatient:
        signal.signal(signal.SIGALRM, partial(_end_late, number))
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _end_late(number: int, alarm: int, frame: FrameType | None) -> None:
    global _late
    _late = True
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


_impatient = False  # whether threads are at work that may not end when they are told to
_late = False  # they have not


@contextmanager
def impatient() -> Iterator[None]:
    """Threads at work in here are waited for after a signal, but not for long; see `leave_if_late`.

    An encoder of one long call cannot be stopped, nor a thread that reads from a pipe. So the one who waits, the
    main thread, is interrupted once more.
    """
    global _impatient
    _impatient, before = True, signal.getsignal(signal.SIGALRM)
    try:
        yield
    finally:
        _impatient = False
        if signal.getsignal(signal.SIGALRM) != before:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def leave_if_late(code: int) -> None:
    """End the process at once where threads were left at work, without a partial file.

    An interpreter that ends in order does not get on with such threads. One that comes back from a codec meanwhile
    is taken down below frames of C or C++, which aborts; one that reads stdin, or writes stdout, holds a lock
    without which the interpreter aborts itself, or waits. So nothing of that is done, and what stdout still holds
    is lost: the line on stderr has been written.
    """
    if _late:
        from denoise_cli.media import beside

        try:
            beside.abandon()
        finally:
            os._exit(code)


def _fill_gaps() -> None:
    """Open the descriptors 0, 1, 2 that are closed: the next file would get them, and a C library writes to 2."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free


@contextmanager
def _libraries_silenced() -> Iterator[None]:
    """Send what C libraries write to descriptor 2 nowhere, and what Python writes where it went before."""
    said = sys.stderr
    try:
        ours = said.fileno() == 2 and not os.environ.get("DENOISE_DEBUG")
    except (OSError, ValueError):  # no file at all, in a test
        ours = False
    if not ours:
        yield
        return
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = os.fdopen(kept, "w", encoding=said.encoding, errors=said.errors, buffering=1)
    try:
        yield
    finally:
        with suppress(OSError):
            sys.stderr.flush()
        os.dup2(kept, 2)
        with suppress(OSError):
            sys.stderr.close()
        sys.stderr = said
