"""Rows from JSON Lines files, plain, ``.gz`` or ``.zst``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeAlias

from ...contracts.errors import DataError
from .column_options import final_names, no_rows, prepared
from .file_source import FileSource
from .locations import UNREADABLE, File, unreadable
from .shape import Shapes

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.operators import Context

_BATCH_ROWS = 8192
_BATCH_BYTES = 64 << 20
_SHOWN = 60
#: Maximum size in bytes of files whose columns are read when the plan is made: any line may add one.
LOOKED_THROUGH = 8 << 20
#: Maximum number of digits of an integer; Python's own limit is a little higher.
LONGEST_NUMBER = 4000

#: A line's object, its place ("file:line") and its length in bytes.
_Line: TypeAlias = tuple[dict[str, Any], str, int]
_Loads: TypeAlias = Callable[[str], Any]


class Jsonl(FileSource):
    """Reads JSON Lines files (``.jsonl`` or ``.ndjson``), plain or compressed (``.gz`` or ``.zst``).

    A file that is named ``.json`` may also hold one array of objects, over any number of lines; the errors
    then give the number of the element as the line.

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

    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        found = self.files()
        shapes, number = Shapes(self.as_json), -1
        for number, (row, place, _) in enumerate(islice(_rows(found, _checked), self.rows)):
            if number % _BATCH_ROWS == 0:
                context.check()
            shapes.add(row, place)
        schema = shapes.schema()
        if number < 0:
            return no_rows(self.columns)
        for name in self.as_json:
            if name not in schema.names:
                raise DataError(f"{found[0].name}: as_json: no column {name!r}")
        if not schema.names:
            raise DataError(
                f"{found[0].name}: its {number + 1:,} objects are all empty: a row needs a column"
            )
        names = final_names(schema.names, self.rename, self.columns, found[0].name)
        again = islice(_rows(found, json.loads), self.rows)
        return prepared(_batches(again, shapes, schema), schema, names, None, context)

    def names(self) -> Sequence[str] | None:
        found, read = dict[str, None](), 0
        for row, _, size in islice(_rows(self.files(), json.loads), self.rows):
            found |= dict.fromkeys(row)
            read += size
            if read > LOOKED_THROUGH:
                return None
        return list(found)

    def count_rows(self) -> int:
        total = 0
        for file in self.files():
            with file.open_decompressed() as stream:
                while block := stream.read(1 << 20):
                    total += block.count(b"\n")
        return total


def _batches(lines: Iterator[_Line], shapes: Shapes, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    held = 0
    for row, place, size in lines:
        rows.append(row)
        places.append(place)
        held += size
        if len(rows) == _BATCH_ROWS or held >= _BATCH_BYTES:
            yield shapes.batch(rows, schema, places)
            rows, places, held = [], [], 0
    if rows:
        yield shapes.batch(rows, schema, places)


def _rows(found: Sequence[File], loads: _Loads) -> Iterator[_Line]:
    for file in found:
        with file.open_decompressed() as stream:
            number = 0
            try:
                for number, line in enumerate(stream, 1):
                    if line.strip():
                        place = f"{file.name}:{number}"
                        yield _parse(line, place, loads), place, len(line)
            except UNREADABLE as error:
                raise DataError(f"{file.name}:{number + 1}: {unreadable(error)}") from error


def _parse(line: bytes, place: str, loads: _Loads) -> dict[str, Any]:
    try:
        text = line.decode("utf-8-sig")
        row = loads(text)
        # A lone surrogate (\\ud800) is legal JSON, but Arrow and UTF-8 cannot represent it.
        if "\\u" in text:
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: a lone surrogate (\\u{ord(error.object[error.start]):04x}) is not valid text"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: not UTF-8 (byte {error.start + 1} of the line): save it as UTF-8"
        ) from error
    except RecursionError as error:
        raise DataError(f"{place}: nested too deeply") from error
    except _Unheld as error:
        raise DataError(f"{place}: {error}") from error
    except ValueError as error:
        raise DataError(f"{place}: not JSON ({error}): {_shown(text)}; fix or remove the line") from error
    if not isinstance(row, dict):
        raise DataError(
            f"{place}: a row is a JSON object, found {_shown(text)}; "
            "write one {...} per line (a file that holds one JSON array is named .json)"
        )
    return row


class _Unheld(ValueError):
    """JSON that a row can represent only in part."""


def _checked(text: str) -> Any:
    """The value of a JSON text. Raises ValueError if Python's parser would silently lose a part of it."""
    return json.loads(
        text,
        parse_constant=_refuse,
        parse_float=_finite,
        parse_int=_whole,
        object_pairs_hook=_with_each_key_once,
    )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value; use null")


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise _Unheld(f"the number {number} is too large; write it as a string")
    return value


def _whole(number: str) -> int:
    if len(number) > LONGEST_NUMBER:
        raise _Unheld(
            f"the number {number[:20]}… has {len(number.lstrip('-')):,} digits; write it as a string"
        )
    return int(number)


def _with_each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        doubled = next(key for key in keys if keys.count(key) > 1)
        raise _Unheld(
            f"the key {doubled!r} occurs twice in one object; keep one of them, or rename the other"
        )
    return row


def _shown(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
