"""The Arrow types of rows: those that every step, part and export supports.

Other files may contain more: encodings (dictionaries, runs, views), extensions of plain types, and types that
Parquet does not support. The first two are read as the plain type; the last are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ...contracts.errors import DataError, first_line

if TYPE_CHECKING:
    import pyarrow as pa


def plain(schema: pa.Schema) -> pa.Schema:
    """The schema without encodings, extensions, nullability marks and metadata, which differ from file to
    file.
    """
    import pyarrow as pa

    return pa.schema([pa.field(field.name, plain_type(field.type)) for field in schema])


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type without encodings, extensions and nullability marks, at every depth."""
    import pyarrow as pa

    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        # An 8-bit boolean is read as a boolean.
        return pa.bool_() if kind.extension_name == "arrow.bool8" else plain_type(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if types.is_string_view(kind):
        return pa.string()
    if types.is_binary_view(kind):
        return pa.binary()
    if types.is_decimal32(kind) or types.is_decimal64(kind):
        return pa.decimal128(kind.precision, kind.scale)
    if types.is_struct(kind):
        return pa.struct([_plain_field(field) for field in kind])
    if types.is_map(kind):
        return pa.map_(plain_type(kind.key_type), plain_type(kind.item_type))
    if types.is_fixed_size_list(kind):
        return pa.list_(_plain_field(kind.value_field), kind.list_size)
    if types.is_list(kind):
        return pa.list_(_plain_field(kind.value_field))
    if types.is_large_list(kind):
        return pa.large_list(_plain_field(kind.value_field))
    # Views of lists stay: Parquet takes them, and Arrow's cast to lists is wrong (26.0.1: it forgets the last
    # offset).
    return kind


def _plain_field(field: pa.Field) -> pa.Field:
    import pyarrow as pa

    return pa.field(field.name, plain_type(field.type))


def one_schema(schemas: Iterable[tuple[str, pa.Schema]]) -> pa.Schema:
    """The common schema of the files. Raises DataError, with file and columns, if there is none."""
    import pyarrow as pa

    schema: pa.Schema | None = None
    for name, other in schemas:
        doubled = next((each for each in other.names if other.names.count(each) > 1), None)
        if doubled is not None:
            raise DataError(
                f"{name}: two columns are called {doubled!r}: write the file with one of them renamed"
            )
        if schema is None:
            schema = other
            continue
        try:
            schema = pa.unify_schemas([schema, other], promote_options="permissive")
        except pa.ArrowException as error:
            differing = [
                f"{field.name!r} is {field.type} here and {schema.field(field.name).type} in the files before"
                for field in other
                if field.name in schema.names and schema.field(field.name).type != field.type
            ]
            raise DataError(f"{name}: the files have no schema in common: {'; '.join(differing)}") from error
    return pa.schema([]) if schema is None else schema


def refuse_unholdable(schema: pa.Schema, columns: Sequence[str], where: str) -> None:
    """Raise DataError, with the column and the fix, for a type that rows cannot have."""
    for name in columns:
        kind = schema.field(name).type
        reason = next(_unholdable(kind), None)
        if reason is not None:
            raise DataError(
                f"{where}: column {name!r} holds {reason} ({kind}), which rows cannot hold: leave it "
                "out with "
                "`columns:`, or write the file with that column as text or numbers"
            )


def _unholdable(kind: pa.DataType) -> Iterator[str]:
    import pyarrow as pa

    types = pa.types
    if types.is_union(kind):
        yield "a union"
    elif types.is_interval(kind):
        yield "intervals of months, days and nanoseconds"
    elif types.is_fixed_size_binary(kind) and kind.byte_width == 0:
        yield "bytes of length 0"
    elif types.is_timestamp(kind) and kind.tz is not None and not _known_zone(kind.tz):
        yield f"times of the unknown zone {kind.tz!r}"
    elif _is_list_view(kind) and plain_type(kind.value_type) != kind.value_type:
        yield "views of lists of an encoded type"
    elif types.is_struct(kind):
        names = [field.name for field in kind]
        if not names:
            yield "structures without fields"
        if len(set(names)) < len(names):
            yield "structures with two fields of one name"
    for inner in children(kind):
        yield from _unholdable(inner)


def children(kind: pa.DataType) -> list[pa.DataType]:
    """The types of the items of a list, map or structure."""
    import pyarrow as pa

    if pa.types.is_map(kind):
        return [kind.key_type, kind.item_type]
    if pa.types.is_struct(kind):
        return [field.type for field in kind]
    return [kind.value_type] if pa.types.is_nested(kind) and hasattr(kind, "value_type") else []


def _is_list_view(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def _known_zone(name: str) -> bool:
    import pyarrow as pa

    try:
        pa.scalar(0, pa.timestamp("s", name)).as_py()
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return False
    return True


def fitted(batch: pa.RecordBatch, schema: pa.Schema, columns: Sequence[str], where: str) -> pa.RecordBatch:
    """The batch with exactly these columns of the schema; those it lacks are null.

    Raises DataError, with file and column, for values that the schema's type cannot represent, such as a
    large integer in a column that another file makes a float column.
    """
    import pyarrow as pa

    present = set(batch.schema.names)
    arrays = []
    for name in columns:
        kind = schema.field(name).type
        if name not in present:
            arrays.append(pa.nulls(batch.num_rows, kind))
            continue
        array = batch.column(name)
        try:
            arrays.append(_cast(array, kind))
        except pa.ArrowException as error:
            raise DataError(
                f"{where}: column {name!r} holds {array.type}, which cannot be read as {kind} "
                f"({first_line(error)}): "
                "write it with that type, or leave it out with `columns:`"
            ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([schema.field(name) for name in columns]))


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    if pa.types.is_dictionary(array.type) and pa.types.is_nested(array.type.value_type):
        array = array.dictionary_decode()
    return array if array.type == kind else array.cast(kind)
