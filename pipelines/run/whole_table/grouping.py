"""Groups rows by a key on disk: each piece is divided into hash partitions, then partitions are put together.

The partitions of some pieces lie in one file, so that the number of files does not depend on the number of
partitions. They are removed when the results of all partitions are stored.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ....contracts.stored_rows import TableFunction
from ...store.damage import Damaged
from ...store.files import disk
from ...store.seal import digest
from ...store.sealed_json import Shape, read_record, write_record
from ...store.spill import Spill
from .partitions import partitions_for, together
from .pieces import Piece
from .tasks import GroupTask, SplitTask
from .workshop import Workshop

#: Partitions ``first .. last``, which are grouped together, and their number of rows.
Range: TypeAlias = tuple[int, int, int]

#: Bytes of the rows of one file of partitions.
SPLIT_BYTES = 16 << 20
#: The record of these ranges. A step that was stopped keeps them, also with another limit of memory.
RECORD = "ranges.json"
_SHAPE: Shape = {"origin": str, "ranges": list}


@dataclass(frozen=True)
class Grouping:
    """One grouping of rows by the key ``by``. ``columns``: those that the function gets."""

    pieces: Sequence[Piece]
    columns: Sequence[str]
    by: str
    name: str
    workshop: Workshop

    def carry_out(self, function: TableFunction) -> list[Spill]:
        """The function's results, in files. Those that are stored are not made again."""
        spills: list[Spill] = []
        ranges = self._recorded()
        if ranges is None:
            spills = self._split()
            ranges = self._ranges(spills)
            with disk(self._folder, "cannot make"):
                self._folder.mkdir(parents=True, exist_ok=True)
            write_record(self._folder / RECORD, {"origin": self._origin, "ranges": ranges})
        tasks = [self._task(each, function, spills) for each in ranges]
        if not spills and not all(self.workshop.stored(task.path, task.origin) for task in tasks):
            spills = self._split()
            tasks = [self._task(each, function, spills) for each in ranges]
        made = self.workshop.carry_out(self.name, tasks)
        shutil.rmtree(self._split_folder, ignore_errors=True)
        return made

    def _split(self) -> list[Spill]:
        """Divide the rows into hash partitions."""
        said = ["split", self.by, str(self._partitions)]
        tasks = [
            SplitTask(
                pieces,
                self.columns,
                self.by,
                self._partitions,
                self._split_folder / f"{number:06d}.arrow",
                digest("\n".join([*said, *(piece.origin for piece in pieces)]).encode()),
            )
            for number, pieces in enumerate(self._together())
        ]
        return self.workshop.carry_out(f"{self.name} (partitions)", tasks)

    def _together(self) -> Iterator[list[Piece]]:
        """The pieces that are divided together."""
        some: list[Piece] = []
        size = 0
        for piece in self.pieces:
            if some and size + piece.memory > SPLIT_BYTES:
                yield some
                some, size = [], 0
            some.append(piece)
            size += piece.memory
        yield some

    def _task(self, chosen: Range, function: TableFunction, spills: Sequence[Spill]) -> GroupTask:
        first, last, rows = chosen
        path = self._folder / f"{first:04d}-{last:04d}.arrow"
        slim = [replace(spill, rows=()) for spill in spills]
        return GroupTask(slim, first, last, rows, self.by, function, path, f"{self._origin} {first} {last}")

    def _ranges(self, spills: Sequence[Spill]) -> list[Range]:
        """Partitions that fit into the memory of a task together."""
        rows = np.array([spill.rows for spill in spills], np.int64).sum(axis=0)
        size = sum(spill.memory for spill in spills) / max(1, rows.sum())
        found = together((rows * size).astype(int).tolist(), self.workshop.task_memory)
        return [(first, last, int(rows[first:last].sum())) for first, last in found]

    def _recorded(self) -> list[Range] | None:
        """The ranges of an earlier session; None if it recorded none, or for other rows."""
        with suppress(Damaged):
            record = read_record(self._folder / RECORD, _SHAPE)
            if record["origin"] == self._origin:
                return [(first, last, rows) for first, last, rows in record["ranges"]]
        return None

    @cached_property
    def _partitions(self) -> int:
        rows, size = (sum(each) for each in zip(*((piece.num_rows, piece.memory) for piece in self.pieces)))
        return partitions_for(rows, size)

    @cached_property
    def _origin(self) -> str:
        said = ["group", self.name, self.by, str(self._partitions)]
        return digest("\n".join([*said, *(piece.origin for piece in self.pieces)]).encode())

    @property
    def _folder(self) -> Path:
        return self.workshop.folder(self.name)

    @property
    def _split_folder(self) -> Path:
        return self.workshop.folder(f"{self.name} (partitions)")
