"""Commits the result of a whole-table step in parts, each made by a task, so that no table is in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....contracts.errors import DataError
from ....contracts.inference import Usage
from ....contracts.outcomes import TableResult
from ...store.parts import ID, Part, write_part
from ...store.products import Product
from ..verdicts import check_result, from_table_result
from .pieces import InputPiece, Piece
from .rows import RowsOnDisk


@dataclass(frozen=True)
class PartTask:
    """Write the part of one piece of the input, from the piece of the result for it."""

    piece: InputPiece
    columns: Sequence[str]
    result: TableResult
    folder: Path
    step: str
    basis: str
    origin: str
    summary: Mapping[str, Any] | None
    usage: Usage
    products: Sequence[Product]

    @property
    def num_rows(self) -> int:
        return self.piece.num_rows

    def __call__(self) -> Part:
        table = from_table_result(self.piece.read(self.columns), self.result)
        return write_part(
            self.folder,
            table,
            start=self.piece.start,
            stop=self.piece.stop,
            basis=self.basis,
            rows_in=table.num_rows,
            usage=self.usage,
            step=self.step,
            origin=self.origin,
            summary=self.summary,
            products=self.products,
        )


@dataclass(frozen=True)
class ResultTasks:
    """The tasks that write a result.

    ``said``: what all parts have in common, as in :class:`PartTask`. ``columns``: of the rows (None: all).
    ``products``: the step's files. ``usage``: what the result cost; the last part has it.
    """

    rows: RowsOnDisk
    result: TableResult
    said: Mapping[str, Any]
    columns: Sequence[str] | None = None
    products: Sequence[Product] = ()
    usage: Usage = field(default_factory=Usage)

    def carry_out(self, committed: Callable[[Part], None]) -> None:
        """Write a part for each piece of the input, the last one with the summary: it completes the result.

        ``committed`` is called with each part. Raises DataError if the result does not fit the rows.
        """
        check_result(self.result, self.rows.num_rows)
        workshop, done = self.rows.workshop, 0
        named = _DuplicateIds.of(self.rows, self.result)

        def count(place: int, part: Part) -> None:
            nonlocal done
            done += part.ledger.made
            workshop.context.progress(done, self.rows.num_rows, "rows")
            committed(part)

        for pieces in (self.rows.pieces[:-1], self.rows.pieces[-1:]):
            workshop.pool.run(self._tasks(pieces, named), count, workshop.context.check)

    def _tasks(self, pieces: Sequence[Piece], named: _DuplicateIds | None) -> Iterator[PartTask]:
        for piece in pieces:
            assert isinstance(piece, InputPiece)
            own = _sliced(self.result, piece.start, piece.stop)
            if named is not None:
                own.duplicate_of = named.slice(piece.start, piece.stop)
            last = piece is self.rows.pieces[-1]
            whole: dict[str, Any] = {"summary": None, "products": (), "usage": Usage()}
            if last:
                summary = dict(self.result.summary)
                whole = {"summary": summary, "products": self.products, "usage": self.usage}
            columns = list(self.rows.column_names if self.columns is None else self.columns)
            yield PartTask(piece, columns, own, **whole, **self.said)


@dataclass(frozen=True)
class _DuplicateIds:
    """The ids of the rows that others duplicate. ``rows``: their numbers, sorted. ``ids``: of these rows."""

    numbers: NDArray[np.int64]
    rows: NDArray[np.int64]
    ids: pa.ChunkedArray

    @classmethod
    def of(cls, rows: RowsOnDisk, result: TableResult) -> _DuplicateIds | None:
        """Read the ids that the result refers to by number; None if it does not. Raises DataError."""
        numbers = result.duplicate_of
        if not isinstance(numbers, np.ndarray):
            return None
        needed = np.unique(numbers[numbers >= 0])
        if len(needed) and needed[-1] >= rows.num_rows:
            raise DataError(
                f"duplicate_of names row {needed[-1]:,}, but the rows are 0 to {rows.num_rows - 1:,}"
            )
        found = []
        for piece in rows.pieces:
            assert isinstance(piece, InputPiece)
            first, last = np.searchsorted(needed, [piece.start, piece.stop])
            if first < last:
                rows.workshop.context.check()
                found.append(piece.read([ID])[ID].take(pa.array(needed[first:last] - piece.start)))
        chunks = [chunk for column in found for chunk in column.chunks]
        return cls(numbers, needed, pa.chunked_array(chunks, pa.string()))

    def slice(self, start: int, stop: int) -> pa.ChunkedArray:
        """The id that each of these rows duplicates; null for none."""
        numbers = self.numbers[start:stop]
        return self.ids.take(pa.array(np.searchsorted(self.rows, numbers), mask=numbers < 0))


def _sliced(result: TableResult, start: int, stop: int) -> TableResult:
    """The result for rows ``start .. stop``. Columns are copied: a slice is pickled with the whole column."""

    def part(value: Any) -> Any:
        return value if value is None or isinstance(value, str) else value[start:stop]

    chosen = pa.array(np.arange(start, stop))
    return TableResult(
        kept=part(result.kept),
        rule=part(result.rule),
        score=part(result.score),
        duplicate_of=part(result.duplicate_of),
        errors=part(result.errors),
        columns={name: column.take(chosen) for name, column in result.columns.items()},
    )
