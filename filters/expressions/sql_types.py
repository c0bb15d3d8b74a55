"""Conversion of Arrow types that DuckDB does not read, and detection of types that cannot be stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...contracts.errors import DataError
from ..columns import without_nan

if TYPE_CHECKING:
    import pyarrow as pa


def readable(table: pa.Table, who: str) -> pa.Table:
    """Return the table with column types that DuckDB reads.

    16-bit floats become 32-bit, 256-bit decimals become 128-bit, extension types become their storage types,
    and NaN becomes null. Only the input of the expression is converted, never the stored row. Raises
    DataError, naming the column and its type, if it cannot be converted.
    """
    import pyarrow as pa

    for index, field in enumerate(table.schema):
        wanted = readable_type(field.type)
        if wanted is None:
            raise DataError(f"{who}: column '{field.name}' holds {field.type}, which expressions cannot read")
        if wanted != field.type:
            try:
                column = _stored(table.column(index)).cast(wanted)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise DataError(
                    f"{who}: column '{field.name}' holds {field.type}, which expressions cannot read: {error}"
                ) from None
            table = table.set_column(index, field.name, column)
    return without_nan(table)


def readable_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that DuckDB reads in place of ``kind``; None if there is none."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_float16(kind):
        return pa.float32()
    if types.is_decimal256(kind):
        return pa.decimal128(38, kind.scale) if 0 <= kind.scale <= 38 else None
    if types.is_union(kind):
        return None
    if isinstance(kind, pa.BaseExtensionType):
        return readable_type(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return readable_type(kind.value_type)
    if types.is_map(kind):
        key, item = readable_type(kind.key_type), readable_type(kind.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    if types.is_struct(kind):
        inner = [readable_type(field.type) for field in kind]
        fields = [field.with_type(part) for field, part in zip(kind, inner, strict=True) if part is not None]
        return pa.struct(fields) if len(fields) == len(inner) else None
    if types.is_nested(kind):
        item = readable_type(kind.value_type)
        if item == kind.value_type or item is None:
            return kind if item is not None else None
        return pa.list_(item, kind.list_size) if types.is_fixed_size_list(kind) else pa.large_list(item)
    return kind


def _stored(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the storage values of an extension type, and dictionaries and runs decoded."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column.type, pa.BaseExtensionType):
        chunks = [chunk.storage for chunk in column.chunks]
        return _stored(pa.chunked_array(chunks, column.type.storage_type))
    if pa.types.is_run_end_encoded(column.type):
        return pc.run_end_decode(column)
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def unstorable(kind: pa.DataType) -> str | None:
    """Return why a type of DuckDB cannot be stored in a file of a run; None if it can."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_interval(kind) or types.is_duration(kind):
        return "an interval, which cannot be stored: compare it, or write epoch(x)"
    if types.is_union(kind):
        return "a union, which cannot be stored: take a part of it, as in union_extract(x, 'part')"
    if isinstance(kind, pa.BaseExtensionType):
        return f"{kind}, which cannot be stored: cast it, as in x::VARCHAR or x::DOUBLE"
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
