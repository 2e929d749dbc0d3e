"""Tables and series: a file as blocks of rows, and rows back into a file of the same make.

    file --rows--> TableSource.blocks() --> (F, n, 1), NaN where missing --> ... --> TableSink.write() --> commit()
      |                                                                                  ^
      +------- text, names, types, every value that did not change: past the blocks -----+

delimited.py reads .csv and .tsv, matrices.py .npy and .npz, parquet.py .parquet. A value that comes back as it went
is written as it stood in the file, so that what is not touched keeps its last digit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Protocol

import numpy as np

from denoise_cli.errors import InputError, OutputError, UnavailableError, printable
from denoise_cli.media import matrices, parquet
from denoise_cli.media.beside import Target, open_input, writing
from denoise_cli.media.course import Course
from denoise_cli.media.delimited import Delimited
from denoise_cli.media.layout import MAX_COLUMNS, TABLE_SUFFIXES, Layout
from denoise_cli.signal import Header, Signal, gather

SUFFIXES_OF = {
    "csv": (".csv", ".tsv"), "npy": (".npy",), "npz": (".npz",), "parquet": (".parquet",),
}  # fmt: skip
BINARY = TABLE_SUFFIXES - {".csv", ".tsv"}


class Writer(Protocol):
    def write(self, raw: Any, values: np.ndarray, changed: np.ndarray) -> None:
        """Append rows as they came, but with `values` (n, F) where `changed`."""
        ...

    def finish(self) -> None: ...
    def drop(self) -> None: ...


class Reader(Protocol):
    """A file of one format; everything but `chunks` is known at once."""

    format: str
    rows: int
    named: bool
    names: list[str]  # of all columns; "" where there are none
    numeric: list[bool]  # which of them are numbers
    empty: list[bool]  # in which of them every value is missing
    above: int  # rows before the first one, as an editor counts them: names
    gaps: int  # rows of which nothing is known, and that come back so

    def check(self, index: int) -> None: ...
    def doubtful(self) -> list[str]: ...
    def missing(self, columns: Sequence[int]) -> int | None: ...
    def chunks(self, columns: Sequence[int]) -> Iterator[tuple[Any, np.ndarray]]: ...
    def writer(self, target: Target, columns: Sequence[int]) -> Writer: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of each column over its known values, (F,) float64; 0 where none is known."""

    mean: np.ndarray
    std: np.ndarray
    known: np.ndarray  # how many


class TableSource:
    """An open table; a ``Source`` whose ``blocks`` may be read any number of times."""

    def __init__(self, file: BinaryIO, name: str, layout: Layout):
        self.name, self.file, self._layout = name, file, layout
        self._reader = _open(file, layout, PurePath(name).suffix.lower())
        with ExitStack() as stack:
            stack.callback(self._reader.close)
            self.columns = _columns(self._reader, layout)
            stack.pop_all()
        self.names = [self._reader.names[c] for c in self.columns]
        self._kept: deque[tuple[Any, np.ndarray]] | None = None  # rows that a sink waits for
        self._missing: int | None = self._reader.missing(self.columns)
        self.gaps = self._reader.gaps * len(self.columns)  # values that are missing, and that no sink writes
        self.header = Header(
            kind=layout.kind,
            channels=len(self.columns),
            length=self._reader.rows,
            groups=tuple((c,) for c in range(len(self.columns))),
            format=self._reader.format,
        )

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield (F, n, 1) float32 blocks of rows; a missing value is NaN. n depends on the file alone."""
        row = 0
        with reading(self.name):
            for raw, values in self._reader.chunks(self.columns):
                with np.errstate(over="ignore"):
                    block = values.astype(np.float32)
                if np.isinf(block).any():
                    i, j = np.argwhere(np.isinf(block))[0]
                    what = "is not finite" if np.isinf(values[i, j]) else "is beyond what float32 holds"
                    label = self.names[j] or self.columns[j] + 1
                    place = self._reader.above + row + i + 1
                    raise InputError(f'column "{label}": {values[i, j]:g} in row {place} {what}')
                if self._kept is not None:
                    self._kept.append((raw, block))
                row += len(block)
                del raw, values
                yield np.ascontiguousarray(block.T)[:, :, np.newaxis]
        if row != self._reader.rows:
            raise InputError(
                f"{self.name}: damaged or changed: {row:,} of {self._reader.rows:,} rows could be read"
            )

    def doubtful(self) -> list[str]:
        """A line on every column that holds numbers but for a few cells, and so is not among `columns`."""
        return self._reader.doubtful()

    def has_missing(self) -> bool:
        """Whether a value is missing that a sink would write; reads the file once where its reader cannot tell."""
        if self._missing is None:
            with reading(self.name):
                self._missing = sum(int(np.isnan(v).sum()) for _, v in self._reader.chunks(self.columns))
        return self._missing > 0

    def whole(self) -> Signal:
        """All of it; extras["names"] are its columns, extras["gaps"] counts the missing values in blank lines."""
        return Signal(gather(self).data, self.header, {"names": self.names, "gaps": self.gaps})

    def course(self) -> Course:
        """How each column runs, from a pass over the file."""
        course = Course.of(np.empty((0, len(self.columns))))
        with reading(self.name):
            for _, values in self._reader.chunks(self.columns):
                course = course.then(Course.of(values))
        return course

    def moments(self) -> Moments:
        """Mean and standard deviation of the known values of each column, from a pass over the file.

        Sums of deviations from the first block's mean, in float64: they stay exact where the mean is large.
        """
        count = len(self.columns)
        known, total, square = (np.zeros(count) for _ in range(3))
        origin: np.ndarray | None = None
        with reading(self.name):
            for _, values in self._reader.chunks(self.columns):
                there = np.isfinite(values)
                if origin is None:
                    origin = np.where(there, values, 0).sum(0) / np.maximum(there.sum(0), 1)
                off = np.where(there, values - origin, 0)
                known += there.sum(0)
                total += off.sum(0)
                square += np.square(off).sum(0)
        n = np.maximum(known, 1)
        variance = np.maximum(square / n - np.square(total / n), 0)
        return Moments((0 if origin is None else origin) + total / n, np.sqrt(variance), known)

    def save_to(self, target: Target, *, suffix: str = "") -> TableSink:
        """Make the sink for this table: its format, names and types. `suffix` is what the target is called."""
        own = SUFFIXES_OF[self.header.format]
        if suffix in TABLE_SUFFIXES and suffix not in own:
            raise OutputError(f"{target.name}: a {own[0]} table is written as {' or '.join(own)}, not as {suffix}")
        if isinstance(self._reader, Delimited):
            self._reader.rename(PurePath(self.name).suffix.lower(), suffix)
        self._kept = deque()
        return TableSink(self._reader, self.columns, self._kept, target)

    def close(self) -> None:
        self._reader.close()
        self.file.close()


class TableSink:
    """A table in the making; a ``Sink``. Blocks may be cut otherwise than those that were read."""

    def __init__(self, reader: Reader, columns: Sequence[int], kept: deque[tuple[Any, np.ndarray]], target: Target):
        self._kept, self._target, self._missing_rows = kept, target, reader.rows
        self._held: list[np.ndarray] = []  # (n, F) each, not yet a whole chunk of the source
        with writing(target, _reason):
            self._writer = reader.writer(target, columns)

    def write(self, block: np.ndarray) -> None:
        """Append a (F, n, 1) block, NaN where a value is missing."""
        with writing(self._target, _reason):
            self._held.append(block[:, :, 0].T)
            while self._kept and sum(map(len, self._held)) >= (n := len(self._kept[0][1])):
                together = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
                new, rest = together[:n], together[n:]
                self._held = [rest] if len(rest) else []
                raw, old = self._kept.popleft()
                same = (new == old) | (np.isnan(new) & np.isnan(old))
                self._writer.write(raw, new, ~same)
                self._missing_rows -= n

    def commit(self) -> None:
        with writing(self._target, _reason):
            if self._missing_rows:
                raise ValueError(f"{self._missing_rows} rows were not written")
            self._writer.finish()
            self._target.commit()

    def discard(self) -> None:
        self._kept.clear()
        self._writer.drop()
        self._target.discard()


def open_table(file: BinaryIO, name: str, layout: Layout | None = None) -> TableSource:
    """Open a table or series by its content; `file` is ours from here on.

    Raises InputError, in one line that names it, where it is damaged or lacks what `layout` asks for, and
    BackendError where its format needs a package that is missing.
    """
    with reading(printable(name)), ExitStack() as stack:
        stack.callback(file.close)
        source = TableSource(file, printable(name), layout or Layout())
        stack.pop_all()
        return source


def read(path: str | Path, layout: Layout | None = None) -> Signal:
    """Read a whole table: ``read("x.csv").data`` is (F, n, 1) float32; see ``TableSource.whole``."""
    source = open_table(open_input(Path(path)), str(path), layout)
    try:
        return source.whole()
    finally:
        source.close()


def _open(file: BinaryIO, layout: Layout, suffix: str) -> Reader:
    file.seek(0)
    start = file.read(8)
    if not start:
        raise InputError("the file is empty")
    if start.startswith(matrices.NPY):
        return matrices.Matrix(file, layout.kind)
    if start.startswith(matrices.ZIP):
        return matrices.Archive(file, layout.kind)
    if start.startswith(parquet.MAGIC):
        return parquet.Parquet(file)
    if suffix in BINARY:
        raise InputError(f"not a {suffix} file: it does not begin as one")
    return Delimited(file, layout.kind, layout.columns)


def _columns(reader: Reader, layout: Layout) -> list[int]:
    """Which columns of the file are meant: by name where file and model have names, else all of numbers."""
    if reader.named and any(layout.columns):
        found = []
        for name in layout.columns:
            alike = [c for c, other in enumerate(reader.names) if other == name]
            if len(alike) != 1:
                there = "two columns" if alike else "no column"
                raise InputError(f'has {there} "{name}", which the model takes')
            reader.check(alike[0])
            found.append(alike[0])
        return found
    if layout.by_name:
        raise InputError("its columns have no names, by which some are to be taken")
    found = [c for c, numbers in enumerate(reader.numeric) if numbers]
    if layout.count is not None and len(reader.names) == layout.count:
        found = list(range(layout.count))  # one that is all missing may be meant, too
        for c in found:
            reader.check(c)
    elif layout.count is not None and not reader.named and any(reader.empty):
        empty = reader.empty.index(True) + 1
        raise InputError(f"has no names, and no value in column {empty}: which columns the model takes is not told")
    if not found:
        raise InputError("has no column of numbers")
    if layout.count is not None and len(found) != layout.count:
        hint = "; an array is channels x time" if layout.kind == "series" and reader.format[:2] == "np" else ""
        raise InputError(f"has {len(found)} columns of numbers, and the model takes {layout.count}{hint}")
    if len(found) > MAX_COLUMNS:
        raise InputError(f"has {len(found):,} columns of numbers; the limit is {MAX_COLUMNS:,}")
    return found


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into one InputError that begins with the name."""
    try:
        yield
    except UnavailableError:
        raise
    except InputError as error:
        message = str(error)
        raise InputError(message if message.startswith(f"{name}: ") else f"{name}: {message}") from error
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise InputError(f"{name}: {type(error).__name__}: {printable(lines[0])[:200]}") from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {printable(str(error))[:200]}"
