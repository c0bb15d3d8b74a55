"""The common part of the sources that read files: their parameters and the digest of their files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from ...contracts.context import Context
from ...contracts.layouts import Format, RowReader
from ...contracts.mistakes import at
from ...contracts.operators import Estimate, Source
from ...contracts.source_pieces import CarryOut, SourcePiece
from .column_options import final_names, known_types, renamed
from .file_pieces import read_in_order
from .locations import File, files

if TYPE_CHECKING:
    import pyarrow as pa


class FileSource(Source):
    """Reads files."""

    endings: ClassVar[tuple[str, ...]] = ()

    path: str | tuple[str, ...]
    """Files to read: a path, glob, directory or fsspec URL (`s3://`, `hf://`, `https://`), or a list of them.
    Relative paths start at the current directory; an empty list gives no rows."""
    rows: PositiveInt | None = None
    """Maximum number of rows to read. By default all rows are read."""
    rename: dict[str, str] = Field(default_factory=dict)
    """New names for columns, as `{OLD: NEW}`."""
    columns: tuple[str, ...] | None = None
    """Columns to read, by their new names. By default all."""
    format: Format = "auto"
    """Layout of the rows, whose columns become Gristmill's own: `messages`; `prompt` and `response`; or
    `prompt`, `chosen` and `rejected`; with `tools`. `auto` recognizes `alpaca`, `sharegpt`, `messages`,
    `preferences` and OpenAI's files by their columns. It leaves other rows as they are, and every column that
    `rename` or `columns` names. `as_is` leaves all columns. A name reads that layout only, and refuses other
    rows."""

    @property
    def reader(self) -> RowReader:
        """What reads the layout of rows."""
        return RowReader(self.format, frozenset((*self.rename, *(self.columns or ()))))

    def files(self) -> list[File]:
        with at("path"):
            return files(self.path, self.endings) if self.path else []

    def content(self) -> Mapping[str, str]:
        return {file.name: file.digest() for file in self.files()}

    def reads(self) -> Sequence[Path]:
        return [Path(file.name) for file in self.files() if file.local]

    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        return read_in_order(self.pieces(context), context)

    @abstractmethod
    def pieces(self, context: Context, carry_out: CarryOut | None = None) -> Sequence[SourcePiece]: ...

    def estimate(self, rows: int) -> Estimate:
        known = self.count_rows()
        return Estimate(rows=known if self.rows is None else min(known, self.rows))

    def file_schema(self) -> pa.Schema | None:
        """The columns of the files, under their own names; None if finding them would take too long.

        A type that is not known is Arrow's null. Raises DataError if a file cannot be read.
        """
        return None

    def paths(self) -> Sequence[str]:
        """The paths as they are given."""
        return (self.path,) if isinstance(self.path, str) else self.path

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        if not self.paths():
            return ()
        return None if (found := self._planned()) is None else found.names

    def makes_types(self, types: Mapping[str, pa.DataType]) -> Mapping[str, pa.DataType]:
        found = self._planned() if self.path else None
        return {} if found is None else known_types(found)

    def _planned(self) -> pa.Schema | None:
        """The columns of the rows, under their new names, as far as known before the run."""
        if any("://" in path for path in self.paths()):
            return None  # a plan downloads nothing
        found = self.file_schema()
        if not found:
            return None
        names = final_names(found.names, self.rename, self.columns, self.files()[0].name)
        return renamed(found, names)

    @abstractmethod
    def count_rows(self) -> int:
        """The approximate number of rows in the files."""
