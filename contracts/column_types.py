"""What the Arrow type of a column says about its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from .mistakes import Collected, ColumnError

if TYPE_CHECKING:
    import pyarrow as pa


def holds_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text, also encoded, or only nulls."""
    import pyarrow as pa

    types = pa.types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return bool(text or types.is_null(kind))


def holds_turns(kind: pa.DataType) -> bool:
    """Whether a column of this type holds lists of turns: objects with a role and a content."""
    import pyarrow as pa

    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    turn = kind.value_type
    return bool(pa.types.is_struct(turn)) and {"role", "content"} <= {field.name for field in turn}


def reads_as_text(kind: pa.DataType) -> bool:
    """Whether the values of a column of this type are read as texts: texts, and conversations."""
    return holds_text(kind) or holds_turns(kind)


def holds_numbers(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers or booleans, or only nulls."""
    import pyarrow as pa

    types = pa.types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return bool(number or types.is_boolean(kind) or types.is_null(kind))


def holds_plain_values(kind: pa.DataType) -> bool:
    """Whether the values of a column of this type are no lists or structures."""
    import pyarrow as pa

    return not pa.types.is_nested(kind)


def holds_truth(kind: pa.DataType) -> bool:
    """Whether a column of this type holds true and false, or only nulls."""
    import pyarrow as pa

    return bool(pa.types.is_boolean(kind) or pa.types.is_null(kind))


def check_types(texts: Iterable[str], numbers: Iterable[str], types: Mapping[str, pa.DataType]) -> None:
    """Raise DataError if one of ``texts`` is known not to hold text, or one of ``numbers`` no numbers."""
    with Collected() as found:
        for names, holds, wanted in ((texts, reads_as_text, "text"), (numbers, holds_numbers, "numbers")):
            cast = f"CAST({{}} AS {'VARCHAR' if wanted == 'text' else 'DOUBLE'})"
            with found.at():
                check_held(names, types, holds, wanted, cast)


def check_held(
    names: Iterable[str],
    types: Mapping[str, pa.DataType],
    holds: Callable[[pa.DataType], bool],
    wanted: str,
    expression: str,
) -> None:
    """Raise DataError if one of the columns is known to have a type that is not as ``holds`` tells.

    ``wanted``: what the column should hold. ``expression``: SQL that makes it of a column, named by ``{}``.
    """
    with Collected() as found:
        for name in names:
            if name in types and not holds(types[name]):
                said = f"the column '{name}' holds {types[name]}, and this needs {wanted}"
                made = expression.format(name)
                fix = f'a step before it can convert it: `compute: {{{name}: "{made}"}}`'
                found.add(ColumnError(f"{said}: {fix}", name))
