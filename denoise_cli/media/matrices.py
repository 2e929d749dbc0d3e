"""Tables as arrays: .npy, and one array of a .npz. Read in pieces, by offset; nothing is ever unpickled.

Stored are rows one after the other, or, for a series and in Fortran's order, columns one after the other.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO, cast

import numpy as np

from denoise_cli.errors import InputError, OutputError, first_line
from denoise_cli.media import npy
from denoise_cli.media.beside import Target
from denoise_cli.media.delimited import CELLS, CHUNK_ROWS
from denoise_cli.media.layout import Tabular

NPY, ZIP = b"\x93NUMPY", b"PK\x03\x04"
UNPACKED = 4 << 30  # bytes of a .npz in all that are unpacked: a thousandth of it could be the file
DATA = "data"  # the array of a .npz that is meant where there are several
STEP = (1980, 1, 1, 0, 0, 0)  # a date for members of a .npz, so that the same array gives the same bytes


class Matrix:
    """A .npy file of one or two axes, as rows and columns."""

    gaps = above = 0

    def __init__(self, file: BinaryIO, kind: Tabular):
        self._file = file
        file.seek(0)
        try:
            shape, fortran, dtype = npy.header(file)
        except ValueError as error:
            raise InputError(f"not an array that can be read ({first_line(error, 100)})") from None
        if dtype.kind not in "iuf" or dtype.itemsize > 8:
            raise InputError(f"holds {dtype}, not numbers; choose from integers and floats of up to 64 bits")
        if not 1 <= len(shape) <= 2 or 0 in shape:
            raise InputError(f"has the shape {shape}; a {kind} has two axes, and something in it")
        self.dtype, self._start = dtype, file.tell()
        series = kind == "series"
        if len(shape) == 1:
            shape = (1, *shape) if series else (*shape, 1)
        self.rows, count = shape[::-1] if series else shape
        self._by_columns = fortran != series
        present = os.fstat(file.fileno()).st_size - self._start
        if present < self.rows * count * dtype.itemsize:
            raise InputError(f"cut short: {present:,} of {self.rows * count * dtype.itemsize:,} bytes are there")
        self.named, self.names = False, [""] * count
        self.numeric, self.empty = [True] * count, [False] * count
        self.format = "npy"

    def check(self, index: int) -> None:
        """Every column is one of numbers."""

    def doubtful(self) -> list[str]:
        return []

    def missing(self, columns: Sequence[int]) -> int | None:
        """Not known before the data are read, but for integers, which cannot be missing."""
        return None if self.dtype.kind == "f" else 0

    def chunks(self, columns: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (n rows as stored, their `columns` as float64)."""
        count = len(self.names)
        size = max(1, min(CHUNK_ROWS, CELLS // count))
        for start in range(0, self.rows, size):
            n = min(size, self.rows - start)
            if self._by_columns:
                stored = np.stack([self._read(c * self.rows + start, n) for c in range(count)], axis=1)
            else:
                stored = self._read(start * count, n * count).reshape(n, count)
            yield stored, stored[:, list(columns)].astype(np.float64)

    def _read(self, first: int, n: int) -> np.ndarray:
        size = self.dtype.itemsize
        data = os.pread(self._file.fileno(), n * size, self._start + first * size)
        if len(data) < n * size:
            raise InputError("cut short: the file became shorter while it was read")
        return np.frombuffer(data, self.dtype)

    def writer(self, target: Target, columns: Sequence[int]) -> MatrixWriter:
        return MatrixWriter(self, target.file, columns)

    def close(self) -> None:
        """The file is whose it was."""

    def head(self) -> bytes:
        """What stands before the data."""
        return os.pread(self._file.fileno(), self._start, 0)


class MatrixWriter:
    """An array of the same type, shape and order."""

    def __init__(self, matrix: Matrix, file: BinaryIO, columns: Sequence[int]):
        self._matrix, self._file, self._columns = matrix, file, list(columns)
        self._row = 0
        file.write(matrix.head())

    def write(self, raw: Any, values: np.ndarray, changed: np.ndarray) -> None:
        matrix = self._matrix
        stored = raw.astype(matrix.dtype)  # numpy turns bytes about when it stacks columns
        ours = stored[:, self._columns]
        stored[:, self._columns] = np.where(changed, cast_to(values, changed, matrix.dtype), ours)
        size, count = matrix.dtype.itemsize, len(matrix.names)
        if matrix._by_columns:
            for c in range(count):
                self._file.seek(matrix._start + (c * matrix.rows + self._row) * size)
                self._file.write(np.ascontiguousarray(stored[:, c]).tobytes())
        else:
            self._file.write(np.ascontiguousarray(stored).tobytes())
        self._row += len(stored)

    def finish(self) -> None:
        self._file.flush()

    def drop(self) -> None:
        """Nothing is held but the target."""


def cast_to(values: np.ndarray, changed: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values as a type holds them: integers rounded, all kept within its range; only `changed` ones matter."""
    values = np.where(changed, values, 0).astype(np.float64)
    if dtype.kind == "f":
        limit = float(np.finfo(dtype).max)
        return values.clip(-limit, limit).astype(dtype)
    if np.isnan(values).any():
        raise OutputError(f"{dtype} cannot hold missing values; convert the column to float")
    limits = np.iinfo(dtype)
    # The largest of 64 bits is no float64: rounded up, it would be beyond the type.
    most = float(limits.max) if dtype.itemsize < 8 else np.nextafter(float(limits.max), 0)
    return values.round().clip(float(limits.min), most).astype(dtype)


class Archive(Matrix):
    """One array of a .npz: the only one, or that called "data"; the others are passed through."""

    def __init__(self, file: BinaryIO, kind: Tabular):
        self._archive = file
        try:
            with zipfile.ZipFile(file) as archive:
                if (total := sum(info.file_size for info in archive.infolist())) > UNPACKED:
                    raise InputError(f"unpacks to {total:,} bytes; the limit is {UNPACKED:,}, so give it as .npy")
                names = [name for name in archive.namelist() if name.endswith(".npy")]
                if not names:
                    raise InputError("holds no arrays: it is no .npz")
                if len(names) != 1:
                    if f"{DATA}.npy" not in names:
                        known = ", ".join(name.removesuffix(".npy") for name in names[:20])
                        raise InputError(f'holds several arrays and none called "{DATA}"; they are {known}')
                    names = [f"{DATA}.npy"]
                self._name = names[0]
                spool = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
                with ExitStack() as stack, archive.open(self._name) as member:
                    stack.callback(spool.close)
                    shutil.copyfileobj(member, spool, 1 << 20)
                    stack.pop_all()
        except (zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
            raise InputError(f"not an archive that can be read ({str(error)[:100]})") from None
        try:
            spool.flush()
            super().__init__(spool, kind)
        except BaseException:
            spool.close()
            raise
        self.format = "npz"

    def close(self) -> None:
        self._file.close()

    def writer(self, target: Target, columns: Sequence[int]) -> ArchiveWriter:
        return ArchiveWriter(self, target, columns)


class ArchiveWriter(MatrixWriter):
    """The array into a spool, then it and its neighbours into an archive."""

    def __init__(self, archive: Archive, target: Target, columns: Sequence[int]):
        self._spool = cast(BinaryIO, tempfile.TemporaryFile(dir=target.folder))  # noqa: SIM115
        self._target, self._source = target, archive
        super().__init__(archive, self._spool, columns)

    def finish(self) -> None:
        self._spool.seek(0)
        with zipfile.ZipFile(self._source._archive) as old, zipfile.ZipFile(self._target.file, "w") as new:
            for info in old.infolist():
                made = zipfile.ZipInfo(info.filename, STEP)
                made.compress_type = info.compress_type
                with new.open(made, "w", force_zip64=True) as member:
                    if info.filename == self._source._name:
                        shutil.copyfileobj(self._spool, member, 1 << 20)
                    else:
                        with old.open(info) as other:
                            shutil.copyfileobj(other, member, 1 << 20)

    def drop(self) -> None:
        self._spool.close()
