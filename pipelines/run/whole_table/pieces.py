"""Pieces of a step's rows on disk, which a task reads by itself, in this process or in a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa

from ....contracts.stored_rows import ROW
from ...store.parts import Part
from ...store.seal import digest
from ...store.spill import Spill


class Piece(Protocol):
    """Some consecutive rows. ``memory``: their bytes, about. ``origin``: a digest of their content."""

    @property
    def num_rows(self) -> int: ...

    @property
    def memory(self) -> int: ...

    @property
    def origin(self) -> str: ...

    def read(self, columns: Sequence[str]) -> pa.Table:
        """The rows with these columns. Raises Damaged, StoreError."""
        ...


@dataclass(frozen=True)
class InputPiece:
    """Rows ``start ..`` of a step's input: of each part the kept rows ``first .. last``.

    ``schema``: the columns of the whole input, which a part may have some of, and the number of the row.
    """

    start: int
    parts: Sequence[tuple[Part, int, int]]
    schema: pa.Schema

    @cached_property
    def num_rows(self) -> int:
        return sum(last - first for _, first, last in self.parts)

    @property
    def memory(self) -> int:
        return sum(part.memory * (last - first) // part.ledger.made for part, first, last in self.parts)

    @property
    def stop(self) -> int:
        return self.start + self.num_rows

    @cached_property
    def origin(self) -> str:
        named = [f"{part.rows} {first} {last}" for part, first, last in self.parts]
        return digest("\n".join([str(self.start), *named]).encode())

    def read(self, columns: Sequence[str]) -> pa.Table:
        wanted = [name for name in columns if name != ROW]
        schema = pa.schema([self.schema.field(name) for name in wanted])
        # Parts need not have the same columns, or types that were inferred from the same values.
        tables = [schema.empty_table()]
        for part, first, last in self.parts:
            table = part.read_kept(wanted, first, last)
            # Without columns, Arrow forgets the number of rows.
            tables.append(table if table.num_columns else _nulls(schema, last - first))
        table = pa.concat_tables(tables, promote_options="permissive")
        if not wanted:
            table = pa.table({})
        if ROW in columns:
            table = table.append_column(ROW, pa.array(np.arange(self.start, self.stop, dtype=np.int64)))
        return table.select(list(columns)).combine_chunks()


def _nulls(schema: pa.Schema, rows: int) -> pa.Table:
    return pa.table([pa.nulls(rows, kind) for kind in schema.types], schema=schema)


@dataclass(frozen=True)
class SpilledPiece:
    """One record batch of a spill file."""

    spill: Spill
    index: int

    @property
    def num_rows(self) -> int:
        return self.spill.rows[self.index]

    @property
    def memory(self) -> int:
        return self.spill.memory * self.num_rows // max(1, sum(self.spill.rows))

    @property
    def origin(self) -> str:
        return f"{self.spill.digest} {self.index}"

    def read(self, columns: Sequence[str]) -> pa.Table:
        return self.spill.read(self.index, self.index + 1, columns)
