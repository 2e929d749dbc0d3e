"""Stacks of pictures in one array file: MNIST's idx, also gzipped, and numpy's .npz and .npy.

    train-images-idx3-ubyte(.gz)   two zero bytes, a type, the number of axes; the sizes, big-endian; the values
    train-images.idx(.gz)          the same
    mnist.npz                      arrays by name: x_train is trained on, x_test is for eval
    mnist.npz:x_test               one of them, by its name

A header is believed only where the data that follow are as long as it says. Nothing is ever unpickled.
After: LeCun, Cortes, Burges, "The MNIST database", section on the idx format; numpy.lib.format.
"""

from __future__ import annotations

import gzip
import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from denoise_cli import memory
from denoise_cli.errors import InputError, UsageError, first_line, printable
from denoise_cli.media import npy
from denoise_cli.media.beside import open_input
from denoise_cli.signal import Header

Use = Literal["train", "test"]

# train-images-idx3-ubyte, train-images.idx3-ubyte.gz, train-images.idx; no number, no dash: that may be a folder
IDX = re.compile(r".*([.-]idx\d(-ubyte)?|\.idx(-ubyte)?)(\.gz)?", re.I)
GZIP = b"\x1f\x8b"
UBYTE = 8  # idx's number for bytes without a sign, the only values that pictures have
SIDE = 1 << 15  # pixels: the largest side of a picture in a stack
CHUNK = 1 << 20


@dataclass(frozen=True)
class Stack:
    """Pictures of one size: `pixels` is (N, C, H, W) uint8, with C 1 or 3; `name` is for messages."""

    name: str
    pixels: np.ndarray

    @property
    def header(self) -> Header:
        """Of each of its pictures."""
        return Header.picture(self.pixels.shape[1:], step=1 / 255)

    def picture(self, index: int) -> np.ndarray:
        """(C, H, W) float32 in [0, 1]."""
        return self.pixels[index].astype(np.float32) / 255


def is_named(path: Path) -> bool:
    """Whether a name is that of an array file, perhaps with one of its arrays behind a colon."""
    return split(path)[0].suffix.lower() in (".npz", ".npy") or IDX.fullmatch(path.name) is not None


def is_array(path: Path) -> bool:
    """Whether this is an array file with pictures, where it could be one with a table just as well.

    A .npy or .npz is one if an array of it holds bytes with three or four axes, and a .npz if an array is named.
    """
    file, key = split(path)
    if not is_named(path) or key is not None or IDX.fullmatch(path.name):
        return is_named(path)
    try:
        with open_input(file) as stream:
            if file.suffix.lower() == ".npy":
                return _of_pictures(stream)
            with zipfile.ZipFile(stream) as archive:
                return any(_holds_pictures(archive, entry) for entry in archive.infolist())
    except (InputError, OSError, ValueError, RuntimeError, NotImplementedError, zlib.error, zipfile.BadZipFile):
        return False


def split(path: Path) -> tuple[Path, str | None]:
    """``mnist.npz:x_test`` -> the file and the array's name; a file whose own name has a colon is that file."""
    file, colon, key = str(path).rpartition(":")
    if colon and file.lower().endswith(".npz") and not path.exists():
        return Path(file), key
    return path, None


def read(path: Path, use: Use | None = None) -> Stack:
    """Read a stack of pictures.

    Parameters
    ----------
    path
        An array file; of a .npz one array may be named behind a colon.
    use
        Which array is meant where none is named: of x_train and x_test the one for this. None: the only one that
        holds pictures.

    Raises
    ------
    InputError
        The file is damaged, lies about its size, or holds no pictures of 8 bits.
    UsageError
        There is no such file, or no telling which of its arrays is meant.
    """
    file, key = split(path)
    if not file.is_file():
        raise UsageError(f"{printable(file)}: " + ("not a regular file" if file.exists() else "no such file"))
    with _reading(path), file.open("rb") as stream:
        if file.suffix.lower() == ".npz":
            return _from_npz(stream, file, key, use)
        if file.suffix.lower() == ".npy":
            return Stack(printable(path), _pictures(*npy.header(stream), stream))
        return Stack(printable(path), _from_idx(stream))


def keys(path: Path) -> list[str | None]:
    """Names of the arrays of pictures in a .npz; [None] where one is named already, or there are no names."""
    file, key = split(path)
    if key is not None or file.suffix.lower() != ".npz":
        return [None]
    if not file.is_file():
        raise UsageError(f"{printable(file)}: no such file")
    with _reading(path), zipfile.ZipFile(file) as archive:
        held = [entry for entry in archive.infolist() if _holds_pictures(archive, entry)]
        return [entry.filename.removesuffix(".npy") for entry in held]


def write(path: BinaryIO, pixels: np.ndarray) -> None:
    """Write (N, C, H, W) uint8 as .npy: (N, H, W) of gray pictures, (N, H, W, C) of others."""
    shown = pixels[:, 0] if pixels.shape[1] == 1 else pixels.transpose(0, 2, 3, 1)
    np.lib.format.write_array(path, np.ascontiguousarray(shown), allow_pickle=False)


class _Bad(Exception):
    """What is wrong, to be read after the name of the file."""


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except _Bad as error:
        raise InputError(f"{printable(path)}: {error}") from None
    except (
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        NotImplementedError,
        zlib.error,
        zipfile.BadZipFile,
    ) as error:
        raise InputError(f"{printable(path)}: damaged ({first_line(error, 120)})") from None


def _from_idx(stream: BinaryIO) -> np.ndarray:
    """The pictures of an idx file, gzipped or not; what it holds is told by its bytes."""
    packed = stream.peek(2)[:2] == GZIP  # type: ignore[attr-defined]
    data = gzip.GzipFile(fileobj=stream) if packed else stream
    start = data.read(4)
    if len(start) < 4 or start[:2] != b"\0\0":
        raise _Bad("not an idx file: it does not begin with two zero bytes")
    if start[2] != UBYTE:
        raise _Bad(f"holds values of type 0x{start[2]:02x}; pictures are bytes, 0x08")
    _axes(start[3])
    sizes = data.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise _Bad("cut short within its header")
    shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
    return _pictures(shape, False, np.dtype(np.uint8), data)  # type: ignore[arg-type]


def _from_npz(stream: BinaryIO, file: Path, key: str | None, use: Use | None) -> Stack:
    with zipfile.ZipFile(stream) as archive:
        entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        if len(entries) != len(archive.infolist()):
            raise _Bad("holds two arrays of one name")
        name = _chosen(archive, entries, file, key, use)
        with archive.open(entries[name]) as data:
            pixels = _pictures(*npy.header(data), data)  # type: ignore[arg-type]
    return Stack(f"{printable(file)}:{printable(name)}", pixels)


def _chosen(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], file: Path, key: str | None, use: Use | None
) -> str:
    if key is not None:
        if key not in entries:
            held = ", ".join(map(printable, entries)) or "nothing"
            raise UsageError(f'{printable(file)} holds no array "{printable(key)}"; it holds {held}')
        return key
    if use is not None and f"x_{use}" in entries:
        return f"x_{use}"
    found = [name for name, entry in entries.items() if _holds_pictures(archive, entry)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise _Bad("holds no pictures: no array of bytes with three or four axes")
    names = ", ".join(map(printable, found))
    raise UsageError(f"{printable(file)} holds {names}: say which, {printable(file)}:{printable(found[0])}")


def _holds_pictures(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    with archive.open(entry) as data:
        return _of_pictures(data)  # type: ignore[arg-type]


def _of_pictures(data: BinaryIO) -> bool:
    try:
        shape, _, dtype = npy.header(data)
    except ValueError:
        return False
    return dtype == np.uint8 and len(shape) in (3, 4)


def _axes(count: int) -> None:
    if count not in (3, 4):
        raise _Bad(f"has {count} axes; a stack of pictures has three or four: N, H, W and channels")


def _pictures(shape: Sequence[int], fortran: bool, dtype: np.dtype, data: BinaryIO) -> np.ndarray:
    """The values behind a header, exactly as many as it says, as (N, C, H, W)."""
    _axes(len(shape))
    if dtype != np.uint8:
        raise _Bad(f"holds {dtype}; pictures in arrays are of 8 bits, uint8")
    count, height, width = shape[:3]
    channels = shape[3] if len(shape) == 4 else 1
    size = "x".join(map(str, shape))
    if channels not in (1, 3):
        raise _Bad(f"{size}: pictures have 1 or 3 channels, not {channels}")
    if min(shape) < 1:
        raise _Bad(f"{size}: holds no pixel")
    if max(height, width) > SIDE:
        raise _Bad(f"{size}: pictures in a stack have sides of at most {SIDE}")
    total = math.prod(shape)
    if total > (limit := memory.total() // 4):
        raise _Bad(f"{size}: {total} bytes, more than the {limit} that are read at once")
    pixels = np.frombuffer(_exactly(data, total, size), np.uint8)
    pixels = pixels.reshape(tuple(shape), order="F" if fortran else "C").reshape(count, height, width, channels)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def _exactly(data: BinaryIO, total: int, size: str) -> bytearray:
    """Read so many bytes, and find the end there; what a header claims is never set aside before it has come."""
    held = bytearray()
    while len(held) < total:
        chunk = data.read(min(CHUNK, total - len(held)))
        if not chunk:
            raise _Bad(f"cut short: its header says {size}, which is {total} bytes, and {len(held)} follow")
        held += chunk
    if data.read(1):
        raise _Bad(f"goes on after the {total} bytes that its header says ({size})")
    return held
