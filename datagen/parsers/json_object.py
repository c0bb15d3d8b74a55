"""JSON objects with declared fields."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from pydantic import Field

from ...contracts.rows import Row
from .code import blocks
from .parser import Parsed, Parser, Unparsed

if TYPE_CHECKING:
    import pyarrow as pa

FieldType = Literal["text", "integer", "number", "boolean", "texts", "numbers", "json"]

#: Maximum number of positions to try in the text, which bounds the work on hostile input.
_TRIES = 16


class JsonParser(Parser):
    """Extracts the fields of a JSON object, each into the column of its name.

    The object may be the whole text, a fenced block, or part of the text. The first one that parses is used.
    """

    kind: Literal["json"] = "json"
    """Name of this parser."""
    fields: dict[str, FieldType] = Field(min_length=1)
    """Fields to extract and their types. `json` accepts any value, stored as JSON text."""
    optional: tuple[str, ...] = ()
    """Fields that may be missing or null."""
    many: bool = False
    """Read an array of such objects, and make one row per object."""
    strict: bool = False
    """Fail if the object has undeclared fields. By default they are ignored."""

    def read(self, text: str) -> Parsed:
        wanted = list if self.many else dict
        reason = f"no JSON {'array' if self.many else 'object'}"
        for candidate in self._candidates(text):
            if isinstance(candidate, str):
                reason = candidate
            elif isinstance(candidate, wanted):
                try:
                    return self._records(candidate if isinstance(candidate, list) else [candidate])
                except RecursionError:
                    return Unparsed("JSON that is nested too deeply")
        return Unparsed(reason)

    def _candidates(self, text: str) -> Iterator[Any]:
        """Yield values found in the text, likeliest first, or as a string why a position holds none."""
        whole = _decoded(text.strip(), whole=True)
        if not isinstance(whole, str):
            yield whole
        for _, code in blocks(text):
            if code is not None:
                yield _decoded(code.strip(), whole=True)
        position = -1
        for _ in range(_TRIES):
            position = text.find("[" if self.many else "{", position + 1)
            if position < 0:
                return
            yield _decoded(text[position:], whole=False)

    def _records(self, values: list[Any]) -> Parsed:
        if not values:
            return Unparsed("an empty array")
        rows: list[Row] = []
        for number, value in enumerate(values):
            place = f"object {number}: " if self.many else ""
            row = self._record(value)
            if isinstance(row, str):
                return Unparsed(place + row)
            rows.append(row)
        return rows

    def _record(self, value: Any) -> Row | str:
        if not isinstance(value, dict):
            return f"a {type(value).__name__}, not an object"
        if self.strict and set(value) - set(self.fields):
            return f"has the field {min(set(value) - set(self.fields))!r}, which is not declared"
        row: Row = {}
        for name, kind in self.fields.items():
            given = value.get(name)
            if given is None:
                if name not in self.optional:
                    return f"field {name!r} is {'null' if name in value else 'missing'}"
                row[name] = None
            elif not _fits(given, kind):
                return f"field {name!r} is not of type {kind}"
            else:
                row[name] = given if kind != "json" else _as_text(given)
                if row[name] is None:
                    return f"field {name!r} holds a number outside the range of JSON"
        return row

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        kinds = {
            "text": pa.string(),
            "integer": pa.int64(),
            "number": pa.float64(),
            "boolean": pa.bool_(),
            "texts": pa.list_(pa.string()),
            "numbers": pa.list_(pa.float64()),
            "json": pa.string(),
        }
        return {name: kinds[kind] for name, kind in self.fields.items()}


def _decoded(text: str, *, whole: bool) -> Any:
    """Decode the JSON value that ``text`` is or starts with; return a string if there is none."""
    try:
        decoder = json.JSONDecoder(parse_constant=_refuse, strict=False)
        value = decoder.decode(text) if whole else decoder.raw_decode(text)[0]
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        return "JSON that is nested too deeply"
    except UnicodeEncodeError:
        return "JSON with a lone surrogate, which is not valid Unicode"
    except ValueError as error:
        return f"not JSON: {error}"
    return "a JSON string" if isinstance(value, str) else value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")


def _fits(value: Any, kind: FieldType) -> bool:
    if kind == "text":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return type(value) is int and -(2**63) <= value < 2**63
    if kind == "number":
        return _is_number(value)
    if kind == "texts":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == "numbers":
        return isinstance(value, list) and all(_is_number(item) for item in value)
    return True


def _as_text(value: Any) -> str | None:
    """Return JSON text; None if it contains an infinite number, such as ``1e999``."""
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)
    except ValueError:
        return None


def _is_number(value: Any) -> bool:
    """Whether it is a finite float, or an integer that a float represents exactly."""
    return (type(value) is int and abs(value) <= 2**53) or (type(value) is float and math.isfinite(value))
