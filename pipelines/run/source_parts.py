"""The rows of a source in parts: which pieces make which part, and the task that writes them.

Pieces decide the parts, so that the parts are the same whatever machine writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...contracts.inference import Usage
from ...contracts.source_pieces import SourcePiece
from ..store.parts import Part, write_part
from .outcomes import from_source

#: Rows of a part, at most.
PART_ROWS = 65_536
#: Bytes of the rows of a part in memory, about, at most.
PART_BYTES = 8 << 20


@dataclass(frozen=True)
class SourceTask:
    """Write the rows of consecutive pieces, from the source's row ``start`` on.

    ``have``: the first and last rows of the parts that are there. ``said``: what all parts have in common.
    ``part_rows``: rows of a part, at most.
    """

    pieces: Sequence[SourcePiece]
    start: int
    have: Mapping[int, int]
    said: Mapping[str, Any]
    part_rows: int

    @cached_property
    def num_rows(self) -> int:
        return sum(piece.num_rows for piece in self.pieces)

    def tables(self) -> Iterator[tuple[int, pa.Table]]:
        """The rows of the missing parts, with the number of the first. Raises DataError, StoreError."""
        if self._is_done():
            return
        for piece in self.pieces:
            piece.check_here()
        part, at, known = self._part(), self.start, self.start
        for table in (pa.Table.from_batches([batch]) for piece in self.pieces for batch in piece.read()):
            if not self.num_rows:
                yield at, table
            while table.num_rows:
                if at >= known and not part.rows:
                    known = self.have.get(at, at)
                room = min(table.num_rows, self._next(at) - at)
                taken = min(known - at, room) if at < known else part.add(table.slice(0, room))
                table, at = table.slice(taken), at + taken
                if part.rows and (part.full or at in self.have):
                    yield at - part.rows, part.table()
                    part = self._part()
        if part.rows:
            yield at - part.rows, part.table()

    def _next(self, row: int) -> int:
        """Where the next part that is there begins."""
        return min((first for first in self.have if first > row), default=self.start + self.num_rows)

    def _part(self) -> _Part:
        """Parts have nearly equally many rows, if their size allows it."""
        count = max(1, -(-self.num_rows // self.part_rows))
        return _Part(max(1, -(-self.num_rows // count)))

    def _is_done(self) -> bool:
        at = self.start
        while at in self.have and at < self.start + self.num_rows:
            at = self.have[at]
        return at == self.start + self.num_rows and bool(self.have)

    def __call__(self) -> list[Part]:
        return [write_source_part(table, start, self.said) for start, table in self.tables()]


class _Part:
    """The rows of a part that is being read: ``most`` rows, or ``PART_BYTES``."""

    def __init__(self, most: int) -> None:
        self.most, self.rows, self.full = most, 0, False
        self._tables: list[pa.Table] = []
        self._bytes = 0.0

    def add(self, table: pa.Table) -> int:
        """Take rows from the start of a table; returns how many."""
        each = table.nbytes / table.num_rows
        fit = max(int((PART_BYTES - self._bytes) / max(each, 1)), 0 if self.rows else 1)
        taken: int = min(table.num_rows, self.most - self.rows, fit)
        self._tables.append(table.slice(0, taken))
        self.rows, self._bytes = self.rows + taken, self._bytes + taken * each
        self.full = self.rows == self.most or fit == taken
        return taken

    def table(self) -> pa.Table:
        return pa.concat_tables(self._tables)


def write_source_part(table: pa.Table, start: int, said: Mapping[str, Any]) -> Part:
    """Commit rows of a source. ``said``: ``folder``, ``step``, ``basis`` and ``origin`` (``write_part``)."""
    made = from_source(table, said["step"], start)
    rows = table.num_rows
    folder: Path = said["folder"]
    rest = {name: value for name, value in said.items() if name != "folder"}
    return write_part(folder, made, start=start, stop=start + rows, rows_in=rows, usage=Usage(), **rest)


def source_tasks(
    pieces: Sequence[SourcePiece], have: Mapping[int, int], said: Mapping[str, Any]
) -> list[SourceTask]:
    """The tasks that write all rows: small pieces together, others alone."""
    tasks: list[SourceTask] = []
    some: list[SourcePiece] = []
    start = rows = size = 0

    def task() -> SourceTask:
        own = {first: last for first, last in have.items() if start <= first and last <= start + rows}
        return SourceTask(some, start, own, said, PART_ROWS)

    for piece in pieces:
        if some and (rows + piece.num_rows > PART_ROWS or size + piece.num_bytes > PART_BYTES):
            tasks.append(task())
            some, start, rows, size = [], start + rows, 0, 0
        some.append(piece)
        rows, size = rows + piece.num_rows, size + piece.num_bytes
    return [*tasks, task()] if some else tasks
