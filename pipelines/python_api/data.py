"""Data in memory as a source: written to a Parquet file that is named after its content."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts.errors import DataError, first_line

if TYPE_CHECKING:
    import pyarrow as pa


def is_data(value: object) -> bool:
    """Whether a value holds rows: a table or frame of a library, or a list of dicts."""
    if isinstance(value, list):
        return all(isinstance(row, Mapping) for row in value)
    return hasattr(value, _STREAM) or type(value).__module__.partition(".")[0] in ("pyarrow", "datasets")


#: What objects offer that others can read as Arrow data: those of polars and DuckDB, for example.
_STREAM = "__arrow_c_stream__"


def as_table(value: Any) -> pa.Table:
    """The rows of an Arrow table or batch, a pandas or polars frame, a Hugging Face data set, or dicts.

    Raises DataError if they do not make a table, or if two columns have one name.
    """
    table = _as_table(value)
    names = table.column_names
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise DataError(
            f"the data has several columns named {', '.join(map(repr, twice))}: give each column a name of "
            "its own"
        )
    return table


def _as_table(value: Any) -> pa.Table:
    import pyarrow as pa

    try:
        if isinstance(value, pa.Table):
            return value
        if isinstance(value, pa.RecordBatch):
            return pa.Table.from_batches([value])
        if isinstance(value, list):
            return pa.Table.from_pylist([dict(row) for row in value])
        library = type(value).__module__.partition(".")[0]
        if library == "pandas":
            value = value.set_axis([str(name) for name in value.columns], axis="columns")
            if not value.columns.is_unique:  # from_pandas refuses it in words of its own
                return pa.schema([(name, pa.null()) for name in value.columns]).empty_table()
            return pa.Table.from_pandas(value, preserve_index=False).replace_schema_metadata(None)
        if library == "datasets" and hasattr(value, "with_format"):
            rows: pa.Table = value.with_format("arrow")[:]
            return rows.replace_schema_metadata(None)
        if hasattr(value, _STREAM):
            return pa.table(value)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"the data does not fit into a table: {first_line(error)}") from error
    raise DataError(
        f"a source cannot be a {type(value).__name__}: give an Arrow table, a pandas or polars frame, a "
        "Hugging Face data set of one split, or a list of dicts"
    )


def written(table: pa.Table, folder: Path) -> Path:
    """The Parquet file of a table in a folder. Equal tables give one file."""
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{os.getpid()}.partial"
    try:
        pq.write_table(table, partial, compression="zstd")
        digest = blake2b(partial.read_bytes(), digest_size=12).hexdigest()
        file = folder / f"{digest}.parquet"
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return file
