"""Commits the rows of a source, by tasks on other machines or here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ...contracts.context import Context
from ...contracts.cutting import cut
from ...contracts.operators import Source
from ..store.parts import Part
from ..store.step_store import StepStore
from .source_parts import PART_ROWS, source_tasks, write_source_part
from .whole_table.pool import TaskPool


@dataclass(frozen=True)
class SourceRows:
    """What it takes to commit the rows of a source.

    ``said``: what all parts have in common (``write_source_part``). ``committed``: called with each part.
    """

    context: Context
    pool: TaskPool
    store: StepStore
    said: Mapping[str, Any]
    committed: Callable[[Part], None]

    def commit(self, source: Source) -> None:
        """Commit the rows that are not committed yet. Raises DataError, StoreError."""
        pieces = source.pieces(self.context, self._carry_out if self.pool.apart else None)
        if not pieces:
            self._write(self._read_in_order(source))
            return
        tasks = source_tasks(pieces, self._have(), self.said)
        self._drop(self._have().keys() - {first for task in tasks for first in task.have})
        if self.pool.apart:
            self.pool.run(tasks, self._add, self.context.check)
        else:
            self._write(each for task in tasks for each in task.tables())

    def _read_in_order(self, source: Source) -> Iterator[tuple[int, pa.Table]]:
        """The missing rows of a source without pieces; no rows at all are one empty part."""
        start, have, empty = 0, self._have(), True
        tables = (pa.Table.from_batches([batch]) for batch in source.read(self.context))
        for table in cut(tables, PART_ROWS):
            stop, empty = start + table.num_rows, False
            if have.get(start) != stop:
                crossing = {first for first, last in have.items() if first < stop and last > start}
                self._drop(crossing)
                have = {first: last for first, last in have.items() if first not in crossing}
                yield start, table
            start = stop
        if empty and not self._have():
            yield 0, pa.table({})

    def _write(self, tables: Iterable[tuple[int, pa.Table]]) -> None:
        """Write each part while the next one is read."""
        with ThreadPoolExecutor(max_workers=1) as writer:
            writing: Future[Part] | None = None
            for start, table in tables:
                self.context.check()
                if writing is not None:
                    self.committed(writing.result())
                writing = writer.submit(write_source_part, table, start, self.said)
            if writing is not None:
                self.committed(writing.result())

    def _carry_out(self, functions: Sequence[Callable[[], Any]]) -> list[Any]:
        found: list[Any] = [None] * len(functions)
        self.pool.run(functions, found.__setitem__, self.context.check)
        return found

    def _add(self, place: int, parts: Sequence[Part]) -> None:
        for part in parts:
            self.committed(part)

    def _have(self) -> dict[int, int]:
        return {part.start: part.stop for part in self.store.parts()}

    def _drop(self, starts: Set[int]) -> None:
        """Drop parts of rows that another version divided otherwise."""
        if starts:
            self.store.drop(*(part for part in self.store.parts() if part.start in starts))
