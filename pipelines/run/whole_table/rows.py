"""The rows of a whole-table step on disk: :class:`~gristmill.contracts.stored_rows.StoredRows` for a run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from ....contracts import stored_rows
from ....contracts.errors import DataError
from ....contracts.operators import no_column
from ....contracts.stored_rows import ROW, StoredRows, TableFunction
from ...store.damage import Damaged
from ...store.files import disk
from ...store.seal import digest
from ...store.sealed_json import Shape, read_record, write_record
from ...store.spill import Spill
from ..input_rows import InputRows
from .partitions import partitions_for, together
from .pieces import InputPiece, Piece, SpilledPiece
from .tasks import GroupTask, MapTask, SplitTask
from .workshop import Workshop

#: The record of which partitions are grouped together.
RANGES = "ranges.json"
_SHAPE: Shape = {"origin": str, "ranges": list}


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
        folder, partitions = self.workshop.folder(name), partitions_for(self.num_rows)
        pieces = self._full()
        origin = digest("\n".join(["group", name, by, str(partitions), *(p.origin for p in pieces)]).encode())
        ranges = _recorded(folder, origin)
        spills = self._split(by, partitions, name) if ranges is None else []
        if ranges is None:
            ranges = together(_sizes(spills), self.workshop.task_memory)
            with disk(folder, "cannot make"):
                folder.mkdir(parents=True, exist_ok=True)
            write_record(folder / RANGES, {"origin": origin, "ranges": ranges})
        tasks = [
            GroupTask(
                spills,
                first,
                last,
                by,
                function,
                folder / f"{first:04d}-{last:04d}.arrow",
                f"{origin} {first} {last}",
            )
            for first, last in ranges
        ]
        if not spills and not all(self.workshop.stored(task.path, task.origin) for task in tasks):
            spills = self._split(by, partitions, name)
            tasks = [replace(task, spills=spills) for task in tasks]
        made = self.workshop.carry_out(name, tasks)
        shutil.rmtree(self.workshop.folder(_split_name(name)), ignore_errors=True)
        return _derived(made, self.workshop)

    def _split(self, by: str, partitions: int, name: str) -> list[Spill]:
        """All rows, divided into hash partitions, a file per piece."""
        name = _split_name(name)
        folder = self.workshop.folder(name)
        columns = list(self.schema.names)
        tasks = [
            SplitTask(
                piece,
                columns,
                by,
                partitions,
                folder / f"{number:06d}.arrow",
                digest("\n".join(["split", by, str(partitions), piece.origin]).encode()),
            )
            for number, piece in enumerate(self._full())
        ]
        return self.workshop.carry_out(name, tasks)

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


def _split_name(name: str) -> str:
    return f"{name} (partitions)"


def _sizes(spills: Sequence[Spill]) -> list[int]:
    """The bytes of each partition in memory."""
    rows = np.array([spill.rows for spill in spills], np.int64).sum(axis=0)
    memory = sum(spill.memory for spill in spills)
    return [int(each) for each in rows * (memory / max(1, rows.sum()))]


def _recorded(folder: Path, origin: str) -> list[tuple[int, int]] | None:
    """The ranges of partitions that a stopped step grouped together; None if it made none from this."""
    with suppress(Damaged):
        record = read_record(folder / RANGES, _SHAPE)
        if record["origin"] == origin:
            return [(int(first), int(last)) for first, last in record["ranges"]]
    return None
