"""The kept rows of finished steps as one numbered sequence, read in slices."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import pyarrow as pa

from ...contracts.errors import DataError
from ..store.parts import FATE, KEPT, REASON, Part
from ..store.seal import digest
from ..store.step_store import StepStore

#: Bytes of the rows of parts that are put together, in memory.
PIECE_BYTES = 8 << 20


class InputRows:
    """Rows ``0 .. len(rows)`` of one or several steps, in order; at most one part in memory."""

    def __init__(self, stores: Sequence[StepStore]) -> None:
        everything = [part for store in stores for part in store.parts()]
        self._parts: list[Part] = [part for part in everything if part.ledger.kept]
        self._without: list[Part] = [part for part in everything if not part.ledger.kept]
        self._ends = list(accumulate(part.ledger.kept for part in self._parts))
        self._loaded: tuple[int, pa.Table] | None = None

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def origin(self, start: int, stop: int) -> str:
        """A digest of the content of rows ``start .. stop``:
        the digests of their parts and the rows in each.
        """
        named = []
        while start < stop:
            index = bisect_right(self._ends, start)
            part = self._parts[index]
            begin = self._ends[index] - part.ledger.kept
            end = min(stop, self._ends[index])
            named.append(f"{part.rows} {start - begin} {end - begin}")
            start = end
        return digest("\n".join(named).encode())

    def slice(self, start: int, stop: int) -> pa.Table:
        """Rows ``start .. stop`` (without their fates). Raises StoreError if a part is damaged."""
        pieces = []
        while start < stop:
            index = bisect_right(self._ends, start)
            begin = self._ends[index] - self._parts[index].ledger.kept
            take = min(stop, self._ends[index]) - start
            pieces.append(self._read(index).slice(start - begin, take))
            start += take
        return _together(pieces) if pieces else self.all()

    def all(self) -> pa.Table:
        """All rows as one table. Without rows it has the columns of the steps' other rows."""
        if not self._parts:
            return self.schema().empty_table()
        return _together([_plain(part.read()) for part in self._parts])

    def schema(self) -> pa.Schema:
        """The columns of :meth:`all`."""
        parts = self._parts or self._without
        kinds = [_columns(schema) for schema in dict.fromkeys(part.schema for part in parts)]
        return _unified(kinds) if kinds else EMPTY.schema

    def pieces(self, size: int) -> Iterator[list[tuple[Part, int, int]]]:
        """All rows in pieces of at most ``size``: each is a list of parts, with the first and last of the
        kept rows of each.

        A part of at most ``size`` rows is not divided, so that it is read once. Parts with large rows are
        not put together.
        """
        piece: list[tuple[Part, int, int]] = []
        held = weight = 0
        for part in self._parts:
            if piece and (held + part.ledger.kept > size or weight + part.memory > PIECE_BYTES):
                yield piece
                piece, held, weight = [], 0, 0
            weight += part.memory
            for first in range(0, part.ledger.kept, size):
                last = min(first + size, part.ledger.kept)
                if held + last - first > size:
                    yield piece
                    piece, held = [], 0
                piece.append((part, first, last))
                held += last - first
        if piece:
            yield piece

    def _read(self, index: int) -> pa.Table:
        if self._loaded is None or self._loaded[0] != index:
            self._loaded = (index, _plain(self._parts[index].read(fate=KEPT)))
        return self._loaded[1]


EMPTY = pa.table({"_id": pa.array([], pa.string()), "_parents": pa.array([], pa.list_(pa.string()))})


def _together(tables: Sequence[pa.Table]) -> pa.Table:
    with _told([table.schema for table in tables]):
        return pa.concat_tables(tables, promote_options="permissive")


def _unified(schemas: Sequence[pa.Schema]) -> pa.Schema:
    with _told(schemas):
        return pa.unify_schemas(schemas, promote_options="permissive")


@contextmanager
def _told(schemas: Sequence[pa.Schema]) -> Iterator[None]:
    """Raise DataError in place of Arrow's error if the types of a column have nothing in common."""
    try:
        yield
    except pa.ArrowException as error:
        for name in dict.fromkeys(name for schema in schemas for name in schema.names):
            kinds = list(dict.fromkeys(each.field(name).type for each in schemas if name in each.names))
            if not _have_common_type(kinds):
                raise DataError(
                    f"the inputs hold column {name!r} as {' and as '.join(map(str, kinds))}: make them one "
                    f'type, for example with a step `compute: {{{name}: "CAST({name} AS VARCHAR)"}}` after '
                    "one of them"
                ) from error
        raise


def _have_common_type(kinds: Sequence[pa.DataType]) -> bool:
    try:
        pa.unify_schemas([pa.schema([("", kind)]) for kind in kinds], promote_options="permissive")
    except pa.ArrowException:
        return False
    return True


def _columns(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field for field in schema if field.name not in (FATE, REASON)])


def _plain(table: pa.Table) -> pa.Table:
    own = [name for name in (FATE, REASON) if name in table.column_names]
    return table.drop_columns(own).replace_schema_metadata(None)
