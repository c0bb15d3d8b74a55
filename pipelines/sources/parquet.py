"""Rows from Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from ...contracts.context import Context
from ...contracts.source_pieces import CarryOut, SourcePiece
from .batch_reader import BatchReader
from .damaged_files import check_count, damage_told, refuse_impossible_times, validate
from .file_pieces import Columns, FilePiece, Found, at_least_one, limited, no_files
from .file_source import FileSource
from .locations import File
from .types import fitted, one_schema, plain

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BATCH_ROWS = 65_536
#: Bytes of a batch in memory, about; and of small row groups that are read together.
_BATCH_BYTES = 8 << 20
#: Rows whose size is taken for that of all rows of a piece.
_PROBED = 256
#: Values of a column that are looked at together, to see whether they are conversations.
_LOOKED_AT = 1024


class Parquet(FileSource):
    """Reads Parquet files, in the order of their names, under one schema.

    A column that a file lacks is null there; numbers are widened if Arrow can do so without loss. All data is
    validated, so that a damaged file is an error with its name.

    Example:
        old: {source: parquet, path: s3://bucket/rows/, columns: [prompt, response]}
    """

    endings: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    def pieces(self, context: Context, carry_out: CarryOut | None = None) -> Sequence[SourcePiece]:
        """One piece per row group, or for several small ones of a file."""
        found = self.files()
        if not found:
            return no_files(self.columns)
        schema = one_schema((file.name, _schema(file)) for file in found)
        values = partial(_values, found)
        columns = Columns.of_schema(schema, self.reader, self.rename, self.columns, found[0].name, values)
        pieces = (piece for file in found for piece in _row_groups(file, columns, context))
        return at_least_one(list(limited(pieces, self.rows)), columns)

    def file_schema(self) -> pa.Schema | None:
        found = self.files()
        schema = one_schema((file.name, _schema(file)) for file in found)
        layout = BatchReader.of(schema, self.reader, found[0].name, partial(_values, found))
        return schema if layout is None else layout.schema

    def count_rows(self) -> int:
        total = 0
        for file in self.files():
            with _opened(file) as parquet:
                total += parquet.metadata.num_rows
        return total


@contextmanager
def _opened(file: File) -> Iterator[pq.ParquetFile]:
    import pyarrow.parquet as pq

    with file.open() as stream, damage_told(file.name, "a Parquet file"):
        yield pq.ParquetFile(stream, page_checksum_verification=True)


def _values(files: Sequence[File], name: str) -> Iterator[Any]:
    """The values of a column of all files that have it."""
    for file in files:
        with _opened(file) as parquet:
            if name in parquet.schema_arrow.names:
                for batch in parquet.iter_batches(_LOOKED_AT, columns=[name]):
                    yield from batch.column(0).to_pylist()


def _schema(file: File) -> pa.Schema:
    with _opened(file) as parquet:
        return plain(parquet.schema_arrow)


def _row_groups(file: File, columns: Columns, context: Context) -> Iterator[RowGroups]:
    context.check()
    found = Found.of(file)
    with _opened(file) as parquet:
        groups = [parquet.metadata.row_group(number) for number in range(parquet.num_row_groups)]
    first, start, rows, size = 0, 0, 0, 0
    for number, group in enumerate(groups):
        check_count(group.num_rows, file.name)
        more = max(0, group.total_byte_size)
        if rows and (rows + group.num_rows > _BATCH_ROWS or size + more > _BATCH_BYTES):
            yield RowGroups(found, columns, rows, size, first, number, start)
            first, start, rows, size = number, start + rows, 0, 0
        rows, size = rows + group.num_rows, size + more
    yield RowGroups(found, columns, rows, size, first, len(groups), start)


@dataclass(frozen=True)
class RowGroups(FilePiece):
    """Row groups ``first .. last`` of a file, after ``start`` of its rows."""

    first: int
    last: int
    start: int

    def batches(self) -> Iterator[pa.RecordBatch]:
        file, columns = self.found.file, list(self.columns.names)
        with _opened(file) as parquet:
            here = [name for name in columns if name in parquet.schema_arrow.names]
            most, start = self._batch_rows(parquet, here), self.start
            # One row group at a time: Arrow cannot put nested columns of several groups into one batch.
            for group in range(self.first, self.last):
                for batch in parquet.iter_batches(most, row_groups=[group], columns=here):
                    validate(batch, file.name, start)
                    ready = fitted(batch, self.columns.schema, columns, file.name)
                    refuse_impossible_times(ready, file.name, start)
                    yield ready
                    start += batch.num_rows

    def _batch_rows(self, parquet: pq.ParquetFile, columns: list[str]) -> int:
        """As many rows as fit into a batch. The metadata know little of them: values may be encoded."""
        first = next(parquet.iter_batches(_PROBED, row_groups=[self.first], columns=columns), None)
        size = first.nbytes / first.num_rows if first is not None and first.num_rows else 1
        return max(1, min(_BATCH_ROWS, int(_BATCH_BYTES / max(size, 1))))
