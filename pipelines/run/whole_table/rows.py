"""The rows of a whole-table step on disk: :class:`~gristmill.contracts.stored_rows.StoredRows` for a run."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import pyarrow as pa

from ....contracts import stored_rows
from ....contracts.errors import DataError
from ....contracts.operators import no_column
from ....contracts.stored_rows import ROW, FileFunction, StoredRows, TableFunction
from ...store.seal import digest
from ...store.spill import Spill
from ..input_rows import InputRows
from .grouping import Grouping
from .pieces import InputPiece, Piece, SpilledPiece
from .tasks import FileMade, FileTask, MapTask
from .workshop import Workshop


@dataclass(frozen=True)
class RowsOnDisk:
    """Rows in pieces. ``schema``: their columns, with the number of the row if they have one."""

    pieces: Sequence[Piece]
    schema: pa.Schema
    workshop: Workshop

    @cached_property
    def num_rows(self) -> int:
        return sum(piece.num_rows for piece in self.pieces)

    @property
    def column_names(self) -> Sequence[str]:
        return [name for name in self.schema.names if name != ROW]

    @property
    def memory(self) -> int:
        return self.workshop.memory

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        chosen = self._chosen(columns)
        for piece in self.pieces:
            self.workshop.context.check()
            if piece.num_rows:
                yield piece.read(chosen)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        names = list(self.column_names if columns is None else columns)
        self._chosen(names)
        schema = pa.schema([self.schema.field(name) for name in names])
        tables = [batch.select(names) for batch in self.batches(names)]
        return pa.concat_tables([schema.empty_table(), *tables], promote_options="permissive")

    def map(self, function: TableFunction, columns: Sequence[str] | None = None, *, name: str) -> StoredRows:
        chosen, folder = self._chosen(columns), self.workshop.folder(name)
        tasks = [
            MapTask(
                piece,
                chosen,
                function,
                folder / f"{number:06d}.arrow",
                digest("\n".join(["map", name, *chosen, piece.origin]).encode()),
            )
            for number, piece in enumerate(self._full())
        ]
        return _derived(self.workshop.carry_out(name, tasks), self.workshop)

    def group(self, function: TableFunction, by: str, *, name: str) -> StoredRows:
        self._chosen([by])
        grouping = Grouping(self._full(), self.schema.names, by, name, self.workshop)
        return _derived(grouping.carry_out(function), self.workshop)

    def write(
        self,
        function: FileFunction,
        paths: Sequence[Path],
        columns: Sequence[str] | None = None,
        *,
        file_rows: int | None = None,
    ) -> None:
        chosen = list(self.column_names if columns is None else columns)
        self._chosen(chosen)
        size = self.num_rows if file_rows is None else file_rows
        tasks = [self._file(number * size, size, chosen, function, path) for number, path in enumerate(paths)]
        if len(tasks) == 1:
            tasks[0].write(self._passed)
            return
        done = 0

        def count(place: int, made: FileMade) -> None:
            nonlocal done
            done += made.rows
            self._passed(done)

        self.workshop.pool.run(tasks, count, self.workshop.context.check)

    def _file(
        self, start: int, rows: int, columns: Sequence[str], function: FileFunction, path: Path
    ) -> FileTask:
        """The task that writes rows ``start ..``, with the pieces that hold them."""
        ends = list(accumulate(piece.num_rows for piece in self.pieces))
        stop = min(start + rows, self.num_rows)
        first, last = bisect_right(ends, start), bisect_left(ends, stop) + 1
        first = min(first, len(ends) - 1)
        before = ends[first - 1] if first else 0
        pieces, batch_rows = self.pieces[first:last], stored_rows.BATCH_ROWS
        return FileTask(pieces, columns, start - before, stop - before, batch_rows, function, path)

    def _passed(self, rows: int) -> None:
        self.workshop.context.check()
        self.workshop.context.progress(rows, self.num_rows, "rows")

    def _full(self) -> Sequence[Piece]:
        """The pieces that have rows, but at least one, so that a function's columns are known."""
        return [piece for piece in self.pieces if piece.num_rows] or self.pieces[:1]

    def _chosen(self, columns: Sequence[str] | None) -> list[str]:
        names = self.column_names if columns is None else columns
        for name in names:
            if name not in self.schema.names:
                raise DataError(no_column(name, self.column_names))
        return list(dict.fromkeys([*names, *([ROW] if ROW in self.schema.names else [])]))


def input_rows(rows: InputRows, workshop: Workshop) -> RowsOnDisk:
    """The kept rows of a step's input."""
    schema = rows.schema().append(pa.field(ROW, pa.int64()))
    pieces: list[InputPiece] = []
    start = 0
    for parts in rows.pieces(stored_rows.BATCH_ROWS):
        pieces.append(InputPiece(start, parts, schema))
        start = pieces[-1].stop
    return RowsOnDisk(pieces or [InputPiece(0, [], schema)], schema, workshop)


def _derived(spills: Sequence[Spill], workshop: Workshop) -> RowsOnDisk:
    pieces = [SpilledPiece(spill, index) for spill in spills for index in range(len(spill.rows))]
    return RowsOnDisk(pieces, spills[0].schema, workshop)
