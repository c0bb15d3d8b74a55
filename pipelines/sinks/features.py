"""What Hugging Face's ``datasets`` and trainers read otherwise, or not at all, in Parquet and Arrow files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...contracts.errors import DataError
from ...contracts.notices import tell

if TYPE_CHECKING:
    import pyarrow as pa


def refuse_unreadable(schema: pa.Schema) -> None:
    """Raise DataError, with the first column, for a type that ``datasets`` does not have."""
    for field in schema:
        if what := _unreadable(field.type):
            raise DataError(f"column {field.name!r} holds {_fix(field.name, what)}")


def tell_unreadable(schema: pa.Schema) -> None:
    """Say which columns ``datasets`` cannot read: other readers of Parquet can."""
    for field in schema:
        if what := _unreadable(field.type):
            tell(f"export: column {field.name!r} holds {_fix(field.name, what)}")


def tell_turns(own: pa.Schema) -> None:
    """Say that chat templates read turns with more than a role and a text from JSON Lines alone.

    ``own``: the columns of a format. Typed files have null for a key that a turn lacks.
    """
    import pyarrow as pa

    turns = [field.type.value_type for field in own if pa.types.is_list(field.type)]
    names = {field.name for kind in turns if pa.types.is_struct(kind) for field in kind}
    if more := sorted(names - {"role", "content"}):
        tell(
            f"export: a turn without {', '.join(more)} has null there in a typed file, and calls have their "
            "arguments as text: chat templates (those of Qwen 2.5 and Llama 3.1) take both as they are, and "
            "trainers that do not correct it (TRL) train on that: to train there, use `export: jsonl`"
        )


def _fix(name: str, what: str) -> str:
    return (
        f"{what}, which `datasets` cannot read: leave it out with `drop: [{name}]`, or use `export: jsonl`, "
        "where maps are objects"
    )


def _unreadable(kind: pa.DataType) -> str | None:
    """What a type has that ``datasets`` has no feature for."""
    import pyarrow as pa

    if pa.types.is_map(kind):
        return "maps"
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return "list views"
    return next(filter(None, (_unreadable(inner) for inner in _inner(kind))), None)


def _inner(kind: pa.DataType) -> list[pa.DataType]:
    return [kind.field(place).type for place in range(kind.num_fields)]
