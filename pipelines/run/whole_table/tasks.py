"""The tasks of whole-table steps. Each reads its rows from disk and writes one file; it may be repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....contracts import stored_rows
from ....contracts.cutting import cut
from ....contracts.errors import DataError
from ....contracts.stored_rows import FileFunction, TableFunction
from ...store.files import disk
from ...store.spill import Spill, write_spill
from .partitions import partition_of
from .pieces import Piece


class TableTask(Protocol):
    """Picklable. ``num_rows``: the rows that it reads, for the progress."""

    @property
    def num_rows(self) -> int: ...

    def __call__(self) -> Any: ...


class SpillTask(TableTask, Protocol):
    """A task that writes a spill file at ``path``. ``origin``: a digest of what it makes it from."""

    @property
    def path(self) -> Path: ...

    @property
    def origin(self) -> str: ...

    def __call__(self) -> Spill: ...


@dataclass(frozen=True)
class MapTask:
    """Apply a function to one piece."""

    piece: Piece
    columns: Sequence[str]
    function: TableFunction
    path: Path
    origin: str

    @property
    def num_rows(self) -> int:
        return self.piece.num_rows

    def __call__(self) -> Spill:
        return _write(self.path, self.function(self.piece.read(self.columns)), self.origin)


@dataclass(frozen=True)
class SplitTask:
    """Divide pieces into hash partitions: record batch ``p`` of the file is partition ``p``."""

    pieces: Sequence[Piece]
    columns: Sequence[str]
    by: str
    partitions: int
    path: Path
    origin: str

    @property
    def num_rows(self) -> int:
        return sum(piece.num_rows for piece in self.pieces)

    def __call__(self) -> Spill:
        table = pa.concat_tables([piece.read(self.columns) for piece in self.pieces])
        places = partition_of(table[self.by], self.partitions)
        table = table.take(pa.array(np.argsort(places, kind="stable")))
        batch = pa.RecordBatch.from_arrays([_one(column) for column in table.columns], table.column_names)
        ends = np.cumsum(np.bincount(places, minlength=self.partitions)).tolist()
        starts = [0, *ends[:-1]]
        batches = [batch.slice(start, end - start) for start, end in zip(starts, ends, strict=True)]
        return write_spill(self.path, batches, batch.schema, self.origin)


@dataclass(frozen=True)
class GroupTask:
    """Apply a function to partitions ``first .. last`` of all pieces, sorted by their key.

    ``spills``: the files with the partitions, without the rows of each, which would be sent with every task.
    """

    spills: Sequence[Spill]
    first: int
    last: int
    num_rows: int
    by: str
    function: TableFunction
    path: Path
    origin: str

    def __call__(self) -> Spill:
        table = pa.concat_tables([spill.read(self.first, self.last) for spill in self.spills])
        # Stable: rows with an equal key stay in the order of the input.
        order = pc.array_sort_indices(_one(table[self.by]))
        return _write(self.path, self.function(table.take(order)), self.origin)


@dataclass(frozen=True)
class FileMade:
    """A file that a task wrote, of so many rows."""

    path: Path
    rows: int


@dataclass(frozen=True)
class FileTask:
    """Let a function write a file from rows ``first .. last`` of some pieces, with these columns.

    ``batch_rows``: of each table that it gets.
    """

    pieces: Sequence[Piece]
    columns: Sequence[str]
    first: int
    last: int
    batch_rows: int
    function: FileFunction
    path: Path

    @property
    def num_rows(self) -> int:
        return self.last - self.first

    def __call__(self) -> FileMade:
        with disk(self.path, "cannot write"):
            self.write(lambda rows: None)
        return FileMade(self.path, self.num_rows)

    def write(self, passed: Callable[[int], None]) -> None:
        """Write it. ``passed``: called with the number of rows that were read so far. Raises OSError."""
        self.function(cut(self._tables(passed), self.batch_rows), self.path)

    def _tables(self, passed: Callable[[int], None]) -> Iterator[pa.Table]:
        start = given = 0
        for piece in self.pieces:
            passed(given)
            low, high = max(self.first - start, 0), min(self.last - start, piece.num_rows)
            if low < high or not self.num_rows:
                yield piece.read(self.columns).slice(low, high - low)
                given += high - low
            start += piece.num_rows


def _write(path: Path, made: pa.Table, origin: str) -> Spill:
    if not isinstance(made, pa.Table):
        raise DataError(f"the operator's function must return an Arrow table, not a {type(made).__name__}")
    batches = made.combine_chunks().to_batches(max_chunksize=stored_rows.BATCH_ROWS)
    return write_spill(path, batches or [_no_rows(made.schema)], made.schema, origin)


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
