"""libsndfile through soundfile, set up so that it reads to the end, writes the same bytes again and keeps quiet.

The only import of soundfile. Frames go straight through ``sf_readf_float`` and its like: ``SoundFile.read`` seeks
after every block, and after a seek in an MP3 of 16 or 22 kHz whole frames come out wrong, by up to 0.3.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any, BinaryIO

import numpy as np

from denoise_cli.errors import BackendError
from denoise_cli.media.chunks import Head
from denoise_cli.media.containers import Plan

try:
    import soundfile
except (ImportError, OSError) as error:  # OSError: it came without libsndfile, and the system has none
    raise BackendError("recordings need soundfile, which is not available; run: pip install soundfile") from error

SET_ADD_PEAK_CHUNK, RF64_AUTO_DOWNGRADE = 0x1050, 0x1210  # commands that soundfile does not name
UNKNOWN = 1 << 62  # frames; libsndfile says 2^63 - 1 where a FLAC does not tell
ENDLESS = 1 << 40  # bytes
PLAIN = {  # what libsndfile says -> what it means where the file was open already
    "Unspecified internal error": "damaged or cut short",
    "File does not exist or is not a regular file (possibly a pipe?)": "no sound found in it",
}

_lib, _ffi = soundfile._snd, soundfile._ffi


class Port:
    """A file as libsndfile sees it, with a position of its own.

    An exception cannot pass through C: it would be printed and lost. It is kept for ``check``.

    Parameters
    ----------
    head
        Read in place of the first bytes.
    base
        Where in the file that begins which libsndfile sees.
    endless
        Feign a size that no decoder takes for the end, and zeros behind the true one, where tags may be looked for.
    """

    def __init__(self, file: BinaryIO, head: Head | None = None, *, base: int = 0, endless: bool = False):
        self._file, self._head, self._endless = file, head or Head(), endless
        self._shift = base + self._head.skip - len(self._head.data)  # from our positions to the file's
        self._position = 0
        self._error: Exception | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            origin = self._end() if whence == os.SEEK_END else self._position if whence == os.SEEK_CUR else 0
        except Exception as error:
            self._error = self._error or error
            return -1
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, count: int) -> bytes:
        try:
            data = self._read(count)
        except Exception as error:
            self._error = self._error or error
            return b""
        self._position += len(data)
        return data

    def write(self, data: bytes) -> int:
        try:
            self._file.seek(self._position + self._shift)
            self._file.write(data)
        except Exception as error:
            self._error = self._error or error
            return 0
        self._position += len(data)
        return len(data)

    def open(self, *args: Any, **options: Any) -> Any:
        """Open a ``SoundFile`` on this port."""
        try:
            return soundfile.SoundFile(self, *args, **options)
        finally:
            self.check()  # the cause itself, rather than what libsndfile makes of it

    def check(self) -> None:
        """Raise what went wrong below libsndfile."""
        if self._error is not None:
            raise self._error

    def _read(self, count: int) -> bytes:
        if start := self._head.data[self._position : self._position + count]:
            return start
        self._file.seek(self._position + self._shift)
        data = self._file.read(count)
        if not data and self._endless and self._position > self._size():
            return bytes(count)
        return data

    def _size(self) -> int:
        return self._file.seek(0, os.SEEK_END) - self._shift

    def _end(self) -> int:
        return self._size() + (ENDLESS if self._endless else 0)


class Reader:
    """A recording as frames, strictly from its beginning to its end."""

    def __init__(self, port: Port, *, noisy: bool):
        self._port, self._noisy = port, noisy
        with _quiet(noisy):
            self._sound = port.open("r")
        self.major: str = self._sound.format
        self.subtype: str = self._sound.subtype
        self.endian: str = self._sound.endian
        self.channels: int = self._sound.channels
        self.rate: int = self._sound.samplerate
        self.frames: int = self._sound.frames
        self.tags: dict[str, str] = self._sound.copy_metadata()

    def read(self, frames: int) -> np.ndarray:
        """Return the next (n, C) float32 frames, fewer than asked for at the end only."""
        rows = np.empty((frames, self.channels), np.float32)
        with _quiet(self._noisy):
            count = _lib.sf_readf_float(self._sound._file, _ffi.cast("float *", rows.ctypes.data), frames)
        self._port.check()
        if count < frames and (code := _lib.sf_error(self._sound._file)):
            raise soundfile.LibsndfileError(code)
        return rows[:count]

    def close(self) -> None:
        with _quiet(self._noisy):
            self._sound.close()


class Writer:
    """A recording in the making; `quality` is soundfile's."""

    def __init__(
        self, port: Port, plan: Plan, channels: int, endian: str, tags: Mapping[str, str], quality: dict[str, Any]
    ):
        self._port = port
        if not soundfile.check_format(plan.major, plan.subtype, endian):
            endian = "FILE"
        self._sound = port.open("w", plan.rate, channels, plan.subtype, endian, plan.major, **quality)
        if plan.major != "RF64":  # which has none, unless this command is sent
            self._command(SET_ADD_PEAK_CHUNK, False)  # it holds the time of day
        if plan.downgrade:
            self._command(RF64_AUTO_DOWNGRADE, True)
        for name, text in tags.items():
            setattr(self._sound, name, text)

    def write(self, frames: np.ndarray) -> None:
        """Append (n, C) frames: float32, or int32 whose full scale is 2^31 whatever the depth of the file."""
        frames = np.ascontiguousarray(frames)
        write, kind = (
            (_lib.sf_writef_float, "float *") if frames.dtype == np.float32 else (_lib.sf_writef_int, "int *")
        )
        count = write(self._sound._file, _ffi.cast(kind, frames.ctypes.data), len(frames))
        self._port.check()
        if count < len(frames):
            raise soundfile.LibsndfileError(_lib.sf_error(self._sound._file))

    def close(self) -> None:
        """Let the codec write the rest, and the sizes into the header."""
        self._sound.close()
        self._port.check()

    def drop(self) -> None:
        with suppress(Exception):
            self._sound.close()

    def _command(self, command: int, value: bool) -> None:
        _lib.sf_command(self._sound._file, command, _ffi.NULL, int(value))


def reason(error: Exception) -> str:
    """Return one line: what libsndfile says, ``Error : flac decoder lost sync.``, without its trimmings."""
    if isinstance(error, soundfile.LibsndfileError):
        said = error.error_string.strip().removeprefix("Error : ").rstrip(".")
        text = f"codec error: {PLAIN.get(said, said)}"
    else:
        text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].encode("unicode_escape").decode("ascii")


_lock, _depth, _kept = Lock(), 0, 0


@contextmanager
def _quiet(noisy: bool) -> Iterator[None]:
    """Keep the MP3 decoder from writing to stderr, and nobody else.

    Another descriptor 2 would swallow what other threads say meanwhile. The decoder writes by way of the stream of
    the C library, which Python does not use: that one is exchanged, where the library is known to allow it.
    """
    stream = _c_stderr() if noisy else None
    if stream is None:
        yield
        return
    global _depth, _kept
    with _lock:
        if _depth == 0:
            _kept, stream.value = stream.value or 0, _nowhere()
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                stream.value = _kept


def _c_stderr() -> ctypes.c_void_p | None:
    if "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}):
        return None
    return ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stderr")


def _nowhere() -> int | None:
    global _sink
    if _sink is None:
        fopen = ctypes.CDLL(None).fopen
        fopen.restype, fopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p] * 2
        _sink = fopen(os.devnull.encode(), b"w")
    return _sink


_sink: int | None = None
