"""Reading the columns that a filter needs: presence and type checks, and texts joined into one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..contracts.column_types import holds_numbers, holds_text, holds_turns
from ..contracts.errors import DataError
from ..contracts.exchanges import MESSAGES
from ..contracts.nearest import did_you_mean
from ..contracts.turns import from_json, text_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def require_columns(table: pa.Table, names: Sequence[str], who: str) -> None:
    """Raise DataError, suggesting the nearest name, if ``table`` lacks a column that ``who`` needs."""
    require_named(table.column_names, names, who)


def require_named(columns: Sequence[str], names: Sequence[str], who: str) -> None:
    """Raise DataError, suggesting the nearest name, if ``columns`` lack one that ``who`` needs."""
    for name in names:
        if name not in columns:
            raise DataError(
                f"{who} needs the column '{name}'{did_you_mean(name, columns) or '.'} "
                f"The columns are: {', '.join(_own(columns)) or 'none'}"
            )


def _own(columns: Sequence[str]) -> list[str]:
    return [name for name in columns if not name.startswith("_")]


def is_text(kind: pa.DataType) -> bool:
    """Whether the type is one of Arrow's types of text."""
    import pyarrow as pa

    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def text_column(table: pa.Table, name: str, who: str) -> pa.ChunkedArray:
    """Return the column as large strings (no limit of 2 GiB). A conversation is the text of its turns.

    Raises DataError if it is missing or neither text nor conversations.
    """
    import pyarrow as pa

    require_columns(table, [name], who)
    if name == MESSAGES or holds_turns(table.column(name).type):
        table = turns_as_text(table, name)
    column = table.column(name)
    if not holds_text(column.type):
        raise DataError(f"{who} needs text in the column '{name}', which holds {column.type}")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.large_string())


def turns_as_text(table: pa.Table, name: str) -> pa.Table:
    """Return the table with each conversation in the column ``name`` joined into one text.

    A conversation is a list of turns, or JSON text of one.
    """
    import pyarrow as pa

    if name not in table.column_names or pa.types.is_null(table.column(name).type):
        return table
    texts = ["\n".join(_texts(from_json(value))) or None for value in table.column(name).to_pylist()]
    return table.set_column(table.column_names.index(name), name, pa.array(texts, pa.large_string()))


def _texts(value: object) -> Iterator[str]:
    """Yield the ``content`` of each turn, or the ``text`` of each part of a content in parts; and calls."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(value.get("content"))
        yield from _texts(value.get("text"))
        if value.get("tool_calls"):
            yield text_of({"tool_calls": from_json(value["tool_calls"])})
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def joined_texts(table: pa.Table, columns: Sequence[str], who: str) -> list[str | None]:
    """Return the text of each row: its columns joined by line breaks, or None if one of them is null.

    Raises DataError as :func:`text_column` does.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [text_column(table, name, who) for name in columns]
    joined: list[str | None] = pc.binary_join_element_wise(
        *parts, pa.scalar("\n", pa.large_string())
    ).to_pylist()
    return joined


def number_column(table: pa.Table, column: str, who: str) -> NDArray[np.float64]:
    """Return the numbers (or booleans) of a column as float64, with minus infinity for null and NaN.

    Integers beyond 2**53 become the nearest float64. Raises DataError if the column is missing or does not
    hold numbers.
    """
    import numpy as np
    import pyarrow as pa

    require_columns(table, [column], who)
    values = table.column(column)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if is_text(kind) and values.null_count == len(values):  # as JSON's columns without a value are stored
        return np.full(len(values), -np.inf)
    if pa.types.is_boolean(kind):
        values = values.cast(pa.int8())
    elif not holds_numbers(kind):
        raise DataError(f"{who} needs numbers; the column '{column}' holds {kind}")
    numbers = values.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
    return np.where(np.isnan(numbers), -np.inf, numbers)


def without_nan(table: pa.Table) -> pa.Table:
    """Return the table with NaN replaced by null, also inside lists and structures."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for index, field in enumerate(table.schema):
        column = table.column(index)
        if not any(_holds_nan(chunk) for chunk in column.chunks):
            continue
        if pa.types.is_floating(field.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, field.type), column)
        else:
            column = pa.chunked_array([pa.array([_known(value) for value in column.to_pylist()], field.type)])
        table = table.set_column(index, field, column)
    return table


def _holds_nan(array: pa.Array) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    types, kind = pa.types, array.type
    if types.is_floating(kind):
        return bool(pc.any(pc.is_nan(array)).as_py())
    if types.is_map(kind):
        return _holds_nan(array.keys) or _holds_nan(array.items)
    if types.is_struct(kind):
        return any(_holds_nan(part) for part in array.flatten())
    return types.is_nested(kind) and _holds_nan(array.flatten())


def _known(value: Any) -> Any:
    if isinstance(value, float):
        return value if value == value else None
    if isinstance(value, dict):
        return {name: _known(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_known(part) for part in value)
    return value
