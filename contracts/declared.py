"""Columns that a step before declares, and that the rows at hand do not have: null in every row.

An operator writes some columns only where there is something to write (``reasoning``, ``tool_calls``), so one
micro-batch has them and another does not. A step that names such a column sees it in all of them. It is no
column of the rows that the step gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from .operators import Operator
from .rows import Row
from .seen_rows import SeenRows
from .stored_rows import ROW, StoredRows, TableFunction

if TYPE_CHECKING:
    import pyarrow as pa

#: The column that all rows have.
_ID = "_id"


def declared_for(operator: Operator, types: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
    """Those of the columns in ``types``, which rows may lack, that the operator's parameters name."""
    named = {name.lower() for name in (*operator.uses_columns(), *operator.names_columns())}
    return {name: kind for name, kind in types.items() if name.lower() in named}


def filled(table: pa.Table, declared: Mapping[str, pa.DataType]) -> pa.Table:
    """The table with a column of nulls for each declared one that it lacks."""
    import pyarrow as pa

    for name, kind in declared.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, kind))
    return table


def filled_rows(rows: list[Row], declared: Mapping[str, pa.DataType]) -> list[Row]:
    """The rows of one table with None for each declared column that they lack."""
    lacking = [name for name in declared if rows and name not in rows[0]]
    return [{**row, **dict.fromkeys(lacking)} for row in rows] if lacking else rows


def filled_stored(rows: StoredRows, declared: Mapping[str, pa.DataType]) -> StoredRows:
    """Stored rows with a column of nulls for each declared one that they lack."""
    empty = {name: kind for name, kind in declared.items() if name not in rows.column_names}
    return _FilledRows(rows, empty) if empty else rows


class _FilledRows(SeenRows):
    def __init__(self, rows: StoredRows, empty: Mapping[str, pa.DataType]) -> None:
        super().__init__(rows, [*rows.column_names, *empty])
        self._empty = empty

    def _stored(self, columns: Sequence[str] | None) -> list[str] | None:
        # At least one column, or the number of rows is lost.
        return None if columns is None else [name for name in columns if name not in self._empty] or [_ID]

    def _see(self, columns: Sequence[str] | None) -> TableFunction:
        return partial(_filled_in_order, self._empty, columns)


def _filled_in_order(
    empty: Mapping[str, pa.DataType], columns: Sequence[str] | None, table: pa.Table
) -> pa.Table:
    """The filled table: all its columns, or those that are wanted and the rows' numbers."""
    made = filled(table, empty)
    if columns is None:
        return made
    own = [ROW] if ROW in made.column_names else []
    return made.select([*dict.fromkeys(columns), *own])
