"""The rows of a source in parts: which pieces make which part, and the task that writes them.

Pieces decide the parts, so that the parts are the same whatever machine writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from ...contracts.cutting import cut
from ...contracts.inference import Usage
from ...contracts.source_pieces import SourcePiece
from ..store.parts import Part, write_part
from .outcomes import from_source

#: The rows ``start .. stop`` of parts.
Ranges: TypeAlias = frozenset[tuple[int, int]]

#: Rows of a part, at most; rows of a source that is read in order.
PART_ROWS = 65_536
#: Bytes of the rows of a part in memory, about, at most; but not fewer rows than these.
PART_BYTES, LEAST_ROWS = 32 << 20, 1024


@dataclass(frozen=True)
class SourceTask:
    """Write the rows of consecutive pieces, from the source's row ``start`` on.

    ``have``: the ranges of the parts that are there. ``said``: what all parts have in common.
    """

    pieces: Sequence[SourcePiece]
    start: int
    have: Ranges
    said: Mapping[str, Any]

    @property
    def num_rows(self) -> int:
        return sum(piece.num_rows for piece in self.pieces)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The rows of each part: nearly equally many."""
        rows, size = self.num_rows, sum(piece.num_bytes for piece in self.pieces)
        count = max(1, -(-rows // PART_ROWS), min(-(-size // PART_BYTES), rows // LEAST_ROWS))
        for number in range(count):
            yield self.start + rows * number // count, self.start + rows * (number + 1) // count

    def tables(self) -> Iterator[tuple[int, pa.Table]]:
        """The rows of the missing parts, with the number of the first. Raises DataError, StoreError."""
        if all(each in self.have for each in self.ranges()):
            return
        for piece in self.pieces:
            piece.check_here()
        batches = (pa.Table.from_batches([batch]) for piece in self.pieces for batch in piece.read())
        sizes = (stop - start for start, stop in self.ranges())
        for (start, stop), table in zip(self.ranges(), cut(batches, sizes)):
            if (start, stop) not in self.have:
                yield start, table

    def __call__(self) -> list[Part]:
        return [write_source_part(table, start, self.said) for start, table in self.tables()]


def write_source_part(table: pa.Table, start: int, said: Mapping[str, Any]) -> Part:
    """Commit rows of a source. ``said``: ``folder``, ``step``, ``basis`` and ``origin`` (``write_part``)."""
    made = from_source(table, said["step"], start)
    rows = table.num_rows
    folder: Path = said["folder"]
    rest = {name: value for name, value in said.items() if name != "folder"}
    return write_part(folder, made, start=start, stop=start + rows, rows_in=rows, usage=Usage(), **rest)


def source_tasks(pieces: Sequence[SourcePiece], have: Ranges, said: Mapping[str, Any]) -> list[SourceTask]:
    """The tasks that write all rows: small pieces together, others alone."""
    tasks: list[SourceTask] = []
    some: list[SourcePiece] = []
    start = rows = size = 0
    for piece in pieces:
        if some and (rows + piece.num_rows > PART_ROWS or size + piece.num_bytes > PART_BYTES):
            tasks.append(SourceTask(some, start, have, said))
            some, start, rows, size = [], start + rows, 0, 0
        some.append(piece)
        rows, size = rows + piece.num_rows, size + piece.num_bytes
    return [*tasks, SourceTask(some, start, have, said)] if some else tasks


def ranges_of(tasks: Sequence[SourceTask]) -> Ranges:
    """The ranges of all parts."""
    return frozenset(each for task in tasks for each in task.ranges())
