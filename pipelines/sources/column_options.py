"""The common part of all sources: renaming and choosing columns, reserved names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...contracts.errors import DataError
from ...contracts.mistakes import at
from ...contracts.nearest import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa


def final_names(
    found: Sequence[str], rename: Mapping[str, str], columns: Sequence[str] | None, where: str
) -> dict[str, str]:
    """Old name -> new name of the columns to read, in order. ``columns`` are new names.

    Raises DataError for a missing column, two columns with one name, or a reserved name.
    """
    for name in rename:
        if name not in found:
            with at("rename", name):
                raise DataError(f"{where}: rename: no column {name!r}{_nearest(name, found)}")
    renamed = [(name, rename.get(name, name)) for name in found]
    present = [new for _, new in renamed]
    for name in present:
        if present.count(name) > 1:
            raise DataError(f"{where}: two columns are called {name!r}: rename one of them to something else")
    if columns is not None:
        for name in columns:
            if name not in present:
                with at("columns"):
                    raise DataError(f"{where}: columns: no column {name!r}{_nearest(name, present)}")
        old = {new: name for name, new in renamed}
        renamed = [(old[name], name) for name in columns]
    for name, new in renamed:
        if new.startswith("_"):
            raise DataError(
                f"{where}: column {new!r}: names that start with '_' are reserved; "
                f"read it under another name with `rename: {{{name}: {new.lstrip('_') or 'column'}}}`, "
                "or leave it out with `columns:`"
            )
    return dict(renamed)


def _nearest(name: str, known: Sequence[str]) -> str:
    return did_you_mean(name, known) or f"; there are {', '.join(map(repr, known)) or 'none'}"


def named(batch: pa.RecordBatch, names: Mapping[str, str]) -> pa.RecordBatch:
    """The batch with the columns of ``names`` (own name -> new name), under their new names."""
    return batch.select(list(names)).rename_columns(list(names.values())).replace_schema_metadata(None)


def renamed(schema: pa.Schema, names: Mapping[str, str]) -> pa.Schema:
    """The columns of ``names`` (own name -> new name), under their new names."""
    import pyarrow as pa

    return pa.schema([pa.field(new, schema.field(name).type) for name, new in names.items()])


def known_types(schema: pa.Schema) -> dict[str, pa.DataType]:
    """The types of the columns, without those that are not known: Arrow's null."""
    import pyarrow as pa

    return {field.name: field.type for field in schema if not pa.types.is_null(field.type)}


def none_of(schema: pa.Schema) -> pa.RecordBatch:
    """No rows of a schema."""
    import pyarrow as pa

    return pa.RecordBatch.from_pylist([], schema=schema)
