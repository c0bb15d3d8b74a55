"""Rows from Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from ..errors import DataError
from .columns import final_names, prepared
from .files import FileSource
from .locations import File

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ..operator import Context


class Parquet(FileSource):
    """Parquet files, in the order of their names, under one schema.

    A column that a file lacks is null there; numbers are widened where Arrow can without loss.
    """

    endings: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        found = self.files()
        if not found:
            return iter(())
        schema = _one_schema(found)
        names = final_names(schema.names, self.rename, self.columns, found[0].name)
        return prepared(_batches(found, schema, list(names)), names, self.rows, context)

    def count_rows(self) -> int:
        total = 0
        for file in self.files():
            with _opened(file) as parquet:
                total += parquet.metadata.num_rows
        return total


@contextmanager
def _opened(file: File) -> Iterator[pq.ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with file.open() as stream:
        try:
            yield pq.ParquetFile(stream)
        except pa.ArrowException as error:
            raise DataError(f"{file.name}: not a whole Parquet file: {error}") from error


def _one_schema(found: Sequence[File]) -> pa.Schema:
    """The schema that all files fit. Raises DataError, naming file and columns, where there is none."""
    import pyarrow as pa

    with _opened(found[0]) as parquet:
        schema = plain(parquet.schema_arrow)
    for file in found[1:]:
        with _opened(file) as parquet:
            other = plain(parquet.schema_arrow)
        try:
            schema = pa.unify_schemas([schema, other], promote_options="permissive")
        except pa.ArrowException as error:
            differing = [
                f"{field.name!r} is {field.type} here and {schema.field(field.name).type} in the files before"
                for field in other
                if field.name in schema.names and schema.field(field.name).type != field.type
            ]
            raise DataError(
                f"{file.name}: the files have no schema in common: {'; '.join(differing)}"
            ) from error
    return schema


def plain(schema: pa.Schema) -> pa.Schema:
    """The schema without dictionary encoding, nullability marks and metadata, which differ from file to file."""
    import pyarrow as pa

    fields = []
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        fields.append(pa.field(field.name, kind))
    return pa.schema(fields)


def fitted(batch: pa.RecordBatch, schema: pa.Schema, columns: Sequence[str]) -> pa.RecordBatch:
    """The batch with exactly these columns of the schema; those it lacks are null."""
    import pyarrow as pa

    present = set(batch.schema.names)
    arrays = [
        batch.column(name).cast(schema.field(name).type)
        if name in present
        else pa.nulls(batch.num_rows, schema.field(name).type)
        for name in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([schema.field(name) for name in columns]))


def _batches(found: Sequence[File], schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for file in found:
        with _opened(file) as parquet:
            here = [name for name in columns if name in parquet.schema_arrow.names]
            for batch in parquet.iter_batches(batch_size=65_536, columns=here):
                yield fitted(batch, schema, columns)
