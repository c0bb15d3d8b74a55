"""The common part of all sinks: choosing columns and converting rows to a trainer's format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, count
from typing import TYPE_CHECKING

from ...contracts.errors import DataError
from ...contracts.operators import Sink
from ...contracts.rows import check_chat_form
from .formats import FORMATS, Format

if TYPE_CHECKING:
    import pyarrow as pa

#: Internal columns that are larger than the rows themselves.
HEAVY = frozenset({"logprobs", "top_logprobs", "embedding"})
_BATCH_ROWS = 4096


class Export(Sink):
    """The rows of a step, for other programs.

    The row's ``_id`` is written as ``id`` (``row_id`` if the rows have an ``id``, or ``row_id_2`` if they
    have both). Equal rows give equal bytes.
    """

    path: str | None = None
    """Where to write; a relative path starts at the current directory. By default into the run's own
    directory."""
    format: Format = "rows"
    """Layout of the rows: `rows` writes the columns as they are; the others are layouts that trainers read. A
    row that does not fit the layout stops the export."""
    columns: tuple[str, ...] | None = None
    """With `format: rows` the columns to write, by default all; with another layout the additional columns to
    write, by default none."""
    drop: tuple[str, ...] | None = None
    """Columns to leave out. By default log-probabilities and embeddings, unless `columns` names them."""

    def uses_columns(self) -> Iterable[str]:
        pair = ("prompt", "chosen", "rejected") if self.format == "prompt_chosen_rejected" else ()
        return (*pair, *(self.columns or ()), *(self.drop or ()))

    def check_columns(self, columns: Sequence[str]) -> None:
        super().check_columns(columns)
        if self.format not in ("rows", "prompt_chosen_rejected"):
            check_chat_form(columns)

    def prepared(self, table: pa.Table) -> pa.Table:
        """The table to write: without reserved columns, in the requested format, one chunk per column.

        Raises DataError for a missing column and for a row that does not fit the format. Without input rows,
        the requested columns are empty.
        """
        if not table.num_rows:
            table = _with_columns(table, [*(self.columns or ()), *(self.drop or ())])
        for name in [*(self.columns or ()), *(self.drop or ())]:
            if name not in table.column_names:
                known = ", ".join(each for each in table.column_names if not each.startswith("_"))
                raise DataError(f"export: no column {name!r}; there are {known}")
        own = [name for name in table.column_names if not name.startswith("_")]
        dropped = set(self.drop) if self.drop is not None else HEAVY - set(self.columns or ())
        chosen = own if self.columns is None and self.format == "rows" else list(self.columns or ())
        kept = table.select([name for name in chosen if name not in dropped])
        if self.format != "rows":
            kept = _formatted(table, self.format, kept)
        if "_id" in table.column_names:
            kept = kept.add_column(0, _free_name(kept.column_names), table["_id"])
        # The layout of chunks depends on how the work was split; the bytes written must not.
        return kept.combine_chunks().replace_schema_metadata(None)


def _free_name(taken: Sequence[str]) -> str:
    """A name for the ids that no column has."""
    names = chain(("id", "row_id"), (f"row_id_{n}" for n in count(2)))
    return next(name for name in names if name not in taken)


def _with_columns(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """An empty table with these columns too: steps without rows do not know which columns they would add."""
    import pyarrow as pa

    for name in dict.fromkeys(names):
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(0))
    return table


def _formatted(table: pa.Table, form: str, beside: pa.Table) -> pa.Table:
    import pyarrow as pa

    convert = FORMATS[form]
    schema = _schema(form)
    batches = [
        pa.RecordBatch.from_pylist([convert(row) for row in batch.to_pylist()], schema=schema)
        for batch in table.to_batches(max_chunksize=_BATCH_ROWS)
    ]
    made = pa.Table.from_batches(batches, schema=schema)
    if "system" in made.column_names and made["system"].null_count == made.num_rows:
        made = made.drop_columns("system")
    for name in beside.column_names:
        if name in made.column_names:
            raise DataError(f"export: column {name!r} is already part of the format {form}: leave it out")
        made = made.append_column(name, beside[name])
    return made


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
