"""Rows from JSON Lines files, plain, ``.gz`` or ``.zst``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.layouts import RowReader
from ...contracts.mistakes import at
from ...contracts.operators import FAILURE
from ...contracts.source_pieces import CarryOut, SourcePiece
from .batch_requests import BatchAnswers
from .column_options import final_names
from .file_pieces import Columns, Found, no_files
from .file_source import FileSource
from .json_blocks import Scan, in_layout, pieces_of
from .json_lines import LineBlock, checked, rows_of
from .json_tables import refuse_tables
from .locations import File, files
from .shape import Shapes

if TYPE_CHECKING:
    import pyarrow as pa

#: Maximum size in bytes of files whose columns are read when the plan is made: any line may add one.
LOOKED_THROUGH = 8 << 20


class Jsonl(FileSource):
    """Reads JSON Lines files (``.jsonl`` or ``.ndjson``), plain or compressed (``.gz`` or ``.zst``).

    A file that is named ``.json`` may also hold one array of objects, or objects one after another, over any
    number of lines; the errors then give the number of the object as the line. An object that seems to hold
    all rows itself (a list of objects in `data`, or a list for each column) is an error that says so.

    The files are read twice, for their types and for their rows. A column whose nested values vary in shape
    becomes JSON text. Blank lines are skipped; any other line that is not a JSON object stops the run with an
    error that gives its place.

    Example:
        seeds: {source: jsonl, path: seeds/*.jsonl.gz, rename: {instruction: prompt}, rows: 500}
    """

    endings: ClassVar[tuple[str, ...]] = (
        ".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".jsonl.zst", ".ndjson.zst",
    )  # fmt: skip

    as_json: tuple[str, ...] = ()
    """Columns to read as JSON text, whatever their values are."""
    requests: str | tuple[str, ...] = ()
    """Files of the requests that OpenAI's batch API answered in the files of `path`: an answer holds only the
    `custom_id` of its request. Each row becomes the conversation of both, in `messages`. An answer without
    its request, and a request that failed, is a failed row with the reason."""

    @model_validator(mode="after")
    def _answers_of_requests(self) -> Jsonl:
        if self.requests and self.format not in ("auto", "openai_batch"):
            raise ValueError(f"`requests` goes with `format: openai_batch` or auto, not with {self.format}")
        return self

    @property
    def reader(self) -> RowReader:
        own = super().reader
        untouched = own.untouched | frozenset(self.as_json)
        asked = tuple(self._request_files())
        return BatchAnswers(own.form, untouched, asked) if asked else RowReader(own.form, untouched)

    def content(self) -> Mapping[str, str]:
        asked = {f"requests {file.name}": file.digest() for file in self._request_files()}
        return {**super().content(), **asked}

    def reads(self) -> Sequence[Path]:
        return [*super().reads(), *(Path(file.name) for file in self._request_files() if file.local)]

    def _refuse_tables(self) -> None:
        if self.format == "auto" and not (self.rename or self.columns or self.as_json):
            refuse_tables(self.files())

    def _request_files(self) -> list[File]:
        with at("requests"):
            return files(self.requests, self.endings) if self.requests else []

    def pieces(self, context: Context, carry_out: CarryOut | None = None) -> Sequence[SourcePiece]:
        """One piece per block of lines, or per compressed file."""
        self._refuse_tables()
        found = [Found.of(file) for file in self.files()]
        scan = Scan.of(found, Shapes(self.as_json), self.reader, self.rows, context, carry_out)
        if not scan.rows:
            return no_files(self.columns)
        schema, first = scan.shapes.schema(), found[0].file.name
        for name in self.as_json:
            if name not in schema.names:
                raise DataError(f"{first}: as_json: no column {name!r}")
        if not schema.names:
            which = "its only object is" if scan.rows == 1 else f"its {scan.rows:,} objects are all"
            raise DataError(f"{first}: {which} empty: a row needs a column")
        own = [name for name in schema.names if name != FAILURE]
        names = dict(final_names(own, self.rename, self.columns, first))
        if FAILURE in schema.names:
            names[FAILURE] = FAILURE
        return pieces_of(found, scan, Columns(schema, names))

    def file_schema(self) -> pa.Schema | None:
        import pyarrow as pa

        self._refuse_tables()
        shapes, read = Shapes(self.as_json), 0
        lines = (line for file in self.files() for line in rows_of(LineBlock(file), checked))
        for row, place, size in islice(lines, self.rows):
            shapes.add(in_layout(row, place, self.reader), place)
            read += size
            if read > LOOKED_THROUGH:
                return None
        found = shapes.schema()
        # A column without a value is stored as text.
        unknown = [name for name, shape in shapes.columns.items() if shape == "null"]
        fields = [field for field in found if field.name != FAILURE]
        return pa.schema(
            [pa.field(each.name, pa.null()) if each.name in unknown else each for each in fields]
        )

    def count_rows(self) -> int:
        return sum(file.count_lines() for file in self.files())
