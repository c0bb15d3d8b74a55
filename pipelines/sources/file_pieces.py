"""Pieces of the rows of files: what those of all formats have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from ...contracts.errors import DataError, StoreError
from ...contracts.layouts import RowReader
from ...contracts.source_pieces import SourcePiece
from .batch_reader import BatchReader
from .column_options import final_names, named, none_of, renamed
from .locations import File
from .turn_texts import Values, no_values
from .types import refuse_unholdable

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context


@dataclass(frozen=True)
class Found:
    """A file in which pieces were found. ``stamp``: what it was then (``File.stamp``)."""

    file: File
    stamp: tuple[int, int]

    @classmethod
    def of(cls, file: File) -> Found:
        return cls(file, file.stamp())

    def check_here(self) -> None:
        """Raise StoreError if this machine has another file in its place, or none."""
        if self.file.local and self.file.stamp() != self.stamp:
            raise StoreError(f"{self.file.name} changed, or disappeared, while it was read: run again")


@dataclass(frozen=True)
class Columns:
    """The columns of a source's rows.

    ``schema``: of the file. ``names``: those of its columns that are read -> new name. ``layout``: what puts
    Gristmill's own columns in their place; ``made``: those and the others -> new name.
    """

    schema: pa.Schema
    names: Mapping[str, str]
    layout: BatchReader | None = None
    made: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_schema(
        cls,
        schema: pa.Schema,
        reader: RowReader,
        rename: Mapping[str, str],
        columns: Sequence[str] | None,
        where: str,
        values: Values = no_values,
    ) -> Columns:
        """The columns of a file with this schema, as the parameters of its source ask for them.

        ``values``: those of a column. Raises DataError for those that are missing or that rows cannot hold.
        """
        layout = BatchReader.of(schema, reader, where, values)
        if layout is None:
            names = final_names(schema.names, rename, columns, where)
            refuse_unholdable(schema, list(names), where)
            return cls(schema, names)
        made = final_names(layout.schema.names, rename, columns, where)
        refuse_unholdable(layout.schema, list(made), where)
        read = [name for name in schema.names if name in layout.takes or name in made]
        return cls(schema, {name: name for name in read}, layout, made)

    def rows_schema(self) -> pa.Schema:
        """The schema of the rows."""
        if self.layout is None:
            return renamed(self.schema, self.names)
        return renamed(self.layout.schema, self.made)

    def ready(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of the schema, with these columns."""
        chosen = named(batch, self.names)
        return chosen if self.layout is None else named(self.layout.read(chosen), self.made)

    def of(self, batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
        """At most ``rows`` rows of batches of the schema, with these columns."""
        for batch in batches:
            chosen = self.ready(batch.slice(0, rows))
            rows -= chosen.num_rows
            if chosen.num_rows:
                yield chosen
            if rows <= 0:
                return


@dataclass(frozen=True)
class NoRows:
    """The only piece of a source without rows: its columns are known to later steps."""

    columns: Columns
    num_rows = 0
    num_bytes = 0

    def check_here(self) -> None:
        return

    def read(self) -> Iterator[pa.RecordBatch]:
        yield self.columns.ready(none_of(self.columns.schema))


@dataclass(frozen=True)
class FilePiece(ABC):
    """The first ``num_rows`` rows of a part of a file. A subclass names the part, and reads it."""

    found: Found
    columns: Columns
    num_rows: int
    num_bytes: int

    @abstractmethod
    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows of the part, with the schema of ``columns``."""

    def check_here(self) -> None:
        self.found.check_here()

    def read(self) -> Iterator[pa.RecordBatch]:
        """The rows. Raises DataError if the part ends before it has given all of them."""
        left = self.num_rows
        for batch in self.columns.of(self.batches(), self.num_rows):
            left -= batch.num_rows
            yield batch
        if left > 0:
            had, name = self.num_rows - left, self.found.file.name
            raise DataError(
                f"{name}: holds {had:,} of the {self.num_rows:,} rows that it claims: make or fetch it again"
            )


Piece = TypeVar("Piece", bound=FilePiece)


def limited(pieces: Iterable[Piece], rows: int | None) -> Iterator[Piece]:
    """The pieces with rows, and of those the first ``rows`` rows (None: all)."""
    for piece in pieces:
        if rows is not None and piece.num_rows > rows:
            piece = replace(piece, num_rows=rows)
        if piece.num_rows:
            yield piece
        if rows is not None:
            rows -= piece.num_rows
            if not rows:
                return


def at_least_one(pieces: Sequence[SourcePiece], columns: Columns) -> Sequence[SourcePiece]:
    return pieces or [NoRows(columns)]


def no_files(columns: Sequence[str] | None) -> Sequence[SourcePiece]:
    """The pieces of an empty source: no rows, with the requested columns as strings."""
    import pyarrow as pa

    if not columns:
        return []
    return [NoRows(Columns(pa.schema([(name, pa.string()) for name in columns]), {n: n for n in columns}))]


def read_in_order(pieces: Sequence[SourcePiece], context: Context) -> Iterator[pa.RecordBatch]:
    """The rows of all pieces."""
    for piece in pieces:
        for batch in piece.read():
            context.check()
            yield batch
