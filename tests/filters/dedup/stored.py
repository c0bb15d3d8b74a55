"""Rows as the runner stores them: in batches of any size, with several partitions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.contracts.stored_rows import ROW, TableRows


class BatchedRows(TableRows):
    """``TableRows`` in batches of ``size`` rows; a group has three partitions."""

    def __init__(self, table: pa.Table, size: int, *, memory: int | None = None, numbered: bool = False):
        super().__init__(table, memory=memory, numbered=numbered)
        self.size = size

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        chosen = self._chosen(columns)
        for start in range(0, self.num_rows, self.size):
            yield chosen.slice(start, self.size)

    def map(self, function: Any, columns: Sequence[str] | None = None, *, name: str) -> BatchedRows:
        table = super().map(function, columns, name=name)._table
        return BatchedRows(table, self.size, memory=self.memory, numbered=True)

    def group(self, function: Any, by: str, *, name: str) -> BatchedRows:
        part = self._table.column(by).to_numpy() % 3
        made = [
            TableRows(self._table.filter(pa.array(part == each)), numbered=True)
            .group(function, by, name=name)
            ._table
            for each in np.arange(3)
        ]
        return BatchedRows(pa.concat_tables(made), self.size, memory=self.memory, numbered=True)


__all__ = ["ROW", "BatchedRows"]
