"""``compute:`` new columns from SQL expressions over a row's columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from ..pipelines.errors import DataError
from ..pipelines.operator import Context, TableApply, TableMap, Verdicts

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBER = "_row_number"


class Compute(TableMap):
    """Adds (or replaces) a column for each name: ``compute: {gain: "with_hint - without", title: "upper(name)"}``.

    The values are DuckDB SQL expressions, each over the columns as they come in; see ``keep`` for what one
    may say. A row is computed by itself: aggregates, windows and ``quantile`` are refused.
    """

    value_field: ClassVar[str | None] = "columns"

    columns: dict[str, str] = Field(min_length=1)

    @field_validator("columns")
    @classmethod
    def _named(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if not name or name.startswith("_"):
                raise ValueError(
                    f"a column's name does not start with '_' (those are the engine's): found {name!r}"
                )
        return columns

    def open(self, context: Context) -> TableApply:
        def apply(table: pa.Table) -> Verdicts:
            return Verdicts(columns=computed(table, self.columns))

        return apply


def computed(table: pa.Table, columns: dict[str, str]) -> dict[str, pa.ChunkedArray]:
    """A column of ``table``'s length for each expression.

    Raises DataError where one is no expression over the table's columns, looks at other rows, or fails on a value.
    """
    import duckdb
    import pyarrow as pa

    from .sql_tree import TABLE, locked_database, parse, refuse_unknown_columns, text_of, walk

    with locked_database() as database:
        written = []
        for name, expression in columns.items():
            try:
                tree = parse(database, expression)
                refuse_unknown_columns([tree], table.column_names, expression)
            except DataError as error:
                raise DataError(f"compute, column {name!r}: {str(error).removeprefix('keep: ')}") from None
            if any(node.get("class") == "WINDOW" for node in walk(tree)):
                raise DataError(f"compute, column {name!r}: '{expression}' looks at other rows")
            written.append(text_of(database, tree))
        numbers = pa.array(range(table.num_rows), pa.int64())
        database.register(TABLE, table.append_column(_NUMBER, numbers))
        chosen = ", ".join(f"({text}) AS c{number}" for number, text in enumerate(written))
        try:
            # The number keeps the order; beside it, an aggregate is an error even for a single row.
            found = database.sql(
                f"SELECT {_NUMBER}, {chosen} FROM {TABLE} ORDER BY {_NUMBER}"
            ).to_arrow_table()
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            if "GROUP BY" in reason:
                reason = "an aggregate looks at other rows"
            raise DataError(f"compute: {columns}: {reason}") from error
        return dict(zip(columns, found.columns[1:], strict=True))
