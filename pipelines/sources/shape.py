"""Infers one Arrow type for every column of rows of plain Python values (JSON, a user's dicts).

Scalars of one column must have the same type. Nested values may vary: a column whose lists and objects
have different shapes becomes JSON text, so that every part of a data set has the same schema. Turns of
conversations are the exception: their type has every key that a turn has, and a turn has null for the others.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...contracts.errors import DataError, first_line
from ...contracts.json_values import plain
from ...contracts.turns import is_turns, typed

if TYPE_CHECKING:
    import pyarrow as pa

#: The shape of a value: "null", "bool", "int", "long" (a whole number beyond 2**53, which floats round),
#: "float", "text", "json" (lists and objects that differ), ("list", shape), ("object", ((key, shape), ...)),
#: ("turns", ((key, shape), ...)) for turns of conversations, or an Arrow type for others (dates, bytes).
Shape = Any
#: Keys of turns that must have one type: otherwise the whole column is JSON text.
_ESSENTIAL = frozenset({"role", "content", "from", "value"})

_SCALARS: dict[type, str] = {bool: "bool", int: "int", float: "float", str: "text", type(None): "null"}


def shape_of(value: object) -> Shape:
    """The shape of one value. Raises ValueError or TypeError for a value that no column can hold."""
    scalar = _SCALARS.get(type(value))
    if scalar == "int":
        return _whole(value)  # type: ignore[arg-type]
    if scalar is not None:
        return scalar
    if is_turns(value):
        return _shape_of_turns(value)  # type: ignore[arg-type]
    if isinstance(value, (list, tuple)):
        inner: Shape = "null"
        for item in value:
            inner = merge(inner, shape_of(item), nested=True)
        return "json" if inner == "json" else ("list", inner)
    if isinstance(value, Mapping):
        keys = _sorted_keys(value)
        shapes = tuple((key, shape_of(value[key])) for key in keys)
        # Parquet has no object without fields, and keys that differ from row to row are data.
        return "json" if not keys or any(shape == "json" for _, shape in shapes) else ("object", shapes)
    import pyarrow as pa

    try:
        return pa.infer_type([value])
    except pa.ArrowException as error:
        raise ValueError(f"a value of type {type(value).__name__}, which fits no column") from error


def _shape_of_turns(turns: Sequence[Mapping[str, Any]]) -> Shape:
    shape: Shape = ("turns", ())
    for turn in turns:
        known = typed(turn)
        keys = tuple((key, shape_of(known[key])) for key in _sorted_keys(known))
        shape = _merge_turns(shape[1], keys)
        if shape == "json":
            break
    return shape


def _sorted_keys(value: Mapping[Any, object]) -> list[str]:
    """The keys of an object. Raises ValueError if one is no string."""
    other = next((key for key in value if not isinstance(key, str)), "")
    if not isinstance(other, str):
        raise ValueError(f"an object with the key {other!r:.40}, which is no string")
    return sorted(value)


def _merge_turns(left: Sequence[tuple[str, Shape]], right: Sequence[tuple[str, Shape]]) -> Shape:
    """A key that only one side has is null on the other. One whose values differ is JSON text by itself."""
    merged = dict(left)
    for key, shape in right:
        merged[key] = merge(merged.get(key, "null"), shape, nested=True)
    if any(merged[key] == "json" for key in _ESSENTIAL & set(merged)):
        return "json"
    return ("turns", tuple(sorted(merged.items())))


def _whole(value: int) -> Shape:
    if -(2**53) <= value <= 2**53:
        return "int"
    if not -(2**63) <= value < 2**63:
        number = f"{value}, " if value.bit_length() <= 128 else ""
        raise ValueError(f"{number}a whole number that does not fit in 64 bits")
    return "long"


def merge(left: Shape, right: Shape, *, nested: bool = False) -> Shape:
    """The shape that covers both. Raises ValueError if two scalars (or a scalar and a list) disagree.

    ``nested``: inside a list or an object, where a disagreement turns the whole column into JSON text.
    """
    if left == right or right == "null":
        return left
    if left == "null":
        return right
    if isinstance(left, str) and isinstance(right, str):
        both = {left, right}
        if both == {"int", "float"}:
            return "float"
        if both == {"int", "long"}:
            return "long"
    if _is_nested(left) and _is_nested(right):
        return _merge_nested(left, right)
    if nested:
        return "json"
    raise ValueError(f"{describe(right)} here, and {describe(left)} before")


def _is_nested(shape: Shape) -> bool:
    return shape == "json" or isinstance(shape, tuple)


def _merge_nested(left: Shape, right: Shape) -> Shape:
    if "json" in (left, right):
        return "json"
    if ("list", "null") in (left, right):  # an empty list
        other = right if left == ("list", "null") else left
        return other if other[0] in ("list", "turns") else "json"
    if left[0] != right[0]:
        return "json"
    if left[0] == "turns":
        return _merge_turns(left[1], right[1])
    if left[0] == "list":
        inner = merge(left[1], right[1], nested=True)
        return "json" if inner == "json" else ("list", inner)
    if [key for key, _ in left[1]] != [key for key, _ in right[1]]:
        return "json"
    merged = [(key, merge(shape, other, nested=True)) for (key, shape), (_, other) in zip(left[1], right[1])]
    return "json" if any(shape == "json" for _, shape in merged) else ("object", tuple(merged))


def describe(shape: Shape) -> str:
    """A shape in words."""
    if _is_nested(shape):
        return "a list" if shape != "json" and shape[0] in ("list", "turns") else "a list or an object"
    words = {
        "text": "a string",
        "int": "a whole number",
        "long": "a whole number beyond 2**53 (a float would round it)",
        "float": "a number with a fraction",
        "bool": "true or false",
    }
    return words.get(shape, str(shape)) if isinstance(shape, str) else str(shape)


@dataclass(slots=True)
class Shapes:
    """Infers the types of columns. Add every row, then read the Arrow types."""

    as_json: Collection[str] = ()
    columns: dict[str, Shape] = field(default_factory=dict)
    _since: dict[str, str] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any], place: str) -> None:
        """Add a row. ``place`` names it in errors ("seeds.jsonl:7"). Raises DataError."""
        for name, value in row.items():
            known = self.columns.get(name, "null")
            if name in self.as_json:
                self.columns[name] = "json"
                continue
            if known == "text" and type(value) is str:  # nearly every value of a real file
                continue
            shape = self._merged(name, value, place)
            if shape != known or name not in self.columns:
                self.columns[name] = shape
                if known == "null" or shape == "long":
                    self._since[name] = place

    def _merged(self, name: str, value: object, place: str) -> Shape:
        """The shape of the column with one more value. Raises DataError."""
        as_text = f"or read it as JSON text with `as_json: [{name}]`"
        try:
            shape = shape_of(value)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{place}: column {name!r} holds {error}: write it as a string, {as_text}"
            ) from error
        try:
            return merge(self.columns.get(name, "null"), shape)
        except ValueError as error:
            since = f" (from {self._since[name]} on)" if name in self._since else ""
            raise DataError(
                f"{place}: column {name!r} holds {error}{since}: make its values one type, {as_text}"
            ) from error

    def join(self, other: Shapes, place: str) -> None:
        """Add the rows that were added to ``other``, in any order of rows. Raises DataError."""
        for name, shape in other.columns.items():
            try:
                self.columns[name] = merge(self.columns.get(name, "null"), shape)
            except ValueError as error:
                raise DataError(f"{place}: column {name!r} holds {error}") from error

    def schema(self) -> pa.Schema:
        import pyarrow as pa

        return pa.schema([pa.field(name, arrow_type(shape)) for name, shape in self.columns.items()])

    def batch(
        self, rows: Sequence[Mapping[str, Any]], schema: pa.Schema, places: Sequence[str]
    ) -> pa.RecordBatch:
        """Rows, all given to :meth:`add` before, as a batch of ``schema``. ``places`` name them in errors."""
        import pyarrow as pa

        arrays = []
        for column in schema:
            values = [row.get(column.name) for row in rows]
            shape = self.columns[column.name]
            if shape == "json" or _has_turns(shape):
                values = [_fitted(*each, shape, column.name) for each in zip(values, places)]
            try:
                arrays.append(pa.array(values, column.type))
            except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
                raise _misfit(values, column, places) from error
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _misfit(values: Sequence[object], column: pa.Field, places: Sequence[str]) -> DataError:
    """The error for the first value that does not fit its column."""
    import pyarrow as pa

    for value, place in zip(values, places):
        try:
            pa.array([value], column.type)
        except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
            return DataError(
                f"{place}: column {column.name!r} holds {column.type}, and this row's value does not "
                f"fit ({first_line(error)}): "
                f"make its values one type, or read it as JSON text with `as_json: [{column.name}]`"
            )
    return DataError(f"{places[0]}: column {column.name!r} holds more than one batch of {column.type} can")


def _has_turns(shape: Shape) -> bool:
    if not isinstance(shape, tuple):
        return False
    inner = [shape[1]] if shape[0] == "list" else [each for _, each in shape[1]]
    return shape[0] == "turns" or any(map(_has_turns, inner))


def fitting(value: Any, shape: Shape) -> Any:
    """The value as a column of the shape holds it: turns in their typed form, what differs as JSON text."""
    if value is None or isinstance(shape, str):
        return json_text(value) if shape == "json" and value is not None else value
    if not isinstance(shape, tuple):
        return value
    if shape[0] == "list":
        return [fitting(item, shape[1]) for item in value]
    if shape[0] == "object":
        return {key: fitting(value[key], inner) for key, inner in shape[1]}
    return [{key: fitting(turn.get(key), inner) for key, inner in shape[1]} for turn in map(typed, value)]


def _fitted(value: object, place: str, shape: Shape, column: str) -> Any:
    """:func:`fitting`. Raises DataError, with the place, for a value that JSON cannot hold."""
    try:
        return fitting(value, shape)
    except TypeError as error:
        raise DataError(
            f"{place}: column {column!r} is JSON text, since its lists and objects differ, and this row has "
            f"{error}, which JSON cannot hold: write it as a string"
        ) from error


def json_text(value: object) -> str:
    """A value as JSON text, the same for equal values: dates as ISO strings, decimals as numbers.

    Raises TypeError, with the kind of the value, for one that JSON cannot hold.
    """
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=plain)


def arrow_type(shape: Shape) -> pa.DataType:
    """The Arrow type of a shape. Columns that are null throughout are strings."""
    import pyarrow as pa

    if isinstance(shape, str):
        kinds = {"bool": pa.bool_(), "int": pa.int64(), "long": pa.int64(), "float": pa.float64()}
        return kinds.get(shape, pa.string())
    if isinstance(shape, tuple) and shape[0] == "list":
        return pa.list_(arrow_type(shape[1]))
    if isinstance(shape, tuple) and shape[0] == "turns":
        return pa.list_(pa.struct([(key, arrow_type(inner)) for key, inner in shape[1]]))
    if isinstance(shape, tuple):
        return pa.struct([(key, arrow_type(inner)) for key, inner in shape[1]])
    return shape
