"""Tables as Apache Parquet, where pyarrow is there. Types, metadata and columns that are no numbers are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np

from denoise_cli.errors import BackendError, InputError, first_line, printable
from denoise_cli.media.beside import Target
from denoise_cli.media.delimited import CELLS, CHUNK_ROWS
from denoise_cli.media.matrices import cast_to

MAGIC = b"PAR1"
MEND = 'run: pip install "denoise-cli[tables]"'


class Parquet:
    """A Parquet file, opened for any number of passes."""

    gaps = above = 0

    def __init__(self, file: BinaryIO):
        try:
            import pyarrow as arrow
            from pyarrow import parquet
        except ImportError:
            raise BackendError(f"Parquet needs pyarrow, which is not installed; {MEND}") from None
        self._arrow, self._parquet = arrow, parquet
        try:
            self._file = parquet.ParquetFile(file)
            self.schema = self._file.schema_arrow
        except (arrow.ArrowException, OSError) as error:
            raise InputError(f"not a Parquet file that can be read ({first_line(error, 120)})") from None
        self.rows = self._file.metadata.num_rows
        if not self.rows:
            raise InputError("holds no rows")
        self.named = True
        self.names = [printable(name) for name in self.schema.names]
        types = arrow.types
        # What pandas calls its index is one column among others here.
        self.numeric = [
            (types.is_integer(t) or types.is_floating(t)) and not name.startswith("__index_level_")
            for name, t in zip(self.schema.names, self.schema.types, strict=True)
        ]
        self.empty = [False] * len(self.names)
        self.format = "parquet"

    def check(self, index: int) -> None:
        if not self.numeric[index]:
            raise InputError(f'column "{self.names[index]}" holds {self.schema.types[index]}, not numbers')

    def doubtful(self) -> list[str]:
        return []

    def missing(self, columns: Sequence[int]) -> int | None:
        return None

    def chunks(self, columns: Sequence[int]) -> Iterator[tuple[Any, np.ndarray]]:
        """Yield (record batch, (n, F) float64 values of `columns`) with NaN where one is missing."""
        size = max(1, min(CHUNK_ROWS, CELLS // len(self.names)))
        try:
            for batch in self._file.iter_batches(batch_size=size):
                columns_of = [batch.column(c).to_numpy(zero_copy_only=False) for c in columns]
                yield batch, np.stack(columns_of, axis=1).astype(np.float64)
        except (self._arrow.ArrowException, OSError) as error:
            raise InputError(f"damaged ({first_line(error, 120)})") from None

    def close(self) -> None:
        self._file.close()

    def writer(self, target: Target, columns: Sequence[int]) -> ParquetWriter:
        return ParquetWriter(self, target, columns)


class ParquetWriter:
    """Batches as they came, but for the cells that changed."""

    def __init__(self, table: Parquet, target: Target, columns: Sequence[int]):
        self._table, self._columns = table, columns
        groups = table._file.metadata
        compression = groups.row_group(0).column(0).compression if groups.num_row_groups else "SNAPPY"
        self._writer = table._parquet.ParquetWriter(
            target.file, table.schema, compression="NONE" if compression == "UNCOMPRESSED" else compression
        )

    def write(self, raw: Any, values: np.ndarray, changed: np.ndarray) -> None:
        from pyarrow import compute

        arrow = self._table._arrow
        arrays = list(raw.columns)
        for j, c in enumerate(self._columns):
            if not changed[:, j].any():
                continue
            gone = np.isnan(values[:, j])
            kind = np.dtype(self._table.schema.types[c].to_pandas_dtype())
            new = cast_to(np.where(gone, 0, values[:, j]), changed[:, j], kind)
            made = arrow.array(new, self._table.schema.types[c], mask=gone)
            arrays[c] = compute.if_else(arrow.array(changed[:, j]), made, arrays[c])
        self._writer.write_batch(arrow.RecordBatch.from_arrays(arrays, schema=self._table.schema))

    def finish(self) -> None:
        self._writer.close()

    def drop(self) -> None:
        with suppress(Exception):  # it wants to write an end to what is thrown away
            self._writer.close()
