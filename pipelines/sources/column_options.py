"""The common part of all sources: renaming and choosing columns, reserved names, the limit on rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...contracts.errors import DataError
from ...contracts.nearest import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.operators import Context


def final_names(
    found: Sequence[str], rename: Mapping[str, str], columns: Sequence[str] | None, where: str
) -> dict[str, str]:
    """Old name -> new name of the columns to read, in order. ``columns`` are new names.

    Raises DataError for a missing column, two columns with one name, or a reserved name.
    """
    for name in rename:
        if name not in found:
            raise DataError(f"{where}: rename: no column {name!r}{_nearest(name, found)}")
    renamed = [(name, rename.get(name, name)) for name in found]
    present = [new for _, new in renamed]
    for name in present:
        if present.count(name) > 1:
            raise DataError(f"{where}: two columns are called {name!r}: rename one of them to something else")
    if columns is not None:
        for name in columns:
            if name not in present:
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


def prepared(
    batches: Iterator[pa.RecordBatch],
    schema: pa.Schema,
    names: Mapping[str, str],
    rows: int | None,
    context: Context,
) -> Iterator[pa.RecordBatch]:
    """The batches with the columns of ``names`` under their new names, at most ``rows`` rows.

    ``schema``: that of the batches. If there are no rows, one empty batch keeps the columns for later steps.
    """
    left, empty = rows, True
    for batch in batches:
        context.check()
        chosen = _named(batch, names)
        if left is not None:
            chosen = chosen.slice(0, left)
            left -= chosen.num_rows
        if chosen.num_rows:
            empty = False
            yield chosen
        if left == 0:
            return
    if empty:
        yield _named(_none_of(schema), names)


def _named(batch: pa.RecordBatch, names: Mapping[str, str]) -> pa.RecordBatch:
    return batch.select(list(names)).rename_columns(list(names.values())).replace_schema_metadata(None)


def no_rows(columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    """The output of an empty source: no rows, with the requested columns as strings."""
    import pyarrow as pa

    if columns:
        yield _none_of(pa.schema([(name, pa.string()) for name in columns]))


def _none_of(schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_pylist([], schema=schema)
