"""Rows from Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from .column_options import final_names, no_rows, prepared
from .damaged_files import damage_told, refuse_impossible_times, validate
from .file_source import FileSource
from .locations import File
from .types import fitted, one_schema, plain, refuse_unholdable

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ...contracts.operators import Context

_BATCH_ROWS = 65_536


class Parquet(FileSource):
    """Reads Parquet files, in the order of their names, under one schema.

    A column that a file lacks is null there; numbers are widened if Arrow can do so without loss. All data is
    validated, so that a damaged file is an error with its name.

    Example:
        old: {source: parquet, path: s3://bucket/rows/, columns: [prompt, response]}
    """

    endings: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        found = self.files()
        if not found:
            return no_rows(self.columns)
        schema = one_schema((file.name, _schema(file)) for file in found)
        names = final_names(schema.names, self.rename, self.columns, found[0].name)
        refuse_unholdable(schema, list(names), found[0].name)
        return prepared(_batches(found, schema, list(names)), schema, names, self.rows, context)

    def names(self) -> Sequence[str] | None:
        names: list[str] = one_schema((file.name, _schema(file)) for file in self.files()).names
        return names

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


def _schema(file: File) -> pa.Schema:
    with _opened(file) as parquet:
        return plain(parquet.schema_arrow)


def _batches(found: Sequence[File], schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for file in found:
        with _opened(file) as parquet:
            here = [name for name in columns if name in parquet.schema_arrow.names]
            start = 0
            # One row group at a time: Arrow cannot put nested columns of several groups into one batch.
            for group in range(parquet.num_row_groups):
                for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=here):
                    validate(batch, file.name, start)
                    ready = fitted(batch, schema, columns, file.name)
                    refuse_impossible_times(ready, file.name, start)
                    yield ready
                    start += batch.num_rows
