"""Tables in a row, cut at other places: by their values alone, wherever they were cut before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

#: Bytes of the values of a table, about, at most.
TABLE_BYTES = 16 << 20
#: Rows whose bytes are counted together.
_BLOCK_ROWS = 256


def cut(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of ``rows`` rows, or of fewer that have ``TABLE_BYTES``; the last has the rest.

    ``tables`` have one schema. If they have no rows, there is one table.
    """
    import pyarrow as pa

    left: pa.Table | None = None
    counted = size = 0
    begun = False
    for table in tables:
        whole = table if left is None else pa.concat_tables([left, table])
        first, at = 0, counted
        while whole.num_rows - at >= (more := min(_BLOCK_ROWS, rows - counted)):
            size += sum(_bytes(column) for column in whole.slice(at, more).columns)
            at, counted = at + more, counted + more
            if counted == rows or size >= TABLE_BYTES:
                yield whole.slice(first, at - first)
                first, counted, size, begun = at, 0, 0, True
        left = whole.slice(first)
    if left is not None and (left.num_rows or not begun):
        yield left


def _bytes(column: pa.ChunkedArray | pa.Array) -> int:
    """Bytes of the values, without what marks nulls and ends, which depends on how they were made."""
    import pyarrow as pa
    import pyarrow.compute as pc

    types, kind = pa.types, column.type
    if (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    ):
        return pc.sum(pc.binary_length(column)).as_py() or 0
    if types.is_struct(kind):
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        return sum(_bytes(part) for chunk in chunks for part in chunk.flatten())
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return 4 * len(column) + _bytes(pc.list_flatten(column))
    return 8 * len(column)
