"""How the rows of an export are written: which columns, under which name the ids, in which format.

It is decided once for all rows, so that they can be written in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING

from ...contracts import stored_rows
from ...contracts.cutting import cut
from ...contracts.errors import DataError
from ...contracts.stored_rows import StoredRows
from .formats import FORMATS, Format

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 4096
#: The columns that a row's system prompt may come from.
_SYSTEM = ("system", "messages", "turns")


@dataclass(frozen=True)
class Layout:
    """The form of a table to write.

    ``columns``: those that are written as they are, beside the format's own. ``id_name``: of the column for
    ``_id``, if the rows have one. ``system``: does any row have a system prompt?
    """

    form: Format
    columns: tuple[str, ...]
    id_name: str | None
    system: bool

    @classmethod
    def of(cls, rows: StoredRows, form: Format, columns: Sequence[str]) -> Layout:
        """The layout of these rows. Raises DataError for a column that the format has too."""
        system = form != "rows" and _has_system(rows, form)
        own = [name for name in columns_of(form) if name != "system" or system]
        for name in columns:
            if name in own:
                raise DataError(f"export: column {name!r} is already part of the format {form}: leave it out")
        id_name = _free_name([*own, *columns]) if "_id" in rows.column_names else None
        return cls(form, tuple(columns), id_name, system)

    def reads(self, names: Sequence[str]) -> list[str]:
        """The columns that :meth:`of_table` needs, of those that the rows have."""
        if self.form != "rows":
            return list(names)
        return [*(["_id"] if self.id_name else []), *(name for name in self.columns if name in names)]

    def of_table(self, table: pa.Table) -> pa.Table:
        """The table to write, a chunk per column. Raises DataError for a row that does not fit the format."""
        import pyarrow as pa

        arrays: dict[str, pa.Array | pa.ChunkedArray] = {}
        if self.id_name is not None:
            arrays[self.id_name] = table["_id"]
        if self.form != "rows":
            made = converted(table, self.form)
            arrays |= {name: made[name] for name in made.column_names if name != "system" or self.system}
        for name in self.columns:
            # Steps without rows do not know which columns they would add.
            arrays[name] = table[name] if name in table.column_names else pa.nulls(table.num_rows)
        # The layout of chunks depends on how the work was split; the bytes written must not.
        return pa.table(arrays).combine_chunks()

    def tables(self, rows: StoredRows) -> Iterator[pa.Table]:
        """All tables to write, of ``BATCH_ROWS`` rows."""
        names = self.reads(rows.column_names)
        batches = rows.batches(names) if rows.num_rows else [rows.table(names)]
        own = (batch.select(names) for batch in batches)
        yield from map(self.of_table, cut(own, stored_rows.BATCH_ROWS))


def columns_of(form: Format) -> list[str]:
    """The columns that a format makes."""
    return [] if form == "rows" else list(_schema(form).names)


def converted(table: pa.Table, form: Format) -> pa.Table:
    """The rows in a format other than ``rows``. Raises DataError for a row that does not fit it."""
    import pyarrow as pa

    convert, schema = FORMATS[form], _schema(form)
    batches = [
        pa.RecordBatch.from_pylist([convert(row) for row in batch.to_pylist()], schema=schema)
        for batch in table.to_batches(max_chunksize=_BATCH_ROWS)
    ]
    return pa.Table.from_batches(batches, schema=schema)


def _has_system(rows: StoredRows, form: Format) -> bool:
    """Does any row have a system prompt? Rows are read until one has."""
    if "system" not in _schema(form).names or not set(_SYSTEM) & set(rows.column_names):
        return False
    convert = FORMATS[form]
    return any(
        convert(row)["system"] is not None
        for table in rows.batches()
        for batch in table.to_batches(max_chunksize=_BATCH_ROWS)
        for row in batch.to_pylist()
    )


def _free_name(taken: Sequence[str]) -> str:
    """A name for the ids that no column has."""
    names = chain(("id", "row_id"), (f"row_id_{n}" for n in count(2)))
    return next(name for name in names if name not in taken)


def _schema(form: str) -> pa.Schema:
    import pyarrow as pa

    text = pa.string()
    if form == "messages":
        return pa.schema([("messages", pa.list_(pa.struct([("role", text), ("content", text)])))])
    if form == "sharegpt":
        return pa.schema([("conversations", pa.list_(pa.struct([("from", text), ("value", text)])))])
    names = {
        "prompt_completion": ("system", "prompt", "completion"),
        "alpaca": ("system", "instruction", "input", "output"),
        "prompt_chosen_rejected": ("system", "prompt", "chosen", "rejected"),
    }
    return pa.schema([(name, text) for name in names[form]])
