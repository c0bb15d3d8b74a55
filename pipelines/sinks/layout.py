"""How the rows of an export are written: which columns, under which name the ids, in which format.

It is decided once for all rows, so that they can be written in pieces.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING

from ...contracts import stored_rows
from ...contracts.cutting import cut
from ...contracts.errors import DataError
from ...contracts.rows import Row, turns_in
from ...contracts.stored_rows import StoredRows
from ...contracts.turns import is_turns
from .formats import CONVERSED, FORMATS, Format
from .schemas import schema_of
from .turns import with_object_arguments

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 4096


@dataclass(frozen=True)
class Layout:
    """The form of a table to write.

    ``columns``: those that are written as they are, beside the format's own. ``id_name``: of the column for
    ``_id``, if the rows have one. ``own``: the format's own columns, as far as the rows have values for them.
    """

    form: Format
    columns: tuple[str, ...]
    id_name: str | None
    own: pa.Schema

    @classmethod
    def of(cls, rows: StoredRows, form: Format, columns: Sequence[str]) -> Layout:
        """The layout of these rows. Raises DataError for a column that the format has too."""
        import pyarrow as pa

        own = pa.schema([]) if form == "rows" else schema_of(rows, form)
        for name in {"tools", "reasoning"} & set(columns) & set(own.names):  # asked for as they are
            own = own.remove(own.get_field_index(name))
        for name in columns:
            if name in own.names:
                raise DataError(f"export: column {name!r} is already part of the format {form}: leave it out")
        id_name = _free_name([*own.names, *columns]) if "_id" in rows.column_names else None
        return cls(form, tuple(columns), id_name, own)

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
            made = _converted(table, self.form, self.own)
            arrays |= {name: made[name] for name in made.column_names}
        for name in self.columns:
            # Steps without rows do not know which columns they would add.
            arrays[name] = table[name] if name in table.column_names else pa.nulls(table.num_rows)
        # The layout of chunks depends on how the work was split; the bytes written must not.
        return pa.table(arrays).combine_chunks()

    def as_json(self, record: Row) -> Row:
        """A record of :meth:`of_table` as JSON has it: turns without empty keys, tools as objects.

        So are the arguments of calls: the templates of Qwen 2.5 and Llama 3.1 write a text as the JSON text
        of a text, and TRL and LLaMA-Factory do not parse it.
        """
        made: Row = {name: turns_in(value) if is_turns(value) else value for name, value in record.items()}
        if self.form not in CONVERSED:
            return made
        for name in self.own.names:
            if is_turns(made[name]):
                made[name] = [with_object_arguments(turn) for turn in made[name]]
        if "tools" in self.own.names and (tools := made.pop("tools")) is not None:
            made["tools"] = json.loads(tools)
        return made

    def tables(self, rows: StoredRows) -> Iterator[pa.Table]:
        """All tables to write, of ``BATCH_ROWS`` rows."""
        names = self.reads(rows.column_names)
        batches = rows.batches(names) if rows.num_rows else [rows.table(names)]
        own = (batch.select(names) for batch in batches)
        yield from map(self.of_table, cut(own, stored_rows.BATCH_ROWS))


def _converted(table: pa.Table, form: Format, schema: pa.Schema) -> pa.Table:
    """The rows in a format other than ``rows``. Raises DataError for a row that does not fit it."""
    import pyarrow as pa

    convert = FORMATS[form]
    batches = [
        pa.RecordBatch.from_pylist([convert(row) for row in batch.to_pylist()], schema=schema)
        for batch in table.to_batches(max_chunksize=_BATCH_ROWS)
    ]
    return pa.Table.from_batches(batches, schema=schema)


def _free_name(taken: Sequence[str]) -> str:
    """A name for the ids that no column has."""
    names = chain(("id", "row_id"), (f"row_id_{n}" for n in count(2)))
    return next(name for name in names if name not in taken)
