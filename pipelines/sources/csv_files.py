"""Rows from CSV and TSV files, plain, ``.gz`` or ``.zst``."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from ...contracts.context import Context
from ...contracts.counting import counted
from ...contracts.errors import DataError
from ...contracts.layouts import LAYOUTS, RowReader
from ...contracts.mistakes import at
from ...contracts.notices import tell
from ...contracts.operators import FAILURE
from ...contracts.source_pieces import CarryOut, SourcePiece
from .column_options import final_names
from .csv_records import CsvDialect, header, records
from .csv_types import Given, Kind, arrow_types, joined, kind_of, value_of
from .file_pieces import Columns, FilePiece, Found, at_least_one, limited, no_files
from .file_source import FileSource
from .json_blocks import in_layout
from .locations import File
from .row_batches import BATCH_ROWS, batches_of
from .shape import Shapes

if TYPE_CHECKING:
    import pyarrow as pa

#: Maximum length in characters of files whose types are found when the plan is made.
LOOKED_THROUGH = 8 << 20
#: Columns that are texts for every step that reads them.
_TEXTS = frozenset({"prompt", "response", "system", "messages", "chosen", "rejected", "text"})


class Csv(FileSource):
    """Reads CSV and TSV files (RFC 4180), plain or compressed (``.gz`` or ``.zst``).

    The first row names the columns; one without a name is called `column_N`. A column whose fields are all
    numbers, or all true or false, has that type: `007`, `+49`, `12e5` and numbers of many digits are texts,
    and so are the columns of a layout, `prompt`, `response`, `system` and `text`. Blanks around a number do
    not count, nor do zeros at the end of a fraction: `3.10` is the number 3.1, so give a column of versions
    the type `text` in `types`. A number may have an exponent after a decimal point (`1.5e3`) or with a sign
    (`1e-05`). One `n/a` makes a column text: give its type in `types`, and only the rows with `n/a` fail. An
    empty field is null. Blank lines are skipped. A line that cannot be read, with another number of fields,
    or with a value that is not of its type, is a failed row with file and line. Quoted fields may hold
    delimiters, quotes (doubled) and line breaks.

    The files are read twice, for their types and for their rows.

    Example:
        questions: {source: csv, path: exam.csv, delimiter: ";", encoding: cp1252, types: {code: text}}
    """

    version: ClassVar[int] = 2
    endings: ClassVar[tuple[str, ...]] = (
        ".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.zst", ".tsv.zst",
    )  # fmt: skip

    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """What separates fields. By default a tab in `.tsv` files and a comma in others."""
    quote: str | None = Field(default='"', min_length=1, max_length=1)
    """What encloses fields that hold a delimiter or a line break. Null: nothing does."""
    encoding: str = "utf-8"
    """Encoding of the files, by a name that Python knows, such as `cp1252` or `latin-1`. Byte order marks
    are read, and those of UTF-16 are obeyed."""
    names: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Names of the columns, for files without a header. By default the first row has them."""
    types: dict[str, Given] = Field(default_factory=dict)
    """Types of columns, by their names in the file: `text`, `int`, `float` or `bool`. By default they are
    found."""

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        try:
            name = codecs.lookup(encoding).name
            "".encode(name)
        except LookupError:
            raise ValueError(
                f"{encoding!r} is no encoding of texts that Python knows: utf-8, utf-16, cp1252, latin-1, …"
            ) from None
        return name

    @field_validator("delimiter", "quote")
    @classmethod
    def _is_no_line_break(cls, sign: str | None) -> str | None:
        if sign in ("\n", "\r", " "):
            raise ValueError(f"{sign!r} cannot be told from the rest of a line")
        return sign

    @model_validator(mode="after")
    def _quote_is_no_delimiter(self) -> Self:
        if self.quote is not None and self.quote in (self.delimiter or ",\t"):
            raise ValueError(
                f"quote and delimiter are both {self.quote!r}: give another `quote`, or null for no quotes"
            )
        return self

    @field_validator("names")
    @classmethod
    def _differ(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        doubled = next((name for name in names or () if (names or ()).count(name) > 1), None)
        if doubled is not None:
            raise ValueError(f"two columns are called {doubled!r}")
        return names

    @property
    def _dialect(self) -> CsvDialect:
        return CsvDialect(self.delimiter, self.quote, self.encoding, self.names)

    def pieces(self, context: Context, carry_out: CarryOut | None = None) -> Sequence[SourcePiece]:
        """One piece per file."""
        found = [Found.of(file) for file in self.files()]
        table = self._table([each.file for each in found])
        if not table.kinds:
            for each in found:
                tell(f"{each.file.name} has no rows")
            return no_files(self.columns)
        shapes, counts, failed = Shapes(), [], False
        left = self.rows
        for each in found:
            count = 0
            for row, place in islice(table.rows(each.file), left):
                if count % BATCH_ROWS == 0:
                    context.check()
                shapes.add({name: value for name, value in row.items() if name != FAILURE}, place)
                failed |= FAILURE in row
                count += 1
            if not count and left != 0:
                tell(f"{each.file.name} has no rows")
            counts.append(count)
            left = None if left is None else left - count
        schema = table.schema(shapes)
        names = dict(final_names(schema.names, self.rename, self.columns, found[0].file.name))
        if failed:
            schema, names = schema.append(_failure()), {**names, FAILURE: FAILURE}
            shapes.columns[FAILURE] = "text"
        columns = Columns(schema, names)
        made = (
            Records(each, columns, count, each.file.size() or 0, table, shapes)
            for each, count in zip(found, counts)
        )
        return at_least_one(list(limited(made, self.rows)), columns)

    def file_schema(self) -> pa.Schema | None:
        import pyarrow as pa

        table = self._table(self.files(), LOOKED_THROUGH)
        if not table.kinds:
            return None
        if self.reader.layouts(table.kinds):  # its columns become others
            if not table.whole:
                return None
            shapes = Shapes()
            for file in self.files():
                for row, place in islice(table.rows(file), self.rows):
                    shapes.add({name: value for name, value in row.items() if name != FAILURE}, place)
            return table.schema(shapes)
        types = arrow_types(table.kinds) if table.whole else dict.fromkeys(table.kinds, pa.null())
        return pa.schema(
            [(name, pa.null() if kind == "empty" else types[name]) for name, kind in table.kinds.items()]
        )

    def count_rows(self) -> int:
        header = self.names is None
        return sum(max(0, file.count_lines() - header) for file in self.files())

    def _kind_before(self, name: str) -> Kind:
        """The type of a column before its fields are seen."""
        if name in self.types:
            return self.types[name]
        return "text" if name in _TEXTS else "empty"

    def _table(self, files: Sequence[File], most: int | None = None) -> _Table:
        """The types of the columns of the first ``rows`` rows, as found in ``most`` characters."""
        table, size, left = _Table(self._dialect, self.reader), 0, self.rows
        for file in files:
            found = records(file, self._dialect)
            names = header(file, self._dialect, found)
            for name in names or ():
                table.kinds.setdefault(name, self._kind_before(name))
            for record in islice(found, left):
                left = None if left is None else left - 1
                size += record.size
                if most is not None and size > most:
                    table.whole = False
                    return table
                if record.fields is None or names is None or len(record.fields) != len(names):
                    continue
                for name, text in zip(names, record.fields):
                    known = table.kinds[name]
                    if known != "text" and name not in self.types:
                        table.kinds[name] = joined(known, kind_of(text))
        for layout in self.reader.layouts(table.kinds):
            taken = LAYOUTS[layout].takes
            for name in taken:
                if name in table.kinds and name not in self.types:
                    table.kinds[name] = "text"
        for name in self.types:
            if files and name not in table.kinds and table.kinds:
                with at("types", name):
                    raise DataError(
                        f"{files[0].name}: types: no column {name!r}; there are {', '.join(table.kinds)}"
                    )
        return table


@dataclass
class _Table:
    """Reads rows of files. ``kinds``: the types of the columns. ``whole``: found in all rows."""

    dialect: CsvDialect
    reader: RowReader
    kinds: dict[str, Kind] = field(default_factory=dict)
    whole: bool = True

    def rows(self, file: File) -> Iterator[tuple[dict[str, Any], str]]:
        """Each row and its place. One that cannot be read has only ``FAILURE``, which says why."""
        found = records(file, self.dialect)
        names = header(file, self.dialect, found) or ()
        for record in found:
            place = f"{file.name}:{record.line}"
            wrong = record.wrong
            row: dict[str, Any] = {}
            if not wrong and len(record.fields or ()) != len(names):
                wrong = f"{counted(len(record.fields or ()), 'field')}, where the header has {len(names):,}"
            for name, text in zip(names, record.fields or ()) if not wrong else ():
                try:
                    row[name] = value_of(text, self.kinds[name])
                except ValueError as error:
                    wrong = f"column {name!r}: {error}"
                    break
            if wrong:
                yield {FAILURE: f"{place}: {wrong}"}, place
                continue
            yield in_layout(row, place, self.reader), place

    def schema(self, shapes: Shapes) -> pa.Schema:
        """The columns of the rows: with the types of their fields, or those of the layout."""
        import pyarrow as pa

        types = arrow_types(self.kinds)
        if not shapes.columns or not self.reader.layouts(self.kinds):
            for name in self.kinds:
                shapes.columns.setdefault(name, "null")
        empty = [name for name, shape in shapes.columns.items() if shape == "null"]
        made = shapes.schema()
        return pa.schema(
            [
                (each.name, types.get(each.name, each.type) if each.name in empty else each.type)
                for each in made
            ]
        )


def _failure() -> pa.Field:
    import pyarrow as pa

    return pa.field(FAILURE, pa.string())


@dataclass(frozen=True)
class Records(FilePiece):
    """The rows of a file."""

    table: _Table
    shapes: Shapes

    def batches(self) -> Iterator[pa.RecordBatch]:
        records = islice(self.table.rows(self.found.file), self.num_rows)
        rows = ((row, place, _characters(row)) for row, place in records)
        yield from batches_of(rows, self.shapes, self.columns.schema)


def _characters(row: Mapping[str, Any]) -> int:
    return sum(len(value) for value in row.values() if isinstance(value, str))
