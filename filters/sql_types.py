"""Arrow types that DuckDB does not read, as types that it does; and types that it gives but no file of a run holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..pipelines.errors import DataError
from .columns import without_nan

if TYPE_CHECKING:
    import pyarrow as pa


def readable(table: pa.Table, who: str) -> pa.Table:
    """The table with 16-bit floats as 32-bit ones, 256-bit decimals as 128-bit ones, extensions as what they are
    stored as, and null for NaN. Only what an expression looks at is changed so, never the row.

    Raises DataError, which names the column and its type, where there is no such type.
    """
    import pyarrow as pa

    for index, field in enumerate(table.schema):
        wanted = _readable(field.type)
        if wanted is None:
            raise DataError(
                f"{who}: column '{field.name}' holds {field.type}, which expressions cannot look at"
            )
        if wanted != field.type:
            try:
                column = _stored(table.column(index)).cast(wanted)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise DataError(
                    f"{who}: column '{field.name}' holds {field.type}, which expressions cannot look at: {error}"
                ) from None
            table = table.set_column(index, field.name, column)
    return without_nan(table)


def _readable(kind: pa.DataType) -> pa.DataType | None:
    """The type that DuckDB reads in place of ``kind``; None where there is none."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_float16(kind):
        return pa.float32()
    if types.is_decimal256(kind):
        return pa.decimal128(38, kind.scale) if 0 <= kind.scale <= 38 else None
    if types.is_union(kind):
        return None
    if isinstance(kind, pa.BaseExtensionType):
        return _readable(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _readable(kind.value_type)
    if types.is_map(kind):
        key, item = _readable(kind.key_type), _readable(kind.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    if types.is_struct(kind):
        inner = [_readable(field.type) for field in kind]
        fields = [field.with_type(part) for field, part in zip(kind, inner, strict=True) if part is not None]
        return pa.struct(fields) if len(fields) == len(inner) else None
    if types.is_nested(kind):
        item = _readable(kind.value_type)
        if item == kind.value_type or item is None:
            return kind if item is not None else None
        return pa.list_(item, kind.list_size) if types.is_fixed_size_list(kind) else pa.large_list(item)
    return kind


def _stored(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """An extension's values as they are stored, a dictionary's or a run's written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column.type, pa.BaseExtensionType):
        chunks = [chunk.storage for chunk in column.chunks]
        return _stored(pa.chunked_array(chunks, column.type.storage_type))
    if pa.types.is_run_end_encoded(column.type):
        return pc.run_end_decode(column)
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def unstorable(kind: pa.DataType) -> str | None:
    """What of a type that DuckDB gave cannot be kept in a file of a run; None where all can."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_interval(kind) or types.is_duration(kind):
        return "an interval, which no file holds: compare it, or write epoch(x)"
    if types.is_union(kind):
        return "a union, which no file holds: take a part of it, as in union_extract(x, 'part')"
    if isinstance(kind, pa.BaseExtensionType):
        return f"{kind}, which no file holds: cast it, as in x::VARCHAR or x::DOUBLE"
    if types.is_struct(kind):
        names = [field.name for field in kind]
        if "" in names or len(set(names)) < len(names):
            return "a struct whose parts have no names of their own: write it as in {'a': x, 'b': y}"
        return _first(field.type for field in kind)
    if types.is_map(kind):
        return _first([kind.key_type, kind.item_type])
    if types.is_dictionary(kind) or types.is_nested(kind):
        return unstorable(kind.value_type)
    return None


def _first(kinds: Iterable[pa.DataType]) -> str | None:
    return next((reason for kind in kinds if (reason := unstorable(kind)) is not None), None)
