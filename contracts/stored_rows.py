"""The rows of a step on disk, read in batches, and the ways to work on them in parallel.

A whole-table operator that does not need the table in memory works on :class:`StoredRows`: it reads only the
columns it needs, batch by batch; :meth:`StoredRows.map` computes something per row (a key, a signature, a
vector); :meth:`StoredRows.group` brings rows with an equal key together. The runner spills both to disk under
the memory limit, or runs them on the cluster. :meth:`StoredRows.write` writes files of rows.
:class:`TableRows` is the reference: the same in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from .cutting import cut

if TYPE_CHECKING:
    import pyarrow as pa

#: A picklable, deterministic function of a table: a function of a module, or a method of an operator.
TableFunction: TypeAlias = "Callable[[pa.Table], pa.Table]"
#: A picklable function that writes a file from tables, of which there is at least one.
FileFunction: TypeAlias = "Callable[[Iterator[pa.Table], Path], None]"

#: The number of a row, from 0, in the order of the step's input (int64). A derived table keeps it.
ROW = "_row"
#: Rows per batch unless the caller says otherwise.
BATCH_ROWS = 65_536


class StoredRows(Protocol):
    """The kept rows of a step's input, or a table derived from them.

    ``column_names``: with ``_id`` but without ``_row``. ``memory``: the bytes that the step may use for its
    own arrays; None if there is no limit.
    """

    @property
    def num_rows(self) -> int: ...

    @property
    def column_names(self) -> Sequence[str]: ...

    @property
    def memory(self) -> int | None: ...

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows in order, in tables of at most ``BATCH_ROWS`` rows, with these columns (None: all) and
        ``_row``."""
        ...

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows in memory, with these columns (None: all), without ``_row``."""
        ...

    def map(self, function: TableFunction, columns: Sequence[str] | None = None, *, name: str) -> StoredRows:
        """Apply ``function`` to each batch (these columns and ``_row``), in parallel.

        It may return any number of rows, with the same columns for every batch. The results are stored under
        ``name`` as they are made; the name must change when the function or its parameters do. A step that
        was stopped goes on with what is stored. The result is in the order of its input.
        """
        ...

    def group(self, function: TableFunction, by: str, *, name: str) -> StoredRows:
        """Apply ``function`` to hash partitions: all rows with an equal value in ``by`` are in the same one.

        ``by``: an integer, string or binary column. A partition holds many values; its rows are sorted by
        ``by``, then in the order of the input. The order of the result's partitions is not defined: sort what
        depends on it. Stored under ``name`` as by :meth:`map`.
        """
        ...

    def write(
        self,
        function: FileFunction,
        paths: Sequence[Path],
        columns: Sequence[str] | None = None,
        *,
        file_rows: int | None = None,
    ) -> None:
        """Let ``function`` write each file from the next ``file_rows`` rows; several files in parallel.

        It gets them with these columns (None: all), without ``_row``, in tables of ``BATCH_ROWS`` rows, or
        fewer if they are large (``cutting.cut``).
        ``file_rows``: None, if there is one file.
        """
        ...


class TableRows:
    """A table in memory as :class:`StoredRows`: the reference for the other implementations."""

    def __init__(self, table: pa.Table, *, memory: int | None = None, numbered: bool = False) -> None:
        """``numbered``: the table is derived and has its own ``_row`` column already, or needs none."""
        import numpy as np
        import pyarrow as pa

        if not numbered:
            table = table.append_column(ROW, pa.array(np.arange(table.num_rows, dtype=np.int64)))
        self._table = table
        self.memory = memory

    @property
    def num_rows(self) -> int:
        return int(self._table.num_rows)

    @property
    def column_names(self) -> Sequence[str]:
        return [name for name in self._table.column_names if name != ROW]

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        chosen = self._chosen(columns)
        for start in range(0, self.num_rows, BATCH_ROWS):
            yield chosen.slice(start, BATCH_ROWS)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        return self._chosen(columns).select(list(self.column_names if columns is None else columns))

    def map(self, function: TableFunction, columns: Sequence[str] | None = None, *, name: str) -> StoredRows:
        from concurrent.futures import ThreadPoolExecutor

        import pyarrow as pa

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            made = list(threads.map(function, self.batches(columns)))
        made = made or [function(self._chosen(columns))]
        return TableRows(pa.concat_tables(made), memory=self.memory, numbered=True)

    def group(self, function: TableFunction, by: str, *, name: str) -> StoredRows:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        place = pa.array(np.arange(self.num_rows, dtype=np.int64))
        keyed = pa.table({"by": self._table.column(by), "place": place})
        order = pc.sort_indices(keyed, [("by", "ascending"), ("place", "ascending")])
        return TableRows(function(self._table.take(order)), memory=self.memory, numbered=True)

    def write(
        self,
        function: FileFunction,
        paths: Sequence[Path],
        columns: Sequence[str] | None = None,
        *,
        file_rows: int | None = None,
    ) -> None:
        table = self.table(columns)
        for number, path in enumerate(paths):
            own = table if file_rows is None else table.slice(number * file_rows, file_rows)
            function(cut([own], BATCH_ROWS), path)

    def _chosen(self, columns: Sequence[str] | None) -> pa.Table:
        names = self.column_names if columns is None else columns
        own = [ROW] if ROW in self._table.column_names else []
        return self._table.select([*dict.fromkeys(names), *own])
