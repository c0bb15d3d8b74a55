"""Columns that a step before declares, and that the rows at hand do not have: null in every row.

An operator writes some columns only where there is something to write (``reasoning``, ``tool_calls``), so one
micro-batch has them and another does not. A step that names such a column sees it in all of them. It is no
column of the rows that the step gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .operators import Operator
from .rows import Row
from .stored_rows import ROW, FileFunction, StoredRows, TableFunction

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


class FilledRows:
    """Stored rows with a column of nulls for each declared one that they lack."""

    def __init__(self, rows: StoredRows, declared: Mapping[str, pa.DataType]) -> None:
        self._rows = rows
        self._empty = {name: kind for name, kind in declared.items() if name not in rows.column_names}
        self.num_rows, self.memory = rows.num_rows, rows.memory
        self.column_names = [*rows.column_names, *self._empty]

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        return map(self._fill(columns), self._rows.batches(self._stored(columns)))

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        return self._fill(columns)(self._rows.table(self._stored(columns)))

    def map(self, function: TableFunction, columns: Sequence[str] | None = None, *, name: str) -> StoredRows:
        applied = partial(_applied, function, self._fill(columns))
        return self._rows.map(applied, self._stored(columns), name=name)

    def group(self, function: TableFunction, by: str, *, name: str) -> StoredRows:
        return self._rows.group(function, by, name=name)

    def write(
        self,
        function: FileFunction,
        paths: Sequence[Path],
        columns: Sequence[str] | None = None,
        *,
        file_rows: int | None = None,
    ) -> None:
        written = partial(_written, function, self._fill(columns))
        self._rows.write(written, paths, self._stored(columns), file_rows=file_rows)

    def _stored(self, columns: Sequence[str] | None) -> list[str] | None:
        """The columns to read for those that are wanted: at least one, or the number of rows is lost."""
        return None if columns is None else [name for name in columns if name not in self._empty] or [_ID]

    def _fill(self, columns: Sequence[str] | None) -> TableFunction:
        empty = {name: kind for name, kind in self._empty.items() if columns is None or name in columns}
        return partial(_filled_in_order, empty, columns)


def _filled_in_order(
    empty: Mapping[str, pa.DataType], columns: Sequence[str] | None, table: pa.Table
) -> pa.Table:
    """The filled table: all its columns, or those that are wanted and the rows' numbers."""
    made = filled(table, empty)
    if columns is None:
        return made
    own = [ROW] if ROW in made.column_names else []
    return made.select([*dict.fromkeys(columns), *own])


def _applied(function: TableFunction, fill: TableFunction, table: pa.Table) -> pa.Table:
    return function(fill(table))


def _written(
    function: FileFunction, fill: Callable[[pa.Table], Any], tables: Iterator[pa.Table], path: Path
) -> None:
    function(map(fill, tables), path)
