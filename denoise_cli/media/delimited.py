"""Tables as text: .csv and .tsv. What is not modelled, and every number that did not change, is written as it came,
with quotes where its characters ask for them and nowhere else.

A first pass learns what there is: the delimiter, whether names stand on top, which columns are numbers, and with
how many decimals. It costs as much as reading, and makes the second pass free of surprises in its millionth row.

A blank line comes back blank. Between the rows of a series it is a moment of which nothing is known; in a table, or
before the first row or after the last one, it is no row at all. In a single column it is a value that is missing.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice, repeat
from typing import Any, BinaryIO

import numpy as np

from denoise_cli.errors import InputError, printable
from denoise_cli.media.beside import Target
from denoise_cli.media.cells import MISSING, Column, is_text, number
from denoise_cli.media.heads import read_at
from denoise_cli.media.layout import Tabular

DELIMITERS = ",;\t"
SAMPLE_LINES = 50  # that the delimiter is told by
LONGEST_LINE = 1 << 22  # characters
CELLS = 1 << 18  # of a chunk, about: 20 MB as text
CHUNK_ROWS = 1 << 14
BOM = b"\xef\xbb\xbf"
STRAYS = 0.1  # of the cells of a column, at most, that hold text, before it is meant to hold text
COUNTED = 10  # columns; the numbers of so many are their names, whatever stands below
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+(,\d+)?(e[+-]?\d+)?\s*", re.IGNORECASE)  # 1,5;2,3: two numbers, not three


@dataclass
class Rows:
    """Some rows of a file as they came."""

    cells: list[list[str]] = field(default_factory=list)  # of a blank line: none
    above: dict[int, int] = field(default_factory=dict)  # row -> how many blank lines above it are no rows

    def lines(self) -> Iterator[list[str]]:
        for n, row in enumerate(self.cells):
            yield from repeat([], self.above.get(n, 0))
            yield [] if row == [""] else row


class Delimited:
    """A delimited file, opened for any number of passes."""

    def __init__(self, file: BinaryIO, kind: Tabular, expected: Sequence[str] = ()):
        """`expected` are names that a first row of names will hold."""
        self._file, self._series = file, kind == "series"
        self.bom = read_at(file, 0, 3) == BOM
        self.delimiter, self.newline = self._sniff()
        self.written = self.delimiter
        self.rows = self.gaps = 0
        columns: list[Column] = []
        first: list[str] = []
        blank = self.top = below = 0  # lines since the last row, above the first line, and between it and the next
        for line, row in self._rows():
            if not row:
                blank += 1
                continue
            if not columns:
                columns, first, start = [Column() for _ in row], row, line
                self.top, blank = blank, 0
                continue
            if not self.rows:
                below = blank
            elif self._series:
                self.rows, self.gaps = self.rows + blank, self.gaps + blank
            self.rows, blank = self.rows + 1, 0
            for column, cell in zip(columns, row, strict=True):
                column.see(cell, line)
        if not first:
            raise InputError("holds no rows")
        both = list(zip(columns, first, strict=True))
        self.named = any(c.numbers and not c.text and is_text(cell) for c, cell in both)
        self.named = self.named or (self.rows > 0 and _counted(first, columns))
        if not any(c.numbers or c.text for c in columns):  # every value is missing, or there is none
            self.named = all(is_text(cell) for cell in first)
        if any(expected) and {printable(cell.strip()) for cell in first}.issuperset(expected):
            self.named = True
        if not self.named:
            self.rows, self.gaps = self.rows + 1 + below * self._series, self.gaps + below * self._series
            for column, cell in zip(columns, first, strict=True):
                column.see(cell, start)
        self.bottom = blank
        if not self.rows:
            raise InputError("holds no rows below its names")
        self.names = [printable(cell.strip()) for cell in first] if self.named else ["" for _ in first]
        self.columns = columns
        # A column without a name beside others that have one is the index that pandas writes.
        self.numeric = [c.numbers > 0 and not c.text and (not self.named or bool(n)) for c, n in self._both()]
        self.empty = [c.numbers == 0 and c.text is None for c in columns]
        self.above = self.top + self.named
        self.format = "csv"

    def doubtful(self) -> list[str]:
        """A line on every column that holds numbers but for a few cells, and so counts as text."""
        return [
            f"{_called(name, index)}: {_told(column)}; so it is taken for text"
            for index, (column, name) in enumerate(self._both())
            if 0 < column.texts <= STRAYS * column.numbers
        ]

    def _both(self) -> Iterator[tuple[Column, str]]:
        return zip(self.columns, self.names, strict=True)

    def check(self, index: int) -> None:
        """Raise InputError where a column that is asked for is not one of numbers."""
        column, name = self.columns[index], self.names[index]
        if column.text is not None:
            raise InputError(f"{_called(name, index)}: {_told(column)}")

    def missing(self, columns: Sequence[int]) -> int | None:
        return sum(self.columns[c].missing for c in columns)

    def chunks(self, columns: Sequence[int]) -> Iterator[tuple[Rows, np.ndarray]]:
        """Yield (rows, (n, F) float64 values of `columns`) with NaN where one is missing."""
        size = max(1, min(CHUNK_ROWS, CELLS // len(self.columns)))
        held, count, blank = Rows(), 0, 0
        for _, row in islice(self._rows(), self.top + self.named, None):
            if not row and not (self._series and 0 < count < self.rows):
                blank += 1
                continue
            if blank:
                held.above[len(held.cells)], blank = blank, 0
            held.cells.append(row)
            count += 1
            if len(held.cells) == size:
                yield held, _values(held.cells, columns)
                held = Rows()
        if held.cells:
            yield held, _values(held.cells, columns)

    def rename(self, before: str, after: str) -> None:
        """Write a file called .csv as one called .tsv, or the other way, with the delimiter of its new suffix."""
        other = "\t" if after == ".tsv" != before else "," if (before, after) == (".tsv", ".csv") else None
        self.written = other or self.delimiter

    def writer(self, target: Target, columns: Sequence[int]) -> DelimitedWriter:
        return DelimitedWriter(self, target, columns)

    def close(self) -> None:
        """The file is whose it was."""

    def names_as_written(self) -> list[str] | None:
        return next(row for _, row in self._rows() if row) if self.named else None

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Rows of equal length, each with the line that it ends in; a blank line is a row of no cells."""
        with _text(self._file) as text:
            width = 0
            reader = csv.reader(_lines(text), delimiter=self.delimiter)
            for row in _reported(reader):
                if not row and width == 1:
                    row = [""]
                width = width or len(row)
                if row and len(row) != width:
                    raise InputError(f"row {reader.line_num} has {len(row)} cells, the first row has {width}")
                yield reader.line_num, row

    def _sniff(self) -> tuple[str, str]:
        with _text(self._file) as text:
            try:
                lines = [line for _ in range(SAMPLE_LINES) if (line := text.readline(LONGEST_LINE))]
            except UnicodeDecodeError:
                raise InputError("not text in UTF-8") from None
        if not lines:
            raise InputError("the file is empty")
        whole = len(lines) < SAMPLE_LINES
        lines = [line for line in lines if line.strip("\r\n")] or lines
        for delimiter in ";\t":
            rows = [row for row in _reported(csv.reader(lines, delimiter=delimiter)) if row]
            if min(map(len, rows), default=0) > 1 and _has_decimal_commas(rows):
                raise InputError("numbers are written with decimal commas; write them with points")
        best, most = DELIMITERS[0], 1
        for delimiter in DELIMITERS:
            # The last line of a sample may begin a cell that goes on.
            sample = lines if whole else lines[:-1]
            widths = {len(row) for row in _reported(csv.reader(sample, delimiter=delimiter)) if row}
            if len(widths) == 1 and (width := widths.pop()) > most:
                best, most = delimiter, width
        if most == 1:  # rows of different length, or one column: take what there is most of, and say what is wrong
            best = max(DELIMITERS, key=lines[0].count)
        return best, "\r\n" if lines[0].endswith("\r\n") else "\n"


class DelimitedWriter:
    """Rows as they came, but for the cells that changed."""

    def __init__(self, table: Delimited, target: Target, columns: Sequence[int]):
        self._table, self._columns = table, columns
        if table.bom:
            target.file.write(BOM)
        self._text = io.TextIOWrapper(target.file, encoding="utf-8", newline="", write_through=False)
        self._csv = csv.writer(self._text, delimiter=table.written, lineterminator=table.newline)
        self._blank(table.top)
        if (names := table.names_as_written()) is not None:
            self._csv.writerow(names)

    def write(self, raw: Rows, values: np.ndarray, changed: np.ndarray) -> None:
        for i, j in zip(*np.nonzero(changed), strict=True):
            column = self._columns[j]
            if raw.cells[i]:
                raw.cells[i][column] = self._table.columns[column].written(float(values[i, j]))
        self._csv.writerows(raw.lines())

    def finish(self) -> None:
        self._blank(self._table.bottom)
        self._text.flush()

    def _blank(self, lines: int) -> None:
        self._csv.writerows(repeat([], lines))

    def drop(self) -> None:
        """Let go of the target's file, which is not ours to close."""
        with suppress(ValueError, OSError):
            self._text.detach()


def _called(name: str, index: int) -> str:
    return f'column "{name or index + 1}"'


def _told(column: Column) -> str:
    return f'"{printable(column.text or "")[:40]}" in row {column.text_row} is not a number'


def _values(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> np.ndarray:
    known = [[number(row[c]) for c in columns] if row else [math.nan] * len(columns) for row in rows]
    return np.array(known, np.float64).reshape(len(rows), -1)


def _counted(first: Sequence[str], columns: Sequence[Column]) -> bool:
    """Whether the first row counts 0, 1, 2, ... above other numbers: the names that pandas gives, and its index."""
    cells = first[1:] if (indexed := first[0] == "") else first
    # Without an index, 0 and 1 may as well be the first moment and its value.
    if len(cells) < (1 if indexed else 3) or cells != [str(n) for n in range(len(cells))]:
        return False
    below = columns[-len(cells) :]
    return len(cells) >= COUNTED or all(column.decimals or column.scientific for column in below)


def _has_decimal_commas(rows: Sequence[Sequence[str]]) -> bool:
    """Whether there is a column of nothing else; the first row may hold names."""
    for column in zip(*(rows[1:] or rows), strict=False):
        told = [cell for cell in column if cell.strip().lower() not in MISSING]
        if any("," in cell for cell in told) and all(DECIMAL_COMMA.fullmatch(cell) for cell in told):
            return True
    return False


@contextmanager
def _text(file: BinaryIO) -> Iterator[io.TextIOWrapper]:
    """The file as text from its beginning; the file itself stays open."""
    file.seek(0)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        yield text
    finally:
        with suppress(ValueError):  # the file may be closed before a pass that was given up is
            text.detach()


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Lines, none of which takes all the memory."""
    while line := text.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise InputError(f"a line is longer than {LONGEST_LINE:,} characters")
        yield line


def _reported(reader: Any) -> Iterator[list[str]]:
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except UnicodeDecodeError:
            raise InputError("not text in UTF-8") from None
        except csv.Error as error:
            raise InputError(f"row {reader.line_num}: {error}") from None
        yield row
