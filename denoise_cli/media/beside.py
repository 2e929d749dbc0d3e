"""Write beside, then rename: a path holds a whole file or nothing, whoever is killed and whenever.

    target.png <--rename-- .denoise-<hash of the name>.part <--flush, fsync-- what was written

The name of the part is fixed, so that the run after a killed one takes up the leftover instead of adding to it.
A lock tells a leftover from the work of a live process; where one is at work, the next gets a part of its own,
both finish, and the last rename wins with a whole file.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

from denoise_cli.errors import DenoiseError, InputError, NoSpaceError, OutputError, UsageError, printable

PART_PREFIX, PART_SUFFIX = ".denoise-", ".part"
COPIED = 1 << 20  # bytes at once
PARTS = 100  # live processes on one target; nobody has that many


class Target(Protocol):
    """Where a sink puts its bytes. Readable too: some formats patch what they wrote."""

    name: str  # for messages, on one line
    folder: Path | None  # where a spool may lie so that it fills the same disk; None: anywhere
    file: BinaryIO

    def fileno(self) -> int: ...
    def commit(self) -> None: ...
    def discard(self) -> None: ...


class Replacing:
    """A file that takes its target's place on ``commit``. A link at the target is replaced, not followed.

    Others may do with it what they may with the file in its place, or, in a place that is free, with the file
    `like`, as far as the umask lets them. Its times are those of the run.
    """

    def __init__(self, target: Path, like: BinaryIO | None = None):
        self.name = printable(target)
        self.folder: Path | None = target.parent
        self._target = target
        with _reported(self.name):
            if target.is_dir() and not target.is_symlink():
                raise IsADirectoryError(errno.EISDIR, "is a folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            with _changing:
                self._part, descriptor = _open_part(target)
                _restrict(descriptor, target, like)  # before a byte is in it
                self.file: BinaryIO = os.fdopen(descriptor, "r+b")
                _open.add(self)

    def __enter__(self) -> Replacing:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        """Raise OutputError, with the name, for what the system refused while it was written."""
        self.discard()
        if isinstance(error, OSError):
            with _reported(self.name):
                raise error

    def fileno(self) -> int:
        return self.file.fileno()

    def commit(self) -> None:
        """Flush to the disk, rename; raises OutputError, and then ``discard`` is still to be called."""
        with _reported(self.name):
            self.file.flush()
            os.fsync(self.file.fileno())
            with _changing:
                self._part.replace(self._target)
                _open.discard(self)
            self.file.close()
            _sync_folder(self._target.parent)

    def discard(self) -> None:
        if self.file.closed:
            return
        with _changing:
            self._part.unlink(missing_ok=True)  # under the lock, so it is ours
            _open.discard(self)
        _close(self.file)


_open: set[Replacing] = set()
_changing = threading.Lock()  # held while a part comes, takes its target's place, or goes


def abandon() -> None:
    """Remove all parts that are open, right before the process ends with threads that still write to them.

    From here on none of those threads makes a part, or puts one in its target's place: the lock is kept.
    """
    _changing.acquire(timeout=1)  # whoever has it may be stuck in a file system
    for target in tuple(_open):
        with suppress(OSError, ValueError):
            if _still_named(target.fileno(), target._part):
                target._part.unlink()


class Stdout:
    """Standard output as a target: kept in an unnamed file until it is whole, since a pipe cannot be patched."""

    name = "standard output"
    folder: Path | None = None

    def __init__(self, stream: IO[bytes] | None = None):
        if stream is None:
            if sys.stdout is None:
                raise UsageError("standard output is closed")
            stream = sys.stdout.buffer
        if stream.isatty():
            raise UsageError("binary data are not written to a terminal; use -o FILE or a pipe")
        self._stream = stream
        with _reported(self.name):
            self.file: BinaryIO = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115

    def fileno(self) -> int:
        return self.file.fileno()

    def commit(self) -> None:
        """Copy to the stream; a BrokenPipeError is the caller's, who ends quietly."""
        with _reported(self.name):
            self.file.seek(0)
            shutil.copyfileobj(self.file, self._stream, 1 << 20)
            self._stream.flush()
            self.file.close()

    def discard(self) -> None:
        _close(self.file)


def open_input(path: Path | None) -> BinaryIO:
    """Open a source for reading, seekable; None is standard input, copied to an unnamed file first.

    Raises
    ------
    InputError
        There is no such file any more, or it may not be read, or became a pipe since it was found.
    UsageError
        Standard input is closed, empty or a terminal.
    """
    if path is None:
        return _open_stdin()
    try:
        # Non-blocking, since a pipe that took the file's place would wait for a writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise InputError(f"{printable(path)}: no such file") from error
    except OSError as error:
        raise InputError(f"{printable(path)}: {(error.strerror or str(error)).lower()}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{printable(path)}: not a regular file")
    return os.fdopen(descriptor, "rb")


def _open_stdin() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("standard input is closed")
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal; name a file, or pipe one in")
    file = spool(sys.stdin.buffer)
    if not os.fstat(file.fileno()).st_size:
        file.close()
        raise UsageError("standard input is empty")
    return file


def spool(stream: IO[bytes]) -> BinaryIO:
    """Copy a pipe into an unnamed file that can be sought."""
    with _reported(tempfile.gettempdir()):
        file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
        shutil.copyfileobj(stream, file, 1 << 20)
        file.seek(0)
        return file


def copy(source: BinaryIO, start: int, size: int, target: BinaryIO) -> None:
    """So many bytes of one file to where another stands; OSError where they are no longer there."""
    source.seek(start)
    while size:
        data = source.read(min(size, COPIED))
        if not data:
            raise OSError("the input has shrunk while it was read")
        target.write(data)
        size -= len(data)


def full_disk(error: BaseException) -> bool:
    """Whether an error means that no space is left; codecs only pass the text on."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)


@contextmanager
def writing(target: Target, reason: Callable[[Exception], str]) -> Iterator[None]:
    """Turn whatever an encoder raises into one OutputError that tells the `reason`; a closed pipe passes."""
    try:
        yield
    except (DenoiseError, BrokenPipeError):
        raise
    except Exception as error:
        if full_disk(error):
            raise NoSpaceError(f"no space left on device: {target.name}") from error
        raise OutputError(f"{target.name}: {reason(error)}") from error


def _open_part(target: Path) -> tuple[Path, int]:
    """Open, lock and empty the first part of this target that no live process works on."""
    digest = hashlib.blake2b(os.fsencode(target.name), digest_size=8).hexdigest()
    for n in range(PARTS):
        part = target.with_name(f"{PART_PREFIX}{digest}{f'.{n}' if n else ''}{PART_SUFFIX}")
        while True:
            # No truncation yet: the file may be someone's. O_NOFOLLOW: nor may a planted link lead us elsewhere.
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            if not _lock(descriptor):
                os.close(descriptor)
                break
            if _still_named(descriptor, part):
                os.ftruncate(descriptor, 0)
                return part, descriptor
            os.close(descriptor)  # its owner renamed or removed it between our open and our lock
    raise FileExistsError(errno.EEXIST, "too many processes write this file at once")


def _restrict(descriptor: int, target: Path, like: BinaryIO | None) -> None:
    with suppress(OSError):  # a file system without modes
        old = target.lstat() if os.path.lexists(target) else None
        if old is not None and stat.S_ISREG(old.st_mode):
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode) & 0o777)
        elif like is not None:
            allowed = os.fstat(like.fileno()).st_mode | stat.S_IRUSR | stat.S_IWUSR
            os.fchmod(descriptor, os.fstat(descriptor).st_mode & allowed & 0o777)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: two processes at once are then on their own
        return True
    return True


def _still_named(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    """Make the rename itself last through a power cut, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _close(file: BinaryIO) -> None:
    with suppress(OSError):  # on a full disk closing tries to flush once more
        file.close()


@contextmanager
def _reported(name: str) -> Iterator[None]:
    """Turn what the system refuses into one OutputError; a closed pipe is no error of ours."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if full_disk(error):
            raise NoSpaceError(f"no space left on device: {name}") from error
        raise OutputError(f"{name}: {(error.strerror or str(error)).lower()}") from error
