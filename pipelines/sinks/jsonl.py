"""Rows to a JSON Lines file."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

from ...contracts.context import Context
from ...contracts.errors import DataError, first_line
from ...contracts.json_values import plain
from ...contracts.operators import Written
from ...contracts.stored_rows import StoredRows
from .export import Export
from .inferred import READ_FIRST, Inferred
from .layout import Layout
from .placing import place_file

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 4096


class JsonlExport(Export):
    """Writes one JSON object per line, in UTF-8.

    The file is ``path``, if it ends with ``.jsonl``, ``.jsonl.gz`` or ``.jsonl.zst``, else ``data.jsonl`` in
    it. Dates are ISO strings, decimals numbers, maps objects. JSON has no NaN or infinity: they are written
    as null.

    Example:
        chat: {export: jsonl, from: chosen, path: out/train.jsonl.gz, format: messages, columns: [score]}
    """

    endings: ClassVar[tuple[str, ...]] = (".jsonl", ".jsonl.gz", ".jsonl.zst")

    def export(self, rows: StoredRows, context: Context, default: Path) -> Written:
        layout, ending = self.layout(rows), self.ending() or self.endings[0]

        def write(path: Path) -> None:
            rows.write(partial(_write, layout, ending), [path], layout.reads(rows.column_names))

        return place_file(self.place(), default, ending, rows.num_rows, write)


def _write(layout: Layout, ending: str, tables: Iterator[pa.Table], path: Path) -> None:
    before, inferred = 0, Inferred()
    with _opened(path, ending) as out:
        written = 0
        for batch in (
            batch
            for table in tables
            for batch in layout.of_table(table).to_batches(max_chunksize=_BATCH_ROWS)
        ):
            early = 0
            for number, row in enumerate(_rows(batch), before + 1):
                early += written < READ_FIRST
                try:
                    written += out.write(_line(layout.as_json(row)).encode())
                except TypeError as error:
                    raise _unwritable(row, number) from error
            before += batch.num_rows
            inferred.add(batch, early)
    inferred.tell()


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a batch; a map is an object."""
    try:
        rows: list[dict[str, Any]] = batch.to_pylist(maps_as_pydicts="strict")
    except KeyError as error:
        raise DataError(
            f"a map has one key twice ({first_line(error)}), which JSON cannot hold: leave its column out "
            "with `drop`, or use `export: parquet`"
        ) from error
    return rows


@contextmanager
def _opened(path: Path, ending: str) -> Iterator[IO[bytes]]:
    import pyarrow as pa

    with open(path, "wb") as file:
        if ending.endswith(".gz"):
            # No name and time in the header, so that equal rows give equal bytes.
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                yield packed  # type: ignore[misc]
        elif ending.endswith(".zst"):
            with pa.CompressedOutputStream(pa.PythonFile(file, "w"), "zstd") as packed:
                yield packed
        else:
            yield file


def _line(row: dict[str, Any]) -> str:
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False, default=plain) + "\n"
    except ValueError:
        return json.dumps(_finite(row), ensure_ascii=False, default=plain) + "\n"


def _unwritable(row: dict[str, Any], number: int) -> DataError:
    """The error for a row that JSON cannot represent, with the first column at fault."""
    for name, value in row.items():
        try:
            _line({name: value})
        except TypeError as error:
            return DataError(
                f"row {number:,}: column {name!r} holds a value of type {error}, which has no JSON "
                "form: leave the column "
                f"out with `drop: [{name}]`, compute a text or a number of it, or use `export: parquet`"
            )
    raise AssertionError("some column is at fault")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value
