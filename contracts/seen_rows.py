"""Stored rows as an operator sees them: with columns that are made as they are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .stored_rows import FileFunction, StoredRows, TableFunction

if TYPE_CHECKING:
    import pyarrow as pa


class SeenRows(ABC):
    """``column_names``: those of the stored rows and the ones that are made.

    A subclass says which stored columns it reads, and what it makes of a table of them.
    """

    def __init__(self, rows: StoredRows, column_names: Sequence[str]) -> None:
        self._rows = rows
        self.column_names = list(column_names)
        self.num_rows, self.memory = rows.num_rows, rows.memory

    @abstractmethod
    def _stored(self, columns: Sequence[str] | None) -> list[str] | None:
        """The stored columns to read for those that are wanted (None: all)."""

    @abstractmethod
    def _see(self, columns: Sequence[str] | None) -> TableFunction:
        """What makes the wanted columns (None: all) of a table of the stored ones; picklable."""

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        return map(self._see(columns), self._rows.batches(self._stored(columns)))

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        return self._see(columns)(self._rows.table(self._stored(columns)))

    def map(self, function: TableFunction, columns: Sequence[str] | None = None, *, name: str) -> StoredRows:
        applied = partial(_applied, function, self._see(columns))
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
        written = partial(_written, function, self._see(columns))
        self._rows.write(written, paths, self._stored(columns), file_rows=file_rows)


def _applied(function: TableFunction, see: TableFunction, table: pa.Table) -> pa.Table:
    return function(see(table))


def _written(function: FileFunction, see: TableFunction, tables: Iterator[pa.Table], path: Path) -> None:
    function(map(see, tables), path)
